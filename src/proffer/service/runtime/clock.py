"""Wall clock. All other code takes the current time as an argument."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the current time in microseconds since 1970, UTC."""


def wall_clock() -> int:
    """Return the current time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000
