"""What a process remembers of counters does not grow with time, and is as exact as before."""

from proffer.model.capping import DAY_US, CapLimit, CapScope, OfferLimits, Repeat, RepeatUnit
from proffer.store.common.cap_cache import CapCache, LimitRow, TotalRow
from proffer.store.common.caps import CounterValue, StoredLimit, encode_definition
from proffer.testing.builders import NOON

LIMIT = CapLimit(
    name="1",
    limit=5,
    scope=CapScope.GLOBAL,
    repeat=Repeat(RepeatUnit.DAY),
)
TODAY = NOON // DAY_US * DAY_US


def a_book() -> CapCache:
    book = CapCache()
    row = StoredLimit(1, "1", encode_definition(LIMIT), LIMIT.limit, NOON, None, None)
    book.update_limits([LimitRow("c1", "gold", row, 1)])
    return book


def counted(book: CapCache, day: int, used: int, moved: int) -> None:
    start = TODAY + day * DAY_US
    book.update_totals([TotalRow((1, "", start), CounterValue(used, start + DAY_US), moved)])


def used(book: CapCache, day: int) -> int:
    found = book.totals("c1", OfferLimits([("gold", LIMIT)]), NOON + day * DAY_US)
    return found.get(("gold", "1", ""), 0)


def test_periods_that_are_over_are_forgotten() -> None:
    """After a year of days it remembers those of the last forty, and no day's count stands for another."""
    book = a_book()
    for day in range(365):
        counted(book, day, 3, day)
        assert used(book, day) == 3
    assert used(book, 365) == 0
    assert book.cached_counts <= 42


def test_a_clock_that_steps_back_finds_its_count_again() -> None:
    """What moves, or stands in the way, is learnt again, whichever period is the newest."""
    book = a_book()
    counted(book, 0, 2, 1)
    counted(book, 30, 1, 2)
    counted(book, 0, 3, 3)

    assert (used(book, 0), used(book, 30)) == (3, 1)


def test_a_clock_that_steps_back_a_month_finds_what_it_left() -> None:
    """Though nothing moves there: what ended is remembered as long as the database keeps it."""
    book = a_book()
    counted(book, 0, 2, 1)
    counted(book, 30, 1, 2)

    assert (used(book, 0), used(book, 30)) == (2, 1)
