"""Names of audiences in the traces of decisions; the engine knows only their ids."""

from collections.abc import Mapping
from dataclasses import replace

from msgspec import structs

from proffer.model.constraint import OWN_AUDIENCES
from proffer.model.outcome import DecisionOutcome
from proffer.model.trace import AudienceName, ScopeTrace, Verdict
from proffer.service.library.customer_rules import CompiledAudience


def with_audience_names(outcome: DecisionOutcome, audiences: Mapping[str, CompiledAudience]) -> DecisionOutcome:
    """Return the outcome with the names of the library's audiences in its trace."""
    if not outcome.trace or not audiences:
        return outcome

    def named(audience: AudienceName) -> AudienceName:
        known = audiences.get(audience.id) if audience.namespace == OWN_AUDIENCES else None
        return audience if known is None else structs.replace(audience, name=known.definition.name)

    def with_names(verdict: Verdict) -> Verdict:
        if not verdict.why.audiences:
            return verdict
        why = structs.replace(verdict.why, audiences=tuple(map(named, verdict.why.audiences)))
        return structs.replace(verdict, why=why)

    traces: list[ScopeTrace] = [
        replace(trace, candidates=tuple(map(with_names, trace.candidates))) for trace in outcome.trace
    ]
    return structs.replace(outcome, trace=tuple(traces))
