"""Cooperative scheduling: run long generators on the event loop in time slices."""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

MAX_SLICE_SECONDS = 0.001
"""Length of a time slice in seconds; the last step of a slice may exceed it."""

_BACKGROUND_PAUSE_FACTOR = 9
"""Pause between background slices, as a multiple of the slice's duration."""

_BUSY_SECONDS = 0.0001
"""Seconds other tasks must have run for the event loop to count as busy."""


async def run_sliced(steps: Generator[None, None, T], *, pause_factor: float = 2, pause_for_s: float = 0.1) -> T:
    """Run a generator in time slices and return its result.

    While the event loop is busy, each slice is followed by a pause of `pause_factor` times its
    duration. After `pause_for_s` seconds it yields once per slice without pausing.
    """
    pause_until = time.perf_counter() + pause_for_s
    while True:
        started = time.perf_counter()
        try:
            _run_slice(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        ended = time.perf_counter()
        await asyncio.sleep(0)
        if ended < pause_until and time.perf_counter() - ended > _BUSY_SECONDS:
            await asyncio.sleep((ended - started) * pause_factor)


async def run_in_background(steps: Generator[None, None, None]) -> None:
    """Run a generator in time slices with long pauses between them. Use it for work that is not urgent."""
    while True:
        started = time.perf_counter()
        try:
            _run_slice(steps)
        except StopIteration:
            return
        await asyncio.sleep((time.perf_counter() - started) * _BACKGROUND_PAUSE_FACTOR)


def _run_slice(steps: Generator[None, None, object]) -> None:
    until = time.perf_counter() + MAX_SLICE_SECONDS
    next(steps)
    while time.perf_counter() < until:
        next(steps)
