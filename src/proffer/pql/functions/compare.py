"""Comparison functions: equality with several values, and null tests (PQL 2.1, 2.2)."""

from proffer.pql.functions.registry import Kind, function
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import Value, equal


def _equals(env: Environment, value: Value, *others: Value) -> bool:
    """Return whether a candidate equals the value; a trailing Boolean is the case flag."""
    folds = len(others) > 1 and others[-1] is False
    if len(others) > 1 and isinstance(others[-1], bool):
        others = others[:-1]
    return any(_same(value, other, folds, env) for other in others)


def _same(value: Value, other: Value, folds: bool, env: Environment) -> bool:
    if folds and isinstance(value, str) and isinstance(other, str):
        return value.lower() == other.lower()
    return equal(value, other, env.tz)


def _not_equal_to(env: Environment, value: Value, *others: Value) -> bool:
    if value is None or any(other is None for other in others):
        return False
    return not _equals(env, value, *others)


FUNCTIONS = (
    function(
        "equals",
        takes=(Kind.ANY, Kind.ANY),
        repeats=True,
        returns=Kind.BOOLEAN,
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
        takes=(Kind.ANY, Kind.ANY),
        repeats=True,
        returns=Kind.BOOLEAN,
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
        takes=(Kind.ANY,),
        returns=Kind.BOOLEAN,
        doc='True when the value is missing or null. `0`, `false` and `""` are not null.',
        examples={"null.isNull()": True, "0.isNull()": False},
        body=lambda value: value is None,
    ),
    function(
        "isNotNull",
        takes=(Kind.ANY,),
        returns=Kind.BOOLEAN,
        doc="True when the value is there and not null.",
        examples={"null.isNotNull()": False, "false.isNotNull()": True},
        body=lambda value: value is not None,
    ),
)
