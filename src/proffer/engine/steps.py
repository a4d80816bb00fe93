"""Work in short steps: a generator that yields between steps and returns the result."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def run_to_completion(steps: Generator[None, None, T]) -> T:
    """Run a generator without pausing between its steps. Returns its result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
