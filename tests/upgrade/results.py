"""Results of many rules for many values, as the version that runs this script gives them.

`python results.py` prints a JSON list. It uses what every version has, since it is run
with the source of earlier ones.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from proffer.pql import Environment, compile_rule

VALUES: tuple[Any, ...] = (
    *(0, 1, 900, 2.5, True, False, None, [1], {}),
    *("1", "900", "1.0", "07030", " 1", "abc", "", "TRUE", "false", "yes"),
    *("2026-01-31", "2024-02-29", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00"),
    *("2026-01-01T01:00:00+01:00", "2025-12-31T23:30:00-05:00"),
)
FIELDS = ("person.age", "homeAddress.postalCode", "person.birthDate", "undeclared")
"""A number, a text and a date of the core, and a field that is not declared."""
_LITERALS = ("900", "7030", '"1"', '"abc"', "true", '"2026-01-01T00:00:00Z"', "date(2026, 1, 1)")
_COMPARISONS = (
    "{0} = {1}",
    "{1} = {0}",
    "{0} != {1}",
    "{0} < {1}",
    "{1} >= {0}",
    '{0} in [{1}, "x"]',
    "{0}.equals({1})",
)
_OTHERS = (
    *("{0}", "not {0}", "{0} + 1 > 2", "-{0} < 0", "sum([{0}, 1]) > 2", "min([{0}, 5]) = 5"),
    *('max([{0}, "2026-01-01T00:00:00Z"]) = {0}', 'distinct([{0}, "2026-01-01T00:00:00Z"]).count() = 2'),
    *("extractHours({0}) = 0", "dayOfWeek({0}) = 4", 'formatDate({0}, "yyyy-MM-dd HH") = "2026-01-01 00"'),
    *("age({0}) > 0", "ageInMonths({0}) > 1", "diffInMonths(now, {0}) > 1", "diffInYears(now, {0}) > 1"),
    *("{0} occurs < 1 months before now", "{0} occurs >= 2 years before now", "{0} occurs on date(2026, 1, 1)"),
    *('toTimeZone({0}, "Europe/Berlin").getMonth() = 1', "addMonths({0}, 1) > date(2026, 2, 1)"),
)
_TIMES = (datetime(2026, 2, 28, 12, tzinfo=UTC), datetime(2026, 6, 15, tzinfo=UTC))


def rules() -> Iterator[tuple[str, str]]:
    """Yield each rule with the field that it reads."""
    for field in FIELDS:
        yield from ((rule.format(field, literal), field) for rule in _COMPARISONS for literal in _LITERALS)
        yield from ((rule.format(field), field) for rule in _OTHERS)


def environments(field: str) -> Iterator[Environment]:
    """Yield an environment for each value of the field, at each time."""
    *objects, name = field.split(".")
    for value in VALUES:
        profile: dict[str, Any] = {name: value}
        for outer in reversed(objects):
            profile = {outer: profile}
        for now in _TIMES:
            yield Environment(profile, now)


def results() -> list[list[bool]]:
    """Return the results of each rule; none for one that does not compile."""
    compiled = [(compile_rule(rule), field) for rule, field in rules()]
    return [
        [rule.holds(environment) for environment in environments(field)] if hasattr(rule, "holds") else []
        for rule, field in compiled
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(results()))
