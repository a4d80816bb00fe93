"""The cases of the specification, one by one, through every evaluator."""

from collections import Counter

import pytest

from pql.cases import (
    ACCEPTED,
    CASES,
    REFUSED,
    Case,
    agrees,
    as_formula,
    as_rule,
    environment,
    roots_of,
    schema_of,
    unguarded,
)
from proffer.pql import CompiledFormula, CompileErrors, compile_formula, compile_rule
from proffer.pql.forms.from_json import from_json
from proffer.pql.forms.to_json import to_json
from proffer.pql.run.explain import explain
from proffer.pql.run.interpret import interpret
from proffer.pql.values.values import truth
from proffer.service.rules.explain import _format_values


def by_id(case: Case) -> str:
    return str(case["id"])


def expects_truth(case: Case) -> bool:
    return isinstance(case["expect"], bool)


def test_no_two_cases_share_an_id() -> None:
    """A case is named once, whatever file it is in."""
    assert [name for name, count in Counter(map(by_id, CASES)).items() if count > 1] == []


@pytest.mark.parametrize("case", ACCEPTED, ids=by_id)
def test_a_case_holds_when_interpreted(case: Case) -> None:
    """The tree walk gives what the case expects."""
    value = interpret(as_formula(case).checked, environment(case["env"]))

    assert agrees(truth(value) if expects_truth(case) else value, case["expect"])


@pytest.mark.parametrize("case", ACCEPTED, ids=by_id)
def test_a_case_holds_when_compiled(case: Case) -> None:
    """Generated Python gives what the case expects, with nothing caught."""
    value = unguarded(as_formula(case))(environment(case["env"]))

    assert agrees(truth(value) if expects_truth(case) else value, case["expect"])


@pytest.mark.parametrize("case", [case for case in ACCEPTED if expects_truth(case)], ids=by_id)
def test_a_case_holds_as_a_rule(case: Case) -> None:
    """As a rule the same text is true or false, and nothing else."""
    assert as_rule(case).holds(environment(case["env"])) is case["expect"]


@pytest.mark.parametrize("case", ACCEPTED, ids=by_id)
def test_a_canonical_case_means_the_same(case: Case) -> None:
    """The canonical text compiles to the same tree and the same source."""
    formula = as_formula(case)
    again = compile_formula(formula.canonical, roots=roots_of(case), schema=schema_of(case))

    assert isinstance(again, CompiledFormula)
    assert (formula.checked.tree, formula.source) == (again.checked.tree, again.source)


@pytest.mark.parametrize("case", ACCEPTED, ids=by_id)
def test_a_case_survives_its_json_form(case: Case) -> None:
    """To pql/json and back is the same tree."""
    tree = as_formula(case).checked.tree

    assert from_json(to_json(tree, roots_of(case))) == tree


@pytest.mark.parametrize("case", ACCEPTED, ids=by_id)
def test_a_case_is_explained_part_by_part(case: Case) -> None:
    """The first part is the whole rule with its value; every part has a text, and values that can be shown."""
    checked = as_formula(case).checked
    whole, *parts = explain(checked, environment(case["env"]))

    (value,) = whole.values
    assert agrees(truth(value) if expects_truth(case) else value, case["expect"])
    assert all(part.text and _format_values(part.values) for part in (whole, *parts))


@pytest.mark.parametrize("case", REFUSED, ids=by_id)
def test_a_faulty_case_is_refused(case: Case) -> None:
    """A case that expects an error gets a diagnostic of that severity."""
    rule = compile_rule(case["expr"], roots=roots_of(case))

    assert isinstance(rule, CompileErrors)
    assert any(found.is_error for found in rule.diagnostics)
