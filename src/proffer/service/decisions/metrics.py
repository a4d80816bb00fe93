"""Metrics of a decision."""

from collections import Counter

from proffer.metrics import DECISIONS, EXCLUSIONS, FAULTS, Meters
from proffer.model.outcome import DecisionOutcome, UnknownScope
from proffer.model.trace import Stage

_UNKNOWN = ("", "", "unknown")
"""Label values of unknown scopes: without ids, which would be arbitrary client input."""


def count_outcome(meters: Meters, outcome: DecisionOutcome) -> None:
    """Count scopes by outcome, faults, and, with a trace, exclusions by stage."""
    for scope in outcome.scopes:
        if isinstance(scope, UnknownScope):
            meters.count(DECISIONS, _UNKNOWN)
        else:
            what = "options" if scope.options else "fallback"
            meters.count(DECISIONS, (scope.decision.id, scope.placement.id, what))
    if outcome.faults:
        meters.count(FAULTS, ("formula",), sum(outcome.faults.values()))
    if outcome.content_faults:
        meters.count(FAULTS, ("content",), sum(outcome.content_faults.values()))
    if outcome.trace:
        stages = Counter(verdict.stage for one in outcome.trace for verdict in one.candidates)
        for stage, left in stages.items():
            if stage is not Stage.RANKED:
                meters.count(EXCLUSIONS, (str(stage),), left)


def count_unknown(meters: Meters, outcome: DecisionOutcome) -> None:
    """Count the unknown scopes of a request that is refused because of them."""
    meters.count(DECISIONS, _UNKNOWN, len(outcome.unknown))
