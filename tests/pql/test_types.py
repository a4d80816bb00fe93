"""The table of types (R44): every pair of a declared type, a value and what it is compared with."""

from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

import pytest

from pql.cases import TYPES, Case, environment, schema_of, unguarded
from proffer.engine.index.codegen import CompositeIndex, generate_lookup
from proffer.engine.index.predicate_table import build_field_index
from proffer.engine.steps import run_to_completion
from proffer.pql import CompiledFormula, CompiledRule, Environment, Schema, compile_formula, compile_rule
from proffer.pql.cases import NOON
from proffer.pql.index.conjuncts import conjuncts
from proffer.pql.run.interpret import interpret
from proffer.pql.syntax.nodes import ListOf

NOW = datetime.fromisoformat(NOON)


def by_rule(case: Case) -> tuple[str, str]:
    return str(case["schema"]), case["expr"]


GROUPS = [list(cases) for _, cases in groupby(TYPES, by_rule)]


def formula(case: Case) -> CompiledFormula:
    compiled = compile_formula(case["expr"], schema=schema_of(case))
    assert isinstance(compiled, CompiledFormula), compiled.diagnostics
    return compiled


def items(case: Case) -> list[CompiledRule]:
    """Each comparison of the list as a rule of its own."""
    tree = formula(case).checked.tree
    assert isinstance(tree, ListOf)
    texts = [case["expr"][item.span.start : item.span.end] for item in tree.items]
    return [a_rule(text, schema_of(case)) for text in texts]


def a_rule(text: str, schema: Schema) -> CompiledRule:
    rule = compile_rule(text, schema=schema)
    assert isinstance(rule, CompiledRule), rule.diagnostics
    return rule


def in_index(rule: CompiledRule, profile: Any) -> bool:
    """Whether an offer with this rule is found by the index, with what the index does not hold evaluated."""
    taken = conjuncts(rule.checked)
    environment = Environment(profile, NOW)
    trees = [part.predicate_tree for part in taken.residuals]
    conditions = [*taken.conditions, *(one for tree in trees if tree is not None for one in tree.conditions)]
    composites = []
    for condition in conditions:
        index = run_to_completion(build_field_index(1, [(condition, [0])], partial(list, [(condition, [0])])))
        composites.append(CompositeIndex("0", (condition.name,), (condition.subject,), (index,)))
    lookup = generate_lookup(composites)
    found = 1 if lookup is None else lookup(environment, 1)
    return bool(found) and all(
        part.holds(environment) for part, tree in zip(taken.residuals, trees, strict=True) if tree is None
    )


def test_the_table_has_every_type_beside_every_literal_and_value() -> None:
    """Undeclared and five declared types; eight values, one of them missing."""
    types = {str(case["schema"]["profile"]["a"]) for case in TYPES}

    assert types == {"any", "number", "text", "boolean", "date", "date-time"}
    assert len({str(case["env"]["profile"].get("a")) for case in TYPES}) >= 8


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0]["id"])
def test_every_evaluator_compares_by_the_declared_types(group: list[Case]) -> None:
    """Interpreter, generated Python, each comparison as a rule of its own, columns and index."""
    compiled, rules = formula(group[0]), items(group[0])
    run = unguarded(compiled)

    for case in group:
        env, expected = environment(case["env"]), case["expect"]
        assert interpret(compiled.checked, env) == expected, case["id"]
        assert run(env) == expected, case["id"]
        assert [rule.holds(env) for rule in rules] == expected, case["id"]
        assert [in_index(rule, env.profile) for rule in rules] == expected, case["id"]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0]["id"])
def test_columns_compare_by_the_declared_types(group: list[Case]) -> None:
    """All values of a group in one table, and each in a table of its own."""
    pytest.importorskip("numpy")
    from proffer.pql.columns.columns import ProfileTable
    from proffer.pql.columns.rule_columns import ColumnRule, to_columns

    profiles = [case["env"]["profile"] for case in group]
    for position, rule in enumerate(items(group[0])):
        plan = to_columns(rule.checked)
        assert isinstance(plan, ColumnRule)
        expected = [case["expect"][position] for case in group]
        tables = [ProfileTable.of(profiles, plan.paths), *(ProfileTable.of([one], plan.paths) for one in profiles)]
        together, *alone = [plan.holds(table, Environment({}, NOW)).tolist() for table in tables]

        assert together == expected, group[0]["id"]
        assert [found for (found,) in alone] == expected, group[0]["id"]
