"""Every declared function: its examples hold, null is harmless, and so is everything else."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pql.cases import agrees, unguarded
from proffer.pql import CompiledFormula, Environment, compile_formula
from proffer.pql.functions.registry import Function, ValueKind
from proffer.pql.functions.stdlib import FAMILIES, STDLIB
from proffer.pql.run.interpret import interpret

ENV = Environment({}, datetime(2024, 11, 20, 12, tzinfo=UTC))
EXAMPLES = [
    pytest.param(text, expected, id=f"{declared.name}: {text}")
    for declared in STDLIB.values()
    for text, expected in declared.examples.items()
]
ANYTHING: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**70,
    10**400,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "text",
    "2024-01-01",
    "9" * 500,
    "\ud800",
    [],
    [1, "a", None, [2]],
    {},
    {"a": {"b": 1}},
    datetime.fromisoformat("9999-12-31T23:59:59"),
    datetime.min.replace(tzinfo=UTC),
    object(),
)


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_an_example_holds(text: str, expected: Any) -> None:
    """Documentation has unit tests: interpreted and compiled alike."""
    formula = compile_formula(text)
    assert isinstance(formula, CompiledFormula), formula.diagnostics

    assert [
        agrees(interpret(formula.checked, ENV), expected),
        agrees(unguarded(formula)(ENV), expected),
    ] == [True] * 2


@pytest.mark.parametrize("declared", STDLIB.values(), ids=list(STDLIB))
def test_a_function_is_declared_whole(declared: Function) -> None:
    """A sentence, an example, a family, and for arrays the reason why columns cannot hold them."""
    assert declared.doc.endswith(".")
    assert declared.examples
    assert declared.family in FAMILIES
    kinds = {*declared.parameter_kinds, declared.returns}
    assert declared.row_by_row_reason or not kinds & {
        ValueKind.ARRAY,
        ValueKind.ENTRY,
        ValueKind.ITEM,
    }
    assert declared.row_by_row_reason != ""


@pytest.mark.parametrize("declared", STDLIB.values(), ids=list(STDLIB))
def test_a_function_takes_anything_without_raising(declared: Function) -> None:
    """Wrong types give null, false or nothing, whatever argument they come in."""
    if declared.is_higher_order:
        for value in ANYTHING:
            declared.apply(ENV, [value, 1, "b"], [value, value, 2], *[3] * (declared.min_arguments - 2))
        return
    for first in ANYTHING:
        for second in ANYTHING:
            declared.apply(
                ENV,
                *[first, second, first, second][: 4 if declared.max_arguments is None else declared.max_arguments],
            )


@pytest.mark.parametrize(
    "declared",
    [
        declared
        for declared in STDLIB.values()
        if declared.parameter_kinds and ValueKind.ANY not in declared.parameter_kinds
    ],
    ids=lambda declared: declared.name,
)
def test_a_null_argument_gives_the_null_answer(declared: Function) -> None:
    """False for a test, empty for an array, null for the rest."""
    if not declared.is_higher_order:
        assert declared.apply(ENV, *[None] * declared.min_arguments) == declared.on_null


@pytest.mark.parametrize(
    "text",
    [
        "let a = concat(s, s) in let b = concat(a, a) in let c = concat(b, b) in length(concat(c, c, c, c))",
        'length(replace(s, "a", s))',
        'length(replaceAll(s, "a", s))',
        "length(join([s, s, s], s))",
        'count(split(s, ""))',
    ],
)
def test_texts_do_not_grow_without_bound(text: str) -> None:
    """A result beyond the limit is null, and is not built first."""
    formula = compile_formula(text)
    assert isinstance(formula, CompiledFormula), formula.diagnostics

    assert formula.score(Environment({"s": "a" * 400_000}, ENV.now)) in (None, 1)
