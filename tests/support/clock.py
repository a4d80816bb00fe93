"""A clock that a test sets."""

from proffer.testing.builders import NOON


class SetClock:
    """Clock that stands at `now_us`."""

    def __init__(self, now_us: int = NOON) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us
