"""What an event of feedback is about, case by case; and what moves which caps, and when."""

import json
from pathlib import Path
from typing import Any

import pytest

from proffer.model.attribution import AttributedFeedback, attribute, hinted_decision
from proffer.model.capping import CapLimit, CapScope
from proffer.model.events import (
    DecisionEvent,
    ScopeAnswer,
    Selection,
    edge_proposition_id,
    new_decision_id,
)
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.model.ids import canonical
from proffer.model.request import DecisionRequest, ScopeRequest

CASES = json.loads((Path(__file__).parents[2] / "spec/feedback/attribution.json").read_text("utf-8"))
NOON = 1_767_268_800_000_000
HOUR = 3_600_000_000
OLDEST_MS = 1_577_836_800_000
ANN = IdentityKey("Email", "ann@x")
GOLD, WEB = "xcore:personalized-offer:9", "xcore:offer-placement:1"


def decided(answers: Any, key: str = "") -> DecisionEvent:
    def an_answer(one: Any) -> ScopeAnswer | None:
        if one is None:
            return None
        decision, placement, given = one
        listed = tuple(Selection(offer=offer, etag=1) for offer in given)
        return ScopeAnswer(
            decision=decision,
            decision_etag=1,
            placement=placement,
            placement_etag=1,
            selections=() if isinstance(given, str) else listed,
            fallback=Selection(offer=given, etag=1) if isinstance(given, str) else None,
        )

    return DecisionEvent(
        id=key or new_decision_id(NOON),
        container="c1",
        decided_us=NOON,
        revision=1,
        surface="test",
        request=DecisionRequest(scopes=tuple(ScopeRequest("d", "p") for _ in answers)),
        answers=tuple(map(an_answer, answers)),
        identities=(ANN,),
    )


def event_of(*reported: PropositionReport, kind: FeedbackKind = FeedbackKind.DISPLAY, at: int = 0) -> Feedback:
    return Feedback(id="e1", kind=kind, at_us=NOON + at, propositions=reported, document={})


def attributed(event: DecisionEvent, feedback: Feedback, *, received: int = 2 * HOUR) -> AttributedFeedback:
    ids = [event.id, *(edge_proposition_id(event.id, n) for n in range(len(event.answers)))]
    found = dict.fromkeys(ids, event)
    return attribute(feedback, found, received_us=NOON + received, oldest_ms=OLDEST_MS)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_every_case_is_about_what_it_says(case: dict[str, Any]) -> None:
    """What was delivered, and what is on no record and why; never the same twice."""
    event = decided(case["answers"])
    names = {"decision": event.id}
    names |= {f"edge:{n}": edge_proposition_id(event.id, n) for n in range(len(event.answers))}
    spoken = {key: name for name, key in names.items()}
    reports = [
        PropositionReport(
            names.get(one["id"], one["id"]),
            one.get("scope"),
            tuple(map(canonical, one["items"])) if "items" in one else None,
            tokens=tuple(token.replace("token:", f"{event.id}.") for token in one.get("tokens", ())),
        )
        for one in case["reports"]
    ]
    found = attributed(event, event_of(*reports))

    assert [[one.decision, one.placement, one.offer] for one in found.delivered_offers] == case["delivered"]
    assert {one.event for one in found.delivered_offers} <= {event.id}
    missed = [
        [
            spoken.get(one.proposition, one.proposition),
            one.item and one.item.replace(f"{event.id}.", "token:"),
            one.reason.value,
        ]
        for one in found.unattributed
    ]
    assert missed == case["missed"]
    assert [[one.placement, one.offer] for one in found.increments] == [
        [placement, offer] for _, placement, offer in case["delivered"]
    ]
    assert all(one.identities == (ANN,) for one in found.increments)


@pytest.mark.parametrize(
    ("at", "received", "counted"),
    [
        (HOUR, 2 * HOUR, HOUR),
        (-HOUR, 2 * HOUR, 0),
        (5 * HOUR, 2 * HOUR, 2 * HOUR),
        (-HOUR, -2 * HOUR, 0),
        (HOUR, -2 * HOUR, 0),
    ],
)
def test_clocks_of_clients_are_kept_in_bounds(at: int, received: int, counted: int) -> None:
    """Nothing is seen before it was decided, or later than now, whatever clocks say."""
    event = decided([["d", WEB, [GOLD]]])
    found = attributed(event, event_of(PropositionReport(event.id), at=at), received=received)

    assert [move.at_us - NOON for move in found.increments] == [counted]


@pytest.mark.parametrize(
    ("kind", "events", "custom", "rules", "counts"),
    [
        ("display", ["impression"], None, [], True),
        ("display", ["click"], None, [], False),
        ("display", ["decisioning"], None, [], False),
        ("interact", ["impression", "click"], None, [], True),
        ("dismiss", ["impression", "click"], None, [], False),
        ("custom", ["custom"], None, [], True),
        ("custom", ["custom"], "rule", [], False),
        ("custom", ["custom"], "rule", ["rule"], True),
        ("custom", ["custom"], "rule", ["other"], False),
        ("custom", ["click"], None, ["rule"], False),
        ("display", ["custom"], None, [], False),
        ("display", ["custom"], "rule", ["rule"], True),
        ("dismiss", ["custom"], "rule", ["rule"], True),
        ("display", ["custom", "impression"], "rule", [], True),
    ],
)
def test_which_events_move_a_limit(
    kind: str, events: list[str], custom: str | None, rules: list[str], counts: bool
) -> None:
    """A limit on custom events with a rule counts whatever fulfils it, else events that are nothing else."""
    event = decided([["d", WEB, [GOLD]]])
    found = attributed(event, event_of(PropositionReport(event.id), kind=FeedbackKind(kind)))
    limit = CapLimit(name="1", limit=1, scope=CapScope.GLOBAL, events=frozenset(events), custom_rule=custom)
    told = AttributedFeedback(
        feedback=found.feedback, received_us=0, cap_events=found.cap_events, rules=frozenset(rules)
    )

    assert told.counts_for(limit) is counts


def test_a_token_names_its_decision() -> None:
    """The one that the proposition carries, and only where it can be true."""
    key = new_decision_id(NOON)
    edge = edge_proposition_id(key, 1)

    assert hinted_decision(PropositionReport(edge, hint=f"{key}.1")) == key
    assert hinted_decision(PropositionReport(key, hint=f"{key}.0")) == key
    for false in (
        f"{key}.0",
        f"{key}.x",
        f"{key}",
        "",
        "x.1",
        f"{new_decision_id(NOON)}.1",
        f"{key}.²",
    ):
        assert hinted_decision(PropositionReport(edge, hint=false)) is None
    assert hinted_decision(PropositionReport(edge)) is None
    assert hinted_decision(PropositionReport(edge, tokens=("x", f"{key}.1.0"))) == key
    for foreign in (f"{key}.0.0", f"{key}.1", f"{key}.1.0.0", f"{key}.1.-1", "x.1.0", f"{new_decision_id(NOON)}.1.0"):
        assert hinted_decision(PropositionReport(edge, tokens=(foreign,))) is None
