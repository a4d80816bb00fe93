"""From rules and formulas as they are written to what can be asked."""

from proffer.engine.bound import BoundFormula, BoundRule
from proffer.model.ranking import RankingFormula
from proffer.model.rule import EligibilityRule
from proffer.pql import CompiledFormula, CompiledRule, Schema, compile_formula, compile_rule
from proffer.pql.apart import Apart, take_apart


def bind(rule: EligibilityRule, schema: Schema) -> BoundRule:
    """Compile a rule. One that does not compile is kept, with the reasons, and counts as false."""
    roots = {"profile", "xEvent", "offer", *rule.roots}
    result = compile_rule(rule.condition, roots=roots, name=rule.name, schema=schema)
    compiled = result if isinstance(result, CompiledRule) else None
    return BoundRule(
        id=rule.id,
        name=rule.name,
        etag=rule.etag,
        instance_id=rule.instance_id,
        compiled=compiled,
        diagnostics=result.diagnostics,
        apart=None if compiled is None else _apart(compiled),
    )


def _apart(rule: CompiledRule) -> Apart | None:
    try:
        return take_apart(rule.checked)
    except RecursionError:  # it stays in one piece
        return None


def bind_formula(formula: RankingFormula, schema: Schema) -> BoundFormula:
    """Compile a formula. One that does not compile is kept, with the reasons, and scores nothing."""
    roots = {"profile", "xEvent", "offer", *formula.roots}
    result = compile_formula(formula.expression, roots=roots, name=formula.name, schema=schema)
    return BoundFormula(
        id=formula.id,
        name=formula.name,
        etag=formula.etag,
        instance_id=formula.instance_id,
        compiled=result if isinstance(result, CompiledFormula) else None,
        diagnostics=result.diagnostics,
    )
