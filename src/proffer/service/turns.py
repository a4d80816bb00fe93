"""Long work on the event loop, in turns with everything else there is to do."""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

LONGEST_TURN = 0.001
"""Seconds after which work lets others have a turn; one of its steps may take it a little further."""


async def in_turns(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end, and give what it returns."""
    while True:
        until = time.perf_counter() + LONGEST_TURN
        try:
            next(steps)
            while time.perf_counter() < until:
                next(steps)
        except StopIteration as done:
            found: T = done.value
            return found
        await asyncio.sleep(0)


def at_once(steps: Generator[None, None, T]) -> T:
    """As `in_turns`, with nobody else getting a turn."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: T = done.value
            return found
