"""Parts of a decision event: results per scope, and the inputs its rules may have read."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from proffer.model.content import Component
from proffer.model.events import ScopeAnswer, Selection
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import DecisionOutcome, Proposition
from proffer.model.profile import Profile, project_attributes
from proffer.model.request import DecisionRequest
from proffer.service.decisions.requirements import ScopeRequirements


def recorded_answers(outcome: DecisionOutcome) -> tuple[ScopeAnswer | None, ...]:
    """Return the result of each scope as recorded; None for unknown scopes."""
    return tuple([_answer(scope) if isinstance(scope, Proposition) else None for scope in outcome.scopes])


def recorded_inputs(
    requirements: ScopeRequirements, profile: Profile
) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """Return the profile attributes and events that these scopes may read."""
    events = profile.events if requirements.reads_events else ()
    return project_attributes(profile.attributes, requirements.reads), events


def recorded_request(requirements: ScopeRequirements, request: DecisionRequest) -> DecisionRequest:
    """Return the request to record, without unread event and context data.

    The data that pages and apps send is large and often personal.
    """
    keeps_event = requirements.reads_events or not request.event
    keeps_context = requirements.reads_context or not request.context
    if keeps_event and keeps_context:
        return request
    return replace(
        request,
        event=request.event if keeps_event else {},  # whether there was an event matters for the stored history
        context=request.context if keeps_context else {},
    )


def _answer(scope: Proposition) -> ScopeAnswer:
    placement, fallback = scope.placement, scope.fallback
    return ScopeAnswer(
        decision=scope.decision.id,
        decision_etag=scope.decision.etag,
        placement=placement.id,
        placement_etag=placement.etag,
        selections=tuple(
            [
                Selection(
                    offer=option.offer.id,
                    etag=option.offer.etag,
                    rank=rank,
                    score=option.score,
                    formula=option.formula,
                    component=_component_index(option.offer, placement.id, option.component),
                    criterion=option.criterion,
                )
                for rank, option in enumerate(scope.options, 1)
            ]
        ),
        fallback=None
        if fallback is None
        else Selection(
            offer=fallback.offer.id,
            etag=fallback.offer.etag,
            component=_component_index(fallback.offer, placement.id, fallback.component),
        ),
        dropped=scope.dropped,
    )


def _component_index(
    offer: PersonalizedOffer | FallbackOffer, placement: str, component: Component | None
) -> int | None:
    """Return the index of the delivered component; matched by type, format and language."""
    representation = offer.representations.get(placement)
    if component is None or representation is None:
        return None
    for index, candidate in enumerate(representation.components):
        if (candidate.type, candidate.format, candidate.language) == (
            component.type,
            component.format,
            component.language,
        ):
            return index
    return None
