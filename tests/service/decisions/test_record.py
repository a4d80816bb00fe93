"""What of a request is put on record: what it says of the moment only where something may have read that."""

import uuid

import pytest

from proffer.model import events
from proffer.model.capping import NO_LIMITS
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.service.decisions.record import recorded_request
from proffer.service.decisions.requirements import ScopeRequirements

REQUEST = DecisionRequest(
    scopes=(ScopeRequest("d", "p"),),
    context={"weather": {"celsius": 30}},
    event={"identityMap": {"Email": [{"id": "ann@x"}]}},
)


@pytest.mark.parametrize("reads_events", [True, False])
@pytest.mark.parametrize("reads_context", [True, False])
def test_what_nothing_reads_is_not_kept(reads_events: bool, reads_context: bool) -> None:
    """The event and the context each by itself; that there was an event stays known."""
    needed = ScopeRequirements(
        caps=NO_LIMITS, reads=frozenset(), reads_events=reads_events, reads_context=reads_context
    )
    kept = recorded_request(needed, REQUEST)

    assert kept.event == (REQUEST.event if reads_events else {})
    assert kept.context == (REQUEST.context if reads_context else {})
    assert kept.scopes == REQUEST.scopes


def test_without_an_event_there_is_none() -> None:
    """What is kept of the past is read then, and must be when the decision is made again."""
    request = DecisionRequest(scopes=())
    needed = ScopeRequirements(caps=NO_LIMITS, reads=frozenset(), reads_events=False, reads_context=False)

    assert recorded_request(needed, request) == request


def test_ids_of_the_edge_are_made_by_name() -> None:
    """UUIDs of version 5, as the standard library makes them."""
    for index in range(30):
        decision = events.new_decision_id(1_764_000_000_000_000 + index)
        made = uuid.uuid5(events._NAMESPACE, f"{decision}/{index}")
        assert events.edge_proposition_id(decision, index) == str(made)
