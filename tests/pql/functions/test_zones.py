"""A time keeps its zone: every function reads it as if the evaluation were in that zone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.pql import Environment
from proffer.pql.functions.registry import Function, ValueKind
from proffer.pql.functions.stdlib import STDLIB

ZONES = ("America/New_York", "Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "UTC")
NOW = datetime(2025, 11, 2, 6, 15, tzinfo=UTC)
READS_TIMES = [
    declared
    for declared in STDLIB.values()
    if ValueKind.LOCAL in declared.parameter_kinds or declared.name == "formatTime"
]
OTHER_ARGUMENTS: dict[ValueKind, Any] = {
    ValueKind.INTEGER: 3,
    ValueKind.TEXT: "Asia/Kolkata",
}
PATTERN = "yyyy-MM-dd EEE HH:mm:ss XXX"

# Around the changes of clocks, which in Sao Paulo were at midnight.
moments = st.builds(
    lambda start, minutes: datetime.fromisoformat(start) + timedelta(minutes=minutes),
    st.sampled_from(["2025-03-09T07:00:00+00:00", "2025-11-02T06:00:00+00:00", "2018-11-04T03:00:00+00:00"]),
    st.integers(-2 * 1440, 2 * 1440),
)


def call(declared: Function, env: Environment, times: list[Any]) -> Any:
    """The result with the given times as the arguments that are times; a time as its instant and clock."""
    left = list(times)
    arguments = [
        left.pop(0)
        if kind is ValueKind.LOCAL or (declared.name == "formatTime" and at == 0)
        else (PATTERN if declared.name.startswith("format") else OTHER_ARGUMENTS[kind])
        for at, kind in enumerate(declared.parameter_kinds)
    ]
    result = declared.apply(env, *arguments)
    return (result, result.replace(tzinfo=None)) if isinstance(result, datetime) else result


@pytest.mark.parametrize("declared", READS_TIMES, ids=lambda declared: declared.name)
@settings(max_examples=25, deadline=None)
@given(times=st.lists(moments, min_size=3, max_size=3), zone=st.sampled_from(ZONES))
def test_a_zoned_time_reads_as_in_an_evaluation_of_its_zone(
    declared: Function, times: list[datetime], zone: str
) -> None:
    """A function of zoned times gives what it gives for plain instants in an evaluation of that zone."""
    elsewhere = Environment({}, NOW, tz=ZoneInfo("Australia/Lord_Howe"))
    zoned = [STDLIB["toTimeZone"].apply(elsewhere, time, zone) for time in times]

    assert call(declared, elsewhere, zoned) == call(declared, Environment({}, NOW, tz=ZoneInfo(zone)), times)


@pytest.mark.parametrize("declared", READS_TIMES, ids=lambda declared: declared.name)
@settings(max_examples=10, deadline=None)
@given(times=st.lists(moments, min_size=3, max_size=3))
def test_a_text_with_an_offset_reads_by_its_own_clock(declared: Function, times: list[datetime]) -> None:
    """So does a text that carries an offset."""
    kolkata = ZoneInfo("Asia/Kolkata")  # its offset is always the same
    texts = [time.astimezone(kolkata).isoformat() for time in times]

    assert call(declared, Environment({}, NOW), texts) == call(declared, Environment({}, NOW, tz=kolkata), times)
