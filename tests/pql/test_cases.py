"""The cases of the specification, one by one, through every evaluator."""

import pytest

from pql.cases import CASES, Case, environment, roots_of
from proffer.pql import CompiledRule, Rejected, compile_rule
from proffer.pql.interpret import interpret
from proffer.pql.values import truth

ERROR = {"$error": "parse"}
ACCEPTED = [case for case in CASES if case["expect"] != ERROR]
REFUSED = [case for case in CASES if case["expect"] == ERROR]


def compiled(case: Case) -> CompiledRule:
    rule = compile_rule(case["expr"], roots=roots_of(case))
    assert isinstance(rule, CompiledRule), rule.diagnostics
    return rule


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case["id"])
def test_a_case_holds_when_interpreted(case: Case) -> None:
    """The tree walk gives what the case expects."""
    rule = compiled(case)

    assert case["expect"] is truth(interpret(rule.checked, environment(case["env"])))


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case["id"])
def test_a_case_holds_when_compiled(case: Case) -> None:
    """Generated Python gives what the case expects."""
    rule = compiled(case)

    assert case["expect"] is rule.holds(environment(case["env"]))


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case["id"])
def test_a_canonical_case_means_the_same(case: Case) -> None:
    """The canonical text compiles to the same tree and the same source."""
    rule = compiled(case)
    again = compile_rule(rule.canonical, roots=roots_of(case))

    assert isinstance(again, CompiledRule)
    assert (rule.checked.tree, rule.source) == (again.checked.tree, again.source)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["id"])
def test_a_faulty_case_is_refused(case: Case) -> None:
    """A case that expects an error gets a diagnostic of that severity."""
    rule = compile_rule(case["expr"], roots=roots_of(case))

    assert isinstance(rule, Rejected)
    assert any(found.is_error for found in rule.diagnostics)
