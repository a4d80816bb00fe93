"""Comparison functions: equality with several values, and null tests (PQL 2.1, 2.2)."""

from proffer.pql.functions.registry import ValueKind, function
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import Value, equal


def _equals(env: Environment, value: Value, *candidates: Value) -> bool:
    """Return whether a candidate equals the value; a trailing Boolean is the case flag."""
    ignore_case = len(candidates) > 1 and candidates[-1] is False
    if len(candidates) > 1 and isinstance(candidates[-1], bool):
        candidates = candidates[:-1]
    return any(_equals_one(value, candidate, ignore_case, env) for candidate in candidates)


def _equals_one(value: Value, candidate: Value, ignore_case: bool, env: Environment) -> bool:
    if ignore_case and isinstance(value, str) and isinstance(candidate, str):
        return value.lower() == candidate.lower()
    return equal(value, candidate, env.tz)


def _not_equal_to(env: Environment, value: Value, *candidates: Value) -> bool:
    if value is None or any(candidate is None for candidate in candidates):
        return False
    return not _equals(env, value, *candidates)


FUNCTIONS = (
    function(
        "equals",
        parameter_kinds=(ValueKind.ANY, ValueKind.ANY),
        repeats=True,
        returns=ValueKind.BOOLEAN,
        doc="True when the value equals one of the others, as `=` compares. A last argument of `false`, "
        "after at least one other, ignores letter case.",
        examples={
            '"Joe".equals("Joe")': True,
            '"JOE".equals("joe")': False,
            '"JOE".equals("joe", false)': True,
            '"CA".equals("AL", "CA")': True,
            'null.equals("Joe")': False,
        },
        body=_equals,
        with_env=True,
    ),
    function(
        "notEqualTo",
        parameter_kinds=(ValueKind.ANY, ValueKind.ANY),
        repeats=True,
        returns=ValueKind.BOOLEAN,
        doc="True when neither side is null and the value equals none of the others, as `!=` compares. "
        "A last argument of `false`, after at least one other, ignores letter case.",
        examples={
            '"Joe".notEqualTo("John")': True,
            '"JOHN".notEqualTo("john", false)': False,
            'null.notEqualTo("John")': False,
        },
        body=_not_equal_to,
        with_env=True,
    ),
    function(
        "isNull",
        parameter_kinds=(ValueKind.ANY,),
        returns=ValueKind.BOOLEAN,
        doc='True when the value is missing or null. `0`, `false` and `""` are not null.',
        examples={"null.isNull()": True, "0.isNull()": False},
        body=lambda value: value is None,
    ),
    function(
        "isNotNull",
        parameter_kinds=(ValueKind.ANY,),
        returns=ValueKind.BOOLEAN,
        doc="True when the value is present and not null.",
        examples={"null.isNotNull()": False, "false.isNotNull()": True},
        body=lambda value: value is not None,
    ),
)
