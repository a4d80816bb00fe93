"""Time windows with inclusive, optional bounds (R15, R16). Times are microseconds UTC."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """From `start_us` through `end_us`, inclusive; None is unbounded."""

    start_us: int | None = None
    end_us: int | None = None

    def __contains__(self, moment_us: int) -> bool:
        start, end = self.start_us, self.end_us  # runs for every candidate, so no method calls
        return (start is None or start <= moment_us) and (end is None or moment_us <= end)

    def is_before(self, moment_us: int) -> bool:
        """Return whether the window has not started at this time."""
        return self.start_us is not None and moment_us < self.start_us

    def is_over(self, moment_us: int) -> bool:
        """Return whether the window has ended at this time."""
        return self.end_us is not None and moment_us > self.end_us


ALWAYS = TimeWindow()
