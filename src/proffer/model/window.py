"""A span of time, both ends included, either end open (R15, R16). Moments are microseconds UTC."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """From `start_us` through `end_us`; None leaves that side open."""

    start_us: int | None = None
    end_us: int | None = None

    def __contains__(self, moment_us: int) -> bool:
        start, end = self.start_us, self.end_us  # asked of every candidate: no calls
        return (start is None or start <= moment_us) and (end is None or moment_us <= end)

    def is_before(self, moment_us: int) -> bool:
        """True while the window has not begun at this moment."""
        return self.start_us is not None and moment_us < self.start_us

    def is_over(self, moment_us: int) -> bool:
        """True once the window has ended at this moment."""
        return self.end_us is not None and moment_us > self.end_us


ALWAYS = TimeWindow()
