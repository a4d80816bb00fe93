"""Long work on the event loop, in turns with everything else there is to do."""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

LONGEST_TURN = 0.001
"""Seconds after which work lets others have a turn; one of its steps may take it a little further."""

_LONG_PAUSE = 9
"""Times the length of a turn that work in the background waits for the next."""

_BUSY = 0.0001
"""Seconds that others took of their turn for it to be more than a look whether there is anything to do."""


async def in_turns(
    steps: Generator[None, None, T], *, pause: float = 2, patience_s: float = 0.1
) -> T:
    """Run a generator to its end, and give what it returns.

    While others have work, they get the loop for `pause` times as long as each turn took. After
    `patience_s` they get a turn each time, and no more than that.
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
    """Run a generator to its end, with long pauses between turns: for what is in no hurry."""
    while True:
        began = time.perf_counter()
        try:
            _turn(steps)
        except StopIteration:
            return
        await asyncio.sleep((time.perf_counter() - began) * _LONG_PAUSE)


def at_once(steps: Generator[None, None, T]) -> T:
    """As `in_turns`, with nobody else getting a turn."""
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
