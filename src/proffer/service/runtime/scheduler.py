"""Cooperative scheduling: run long generators on the event loop in time slices."""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

LONGEST_TURN = 0.001
"""Length of a time slice in seconds; the last step of a slice may exceed it."""

_LONG_PAUSE = 9
"""Pause between background slices, as a multiple of the slice's duration."""

_BUSY = 0.0001
"""Seconds other tasks must have run for the event loop to count as busy."""


async def in_turns(
    steps: Generator[None, None, T], *, pause: float = 2, patience_s: float = 0.1
) -> T:
    """Run a generator in time slices and return its result.

    While the event loop is busy, each slice is followed by a pause of `pause_factor` times its
    duration. After `pause_for_s` seconds it yields once per slice without pausing.
    """
    patient_until = time.perf_counter() + patience_s
    while True:
        began = time.perf_counter()
        try:
            _turn(steps)
        except StopIteration as done:
            found: T = done.value
            return found
        ended = time.perf_counter()
        await asyncio.sleep(0)
        if ended < patient_until and time.perf_counter() - ended > _BUSY:
            await asyncio.sleep((ended - began) * pause)


async def in_the_background(steps: Generator[None, None, None]) -> None:
    """Run a generator in time slices with long pauses between them, for work that is not urgent."""
    while True:
        began = time.perf_counter()
        try:
            _turn(steps)
        except StopIteration:
            return
        await asyncio.sleep((time.perf_counter() - began) * _LONG_PAUSE)


def at_once(steps: Generator[None, None, T]) -> T:
    """Run a generator without yielding to the event loop and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: T = done.value
            return found


def _turn(steps: Generator[None, None, object]) -> None:
    until = time.perf_counter() + LONGEST_TURN
    next(steps)
    while time.perf_counter() < until:
        next(steps)
