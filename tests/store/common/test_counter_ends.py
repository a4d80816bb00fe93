"""The ends of counters that follow the dates of their offer, against a list of counters that are all rewritten."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.model.capping import DAY_US, lifetime_end
from proffer.store.common.caps import is_live
from proffer.store.common.counter_ends import CounterEnds
from proffer.testing.builders import NOON
from proffer.testing.caps_contract import parse_us

YEAR = 365 * DAY_US
MIDNIGHT = NOON // DAY_US * DAY_US
ends = st.none() | st.integers(-5, 60).map(lambda days: NOON + days * 30 * DAY_US)
starts = st.none() | st.integers(-60, 5).map(lambda days: NOON + days * 20 * DAY_US + DAY_US // 3)
steps = st.one_of(
    st.tuples(st.just("count"), st.integers(0, 3)),
    st.tuples(st.just("dates"), starts, ends),
    st.tuples(st.just("dates"), st.just(None), ends),
)


@dataclass
class Counter:
    """A counter: the end it carries, and the end that it has."""

    carried: int | None
    end: int | None


@given(starts, ends, st.lists(st.tuples(steps, st.integers(1, 100)), max_size=25))
def test_a_counter_ends_as_if_each_move_rewrote_it(start: int | None, end: int | None, program: list[Any]) -> None:
    """Whatever is counted and moved in between; a microsecond may lie between a new end and one of an earlier life."""
    limit, counters, now = CounterEnds(start, end), dict[int, Counter](), NOON
    for (kind, *values), days in program:
        now += days * DAY_US // 7 + 12_345
        for counter in counters.values():
            assert is_live(limit.of(counter.carried), now) is is_live(counter.end, now)
        if kind == "count":
            counters[values[0]] = Counter(limit.at(now), lifetime_end(limit.start_us, limit.end_us, now))
            continue
        old_end, (start, end) = lifetime_end(limit.start_us, limit.end_us, now), values
        is_over = limit.end_us is not None and (now > limit.end_us or (start is not None and start > limit.end_us))
        if not is_over and (start, end) != (limit.start_us, limit.end_us):
            for counter in counters.values():
                if counter.end == old_end:
                    counter.end = lifetime_end(start, end, now)
        limit = limit.with_dates(start, end, now)


@pytest.mark.parametrize("moved", [False, True])
def test_an_end_that_an_earlier_version_stored_is_the_next_midnight(moved: bool) -> None:
    """It was two years from the start to the microsecond; it moves as the midnight does."""
    start = MIDNIGHT + 15 * 3_600_000_000
    limit, stored = CounterEnds(start, None), start + 2 * YEAR
    end = MIDNIGHT + 2 * YEAR + DAY_US
    if moved:
        end = NOON + 90 * DAY_US
        limit = limit.with_dates(start + 3_600_000_000, end - 1, NOON)
    assert limit.of(stored) == end


@pytest.mark.parametrize(
    ("start", "days"), [("9997-12-31", 730), ("9998-01-01", 730), ("9999-12-31", 731), ("0001-01-01", 730)]
)
def test_a_counter_of_an_offer_that_starts_in_any_year_has_an_end(start: str, days: int) -> None:
    """Two years after the start, also beyond the last year of dates; 10000 is a leap year."""
    start_us = parse_us(f"{start}T00:00")

    assert lifetime_end(start_us, None, start_us) == start_us + days * DAY_US
