"""The one place that reads the wall clock; everything below takes the moment as an argument."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives microseconds since 1970, UTC."""


def wall_clock() -> int:
    """Now, in microseconds since 1970, UTC."""
    return time.time_ns() // 1000
