"""A span of time, both ends included, either end open (R15, R16). Moments are microseconds UTC."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """From `start_us` through `end_us`; None leaves that side open."""

    start_us: int | None = None
    end_us: int | None = None

    def __contains__(self, moment_us: int) -> bool:
        return not self.is_before(moment_us) and not self.is_over(moment_us)

    def is_before(self, moment_us: int) -> bool:
        """True while the window has not begun at this moment."""
        return self.start_us is not None and moment_us < self.start_us

    def is_over(self, moment_us: int) -> bool:
        """True once the window has ended at this moment."""
        return self.end_us is not None and moment_us > self.end_us


ALWAYS = TimeWindow()
