"""Metrics of a decision."""

from collections import Counter

from proffer.metrics import DECISIONS, EXCLUSIONS, FAULTS, Metrics
from proffer.model.outcome import DecisionOutcome, UnknownScope
from proffer.model.trace import Stage

_UNKNOWN = ("", "", "unknown")
"""Label values of unknown scopes: without ids, which would be arbitrary client input."""


def count_outcome(metrics: Metrics, outcome: DecisionOutcome) -> None:
    """Count scopes by outcome, faults, and, with a trace, exclusions by stage."""
    for scope in outcome.scopes:
        if isinstance(scope, UnknownScope):
            metrics.count(DECISIONS, _UNKNOWN)
        else:
            result = "options" if scope.options else "fallback"
            metrics.count(DECISIONS, (scope.decision.id, scope.placement.id, result))
    if outcome.formula_errors:
        metrics.count(FAULTS, ("formula",), sum(outcome.formula_errors.values()))
    if outcome.content_errors:
        metrics.count(FAULTS, ("content",), sum(outcome.content_errors.values()))
    if outcome.threshold_errors:
        metrics.count(FAULTS, ("threshold",), sum(outcome.threshold_errors.values()))
    if outcome.trace:
        stages = Counter(verdict.stage for scope_trace in outcome.trace for verdict in scope_trace.candidates)
        for stage, count in stages.items():
            if stage is not Stage.RANKED:
                metrics.count(EXCLUSIONS, (str(stage),), count)


def count_unknown(metrics: Metrics, outcome: DecisionOutcome) -> None:
    """Count the unknown scopes of a request refused because of them."""
    metrics.count(DECISIONS, _UNKNOWN, len(outcome.unknown_scopes))
