"""Compilation of rules, formulas and constraints into bound records."""

from collections.abc import Mapping

from proffer.engine.compiled import BY_RULE, Asked, BoundConstraint, BoundFormula, BoundRule
from proffer.model.constraint import Constraint, ConstraintType
from proffer.model.ranking import RankingFormula
from proffer.model.rule import EligibilityRule
from proffer.pql import CompiledFormula, CompiledRule, Schema, compile_formula, compile_rule
from proffer.pql.index.conjuncts import Apart, Part, take_apart, together
from proffer.pql.index.partial_eval import split


def bind(rule: EligibilityRule, schema: Schema) -> BoundRule:
    """Compile a rule. One that does not compile has diagnostics and is false."""
    roots = {"profile", "xEvent", "offer", *rule.roots}
    result = compile_rule(rule.condition, roots=roots, name=rule.name, schema=schema)
    compiled = apart = None
    if isinstance(result, CompiledRule):
        compiled = Asked(result)
        apart = _apart(result)
    return BoundRule(
        id=rule.id,
        name=rule.name,
        etag=rule.etag,
        instance_id=rule.instance_id,
        compiled=compiled,
        diagnostics=result.diagnostics,
        apart=apart,
    )


def _apart(rule: CompiledRule) -> Apart:
    try:
        return take_apart(rule.checked)
    except RecursionError:  # too deep: keep the whole rule as one residual
        reads_offer = any(path == "offer" or path.startswith("offer.") for path in rule.reads)
        return Apart((), (Part(rule.holds, per_offer=reads_offer),))


def bind_constraint(
    constraint: Constraint, rules: Mapping[str, BoundRule]
) -> BoundConstraint | None:
    """Resolve the rules of a constraint; None if it has no conditions."""
    if constraint.type is ConstraintType.NONE:
        return None
    found = tuple(rules[rule] for rule in constraint.rules if rule in rules)
    missing = tuple(rule for rule in constraint.rules if rule not in rules)
    apart = None
    if constraint.type in BY_RULE and found and not missing:
        known = [rule.apart for rule in found if rule.apart is not None]
        if len(known) == len(found):
            apart = known[0] if len(known) == 1 else together(known)
    return BoundConstraint(
        declared=constraint,
        rules=found,
        missing=missing,
        per_offer=any(rule.per_offer for rule in found),
        apart=apart,
    )


def bind_formula(formula: RankingFormula, schema: Schema) -> BoundFormula:
    """Compile a formula. A formula that does not compile has diagnostics and gives no scores."""
    roots = {"profile", "xEvent", "offer", *formula.roots}
    result = compile_formula(formula.expression, roots=roots, name=formula.name, schema=schema)
    compiled = result if isinstance(result, CompiledFormula) else None
    return BoundFormula(
        id=formula.id,
        name=formula.name,
        etag=formula.etag,
        instance_id=formula.instance_id,
        compiled=compiled,
        diagnostics=result.diagnostics,
        split=split(compiled.checked) if compiled is not None else None,
    )
