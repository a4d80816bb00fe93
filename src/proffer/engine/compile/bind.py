"""Compilation of rules, formulas and constraints into bound records."""

from collections.abc import Mapping

from proffer.engine.compiled import (
    RULE_TYPES,
    BoundConstraint,
    BoundFormula,
    BoundRule,
    BoundThreshold,
    RuleEvaluator,
)
from proffer.model.constraint import Constraint, ConstraintType
from proffer.model.ranking import RankingFormula
from proffer.model.rule import EligibilityRule
from proffer.pql import CompiledFormula, CompiledRule, Schema, compile_formula, compile_rule
from proffer.pql.index.conjuncts import Conjunction, Residual, conjoin, conjuncts
from proffer.pql.index.partial_eval import partial_eval
from proffer.pql.index.rule_tests import rule_tests

LIBRARY_ROOTS = frozenset({"profile", "xEvent", "offer"})
"""Roots every rule and formula of a library may use, besides those declared in its `definedOn`."""
THRESHOLD_ROOTS = frozenset({"profile", "offer"})
"""Roots that the threshold of a limit may use, besides context data (`@{type}`)."""


def bind_rule(rule: EligibilityRule, schema: Schema) -> BoundRule:
    """Compile a rule. One that does not compile has diagnostics and is false."""
    result = compile_rule(rule.condition, roots=LIBRARY_ROOTS | rule.roots, name=rule.name, schema=schema)
    compiled = conjunction = tests = None
    per_offer = False
    if isinstance(result, CompiledRule):
        compiled = RuleEvaluator(result)
        per_offer = any(path == "offer" or path.startswith("offer.") for path in result.reads)
        conjunction = _conjunction(result, per_offer=per_offer)
        tests = rule_tests(result.checked, result.text)
    return BoundRule(
        id=rule.id,
        name=rule.name,
        etag=rule.etag,
        instance_id=rule.instance_id,
        compiled=compiled,
        per_offer=per_offer,
        diagnostics=result.diagnostics,
        conjunction=conjunction,
        tests=tests,
    )


def _conjunction(rule: CompiledRule, *, per_offer: bool) -> Conjunction:
    try:
        return conjuncts(rule.checked)
    except RecursionError:  # too deep: keep the whole rule as one residual
        return Conjunction((), (Residual(rule.holds, reads_offer=per_offer),))


def bind_constraint(constraint: Constraint, rules: Mapping[str, BoundRule]) -> BoundConstraint | None:
    """Resolve the rules of a constraint; None if it has no conditions."""
    if constraint.type is ConstraintType.NONE:
        return None
    bound_rules = tuple(rules[rule] for rule in constraint.rules if rule in rules)
    missing = tuple(rule for rule in constraint.rules if rule not in rules)
    conjunction = None
    if constraint.type in RULE_TYPES and bound_rules and not missing:
        conjunctions = [rule.conjunction for rule in bound_rules if rule.conjunction is not None]
        if len(conjunctions) == len(bound_rules):
            conjunction = conjunctions[0] if len(conjunctions) == 1 else conjoin(conjunctions)
    return BoundConstraint(
        declared=constraint,
        rules=bound_rules,
        missing=missing,
        per_offer=any(rule.per_offer for rule in bound_rules),
        conjunction=conjunction,
    )


def bind_threshold(text: str, schema: Schema) -> BoundThreshold:
    """Compile the threshold of a limit. One that does not compile has diagnostics and gives no number."""
    result = compile_formula(text, roots=THRESHOLD_ROOTS, name="threshold", schema=schema)
    return BoundThreshold(result if isinstance(result, CompiledFormula) else None, result.diagnostics)


def bind_formula(formula: RankingFormula, schema: Schema) -> BoundFormula:
    """Compile a formula. A formula that does not compile has diagnostics and gives no scores."""
    result = compile_formula(formula.expression, roots=LIBRARY_ROOTS | formula.roots, name=formula.name, schema=schema)
    compiled = result if isinstance(result, CompiledFormula) else None
    return BoundFormula(
        id=formula.id,
        name=formula.name,
        etag=formula.etag,
        instance_id=formula.instance_id,
        compiled=compiled,
        diagnostics=result.diagnostics,
        split=partial_eval(compiled.checked) if compiled is not None else None,
    )
