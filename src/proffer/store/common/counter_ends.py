"""Ends of the counters of a limit that does not repeat (R47).

A counter carries the end that its limit had when it was last counted. When the offer's dates move an end
that is not reached, the limit remembers it together with the new end; no counter is rewritten.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from proffer.model.capping import DAY_US, begins_anew, lifetime_end

End: TypeAlias = int | None
"""End of a counter in microseconds; None: never."""

FORGET_AFTER_US = 400 * DAY_US
"""Time after which no counter carries an end that was moved: sweeps write the new one long before."""
_NEVER_US = 1 << 62
_NO_MOVES: Mapping[End, End] = {}


class CounterEnds(NamedTuple):
    """Dates of the offer, and the ends that were moved before they were reached, with their new ends."""

    start_us: int | None = None
    end_us: int | None = None
    moved: Mapping[End, End] = _NO_MOVES

    def at(self, now_us: int) -> End:
        """Return the end of a counter incremented now: with the offer, or two years after its start."""
        end = lifetime_end(self.start_us, self.end_us, now_us)
        while end in self.moved:  # a moved end that returns; counters of an earlier life carry it
            end = _NEVER_US if end is None else end + 1
        return end

    def of(self, end: End) -> End:
        """Return when a counter that carries this end ends."""
        if end in self.moved:
            return self.moved[end]
        time_of_day = 0 if self.start_us is None else self.start_us % DAY_US
        if time_of_day and end is not None and end % DAY_US == time_of_day and end - 1 != self.end_us:
            # Earlier versions ended counters two years after the start to the microsecond.
            return self.of(end - time_of_day + DAY_US)
        return end

    def following(self, end: End) -> End:
        """Return the end of a counter restarted at this end; None: it is not restarted."""
        if end is None or (self.end_us is not None and end > self.end_us):
            return None
        return self.at(end)

    def with_dates(self, start_us: int | None, end_us: int | None, now_us: int) -> "CounterEnds":
        """Return the ends after the offer's dates changed."""
        if (start_us, end_us) == (self.start_us, self.end_us):
            return self
        moved = {old: new for old, new in self.moved.items() if old is None or old > now_us - FORGET_AFTER_US}
        changed = CounterEnds(start_us, end_us, moved)
        if begins_anew(self.end_us, start_us, now_us):
            return changed
        old_end = self.at(now_us)
        moving = {old for old, new in moved.items() if new == old_end} | {old_end}
        if old_end is not None and self.start_us is not None and self.start_us % DAY_US and old_end % DAY_US == 0:
            moving.add(old_end - DAY_US + self.start_us % DAY_US)  # as earlier versions wrote it
        others = {old: new for old, new in moved.items() if old not in moving}
        new_end = changed._replace(moved=others).at(now_us)
        return changed._replace(moved=others | {old: new_end for old in moving if old != new_end})


NO_DATES = CounterEnds()
