"""What a process remembers of counters does not grow with time, and is as exact as before."""

from proffer.model.capping import DAY_US, CapLimit, CapScope, OfferLimits, Repeat, RepeatUnit
from proffer.store.common.cap_cache import ActiveLimits, CapCache, LimitRow, TotalRow
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


def limit_row(counter: int, offer: str, limit: int | None, change: int) -> LimitRow:
    """A changed limit of an offer; None: no longer in force."""
    return LimitRow("c1", offer, StoredLimit(counter, "1", encode_definition(LIMIT), limit, NOON, None, None), change)


def test_limits_that_are_no_longer_in_force_leave_nothing() -> None:
    """However many offers come and go, the caches hold what is in force."""
    book, batch = a_book(), ActiveLimits()
    counted(book, 0, 3, 1)
    for counter in range(2, 200):
        for limit in (5, None):
            rows = [limit_row(counter, f"offer {counter}", limit, 2 * counter + (limit is None))]
            book.update_limits(rows)
            batch.update(rows)
            book.update_totals([TotalRow((counter, "", TODAY), CounterValue(5, TODAY + DAY_US), counter)])
    batch.update([limit_row(1, "gold", 5, 1)])

    assert used(book, 0) == 3
    assert book.cached_counts == 1
    for limits in (book.limits, batch):
        assert list(limits.by_counter) == [1]
        assert list(limits.for_container("c1")) == ["gold"]
        assert not limits.counts_profiles("c1")


def test_totals_of_a_limit_that_is_in_force_again_are_read_anew() -> None:
    """`update_limits` says so, for no other change."""
    book = a_book()
    counted(book, 0, 5, 1)
    assert not book.update_limits([limit_row(1, "gold", 7, 2), limit_row(2, "silver", 7, 3)])
    assert not book.update_limits([limit_row(1, "gold", None, 4)])
    assert not book.update_limits([limit_row(2, "silver", 8, 5)])
    assert used(book, 0) == 0

    assert book.update_limits([limit_row(1, "gold", 5, 6)])
    counted(book, 0, 5, 1)
    assert used(book, 0) == 5
