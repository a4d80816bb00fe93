"""Whole months and years: `occurs` counts them as `age` and the differences do (R49)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proffer.pql import Environment
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.values import occurs

law = settings(max_examples=300, deadline=None)
zones = st.sampled_from([UTC, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")])
# Around month ends and the changes of clocks in New York, to the minute.
month_ends = st.builds(
    lambda year, month, minutes: datetime(year, month, 1, tzinfo=UTC) + timedelta(minutes=minutes),
    st.integers(2004, 2028),
    st.sampled_from([1, 2, 3, 5, 7, 12]),
    st.integers(-4 * 1440, 4 * 1440),
)
changes_of_clocks = st.builds(
    lambda start, minutes: datetime.fromisoformat(start) + timedelta(minutes=minutes),
    st.sampled_from(["2025-03-09T07:00:00+00:00", "2025-11-02T06:00:00+00:00", "2024-03-09T07:00:00+00:00"]),
    st.integers(-180, 180),
)
moments = st.one_of(month_ends, changes_of_clocks)
NEW_YORK = ZoneInfo("America/New_York")
# Half past one, and a quarter past one an hour later by the other clock: 45 minutes apart.
BEFORE_CHANGE, AFTER_CHANGE = datetime(2025, 11, 2, 5, 30, tzinfo=UTC), datetime(2025, 11, 2, 6, 15, tzinfo=UTC)


def call(name: str, env: Environment, *arguments: Any) -> Any:
    return STDLIB[name].apply(env, *arguments)


@law
@example(at=BEFORE_CHANGE, now=AFTER_CHANGE, zone=NEW_YORK, amount=0, unit="month")
@given(at=moments, now=moments, zone=zones, amount=st.integers(0, 26), unit=st.sampled_from(["month", "year"]))
def test_occurs_agrees_with_age(at: datetime, now: datetime, zone: Any, amount: int, unit: str) -> None:
    """`at occurs >= n years before now` is true from the moment at which `age(at)` is n."""
    env = Environment({}, now, tz=zone)
    age = call("ageInYears" if unit == "year" else "ageInMonths", env, at)
    signs = {sign: occurs.within(env, at, sign, amount, unit, True, now) for sign in ("<", ">=", "=", "<=", ">")}

    if at > now:
        assert not any(signs.values())
        return
    assert (signs[">="], signs["<"], signs["="]) == (age >= amount, age < amount, age == amount)
    assert signs["<="] is not signs[">"]
    assert signs["<="] or signs[">="]


@law
@example(at=AFTER_CHANGE, start=BEFORE_CHANGE, zone=NEW_YORK, amount=0, unit="month")
@given(at=moments, start=moments, zone=zones, amount=st.integers(0, 26), unit=st.sampled_from(["month", "year"]))
def test_occurs_after_agrees_with_the_difference(
    at: datetime, start: datetime, zone: Any, amount: int, unit: str
) -> None:
    """`at occurs >= n months after start` is true if `diffInMonths(at, start)` is at least n."""
    env = Environment({}, at, tz=zone)
    difference = call(f"diffIn{unit.capitalize()}s", env, at, start)
    signs = {sign: occurs.within(env, at, sign, amount, unit, False, start) for sign in ("<", ">=", "=", "<=", ">")}

    if at < start:
        assert not any(signs.values())
        return
    assert (signs[">="], signs["<"], signs["="]) == (difference >= amount, difference < amount, difference == amount)
    assert signs["<="] is not signs[">"]
    assert signs["<="] or signs[">="]


@law
@given(moments, moments, zones)
def test_a_difference_has_the_same_size_in_both_directions(first: datetime, second: datetime, zone: Any) -> None:
    """Months and years are truncated towards zero."""
    env = Environment({}, first, tz=zone)

    for name in ("diffInMonths", "diffInYears"):
        assert call(name, env, first, second) == -call(name, env, second, first)
