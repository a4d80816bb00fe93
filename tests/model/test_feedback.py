"""Events are read as feedback the same way whichever client sends them; the cases are data."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.errors import Invalid, Violation
from proffer.model.feedback import (
    MAX_REPORTED_ITEMS,
    Feedback,
    FeedbackScope,
    normalize_event,
    read_feedback,
    read_scope,
)
from proffer.model.profile import without_prefixes

CASES = json.loads((Path(__file__).parents[2] / "spec/feedback/events.json").read_text("utf-8"))
DECISION, PLACEMENT = "xcore:offer-activity:a1", "xcore:offer-placement:b2"
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "scope", "items", "scopeDetails", "display", "propositions", "tokens"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
members = st.dictionaries(
    st.sampled_from(["propositions", "proposition", "propositionID", "propositionEventType", "propositionAction"]),
    values,
)


def read(event: Any) -> Feedback | None:
    return read_feedback(normalize_event(without_prefixes(event)), event_id="e1", at_us=0)


def scope(**named: Any) -> str:
    return base64.b64encode(json.dumps(named).encode()).decode()


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_every_case_reads_as_it_says(case: dict[str, Any]) -> None:
    """What happened, to which propositions, scopes and items; or why it cannot be read."""
    expect = case["expect"]
    if expect and "$error" in expect:
        with pytest.raises(Invalid) as refused:
            read(case["event"])
        assert expect["$error"] in [one.path for one in refused.value.violations]
        assert all(one.help for one in refused.value.violations)
        return
    feedback = read(case["event"])
    if expect is None:
        assert feedback is None
        return
    assert feedback is not None
    said = [
        [one.id, one.scope, None if one.items is None else list(one.items), one.hint]
        + ([list(one.tokens)] if one.tokens else [])
        for one in feedback.propositions
    ]
    assert expect == {"kind": feedback.kind, "propositions": said}
    assert feedback.document["_id"] == "e1"


@given(members, st.none() | st.text(max_size=5))
def test_no_members_harm(decisioning: Any, event_type: Any) -> None:
    """Whatever stands under the decisioning members, it is feedback, none, or refused with a place."""
    event = {"eventType": event_type, "_experience": {"decisioning": decisioning}}
    findings: tuple[Violation, ...] = ()
    try:
        read(event)
    except Invalid as refused:
        findings = refused.violations
    assert all(one.path and one.message for one in findings)


def test_mistakes_are_placed_where_the_event_stands() -> None:
    """In a list of events the path begins there."""
    event: dict[str, Any] = {"_experience": {"decisioning": {"propositions": [{"id": 7}]}}}
    with pytest.raises(Invalid) as refused:
        read_feedback(event, event_id="e", at_us=0, at="$.events[3].xdm")

    (finding,) = refused.value.violations
    assert finding.path == "$.events[3].xdm._experience.decisioning.propositions[0].id"


def test_one_event_reports_on_so_many() -> None:
    """More propositions and items than the limit are refused."""
    many = [{"id": f"p{number}"} for number in range(MAX_REPORTED_ITEMS + 1)]
    with pytest.raises(Invalid, match=f"more than {MAX_REPORTED_ITEMS:,}"):
        read({"_experience": {"decisioning": {"propositions": many}}})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (scope(activityId=DECISION, placementId=PLACEMENT, itemCount=2), (DECISION, PLACEMENT)),
        (
            scope(**{"xdm:activityId": DECISION, "xdm:placementId": PLACEMENT}),
            (DECISION, PLACEMENT),
        ),
        (scope(activityId="dps:offer-activity:a1"), (DECISION, None)),
        (scope(activityId=DECISION).rstrip("="), (DECISION, None)),
        (f"{DECISION}/{PLACEMENT}", (DECISION, PLACEMENT)),
        ("dps:offer-activity:a1/", (DECISION, None)),
        (scope(other=1), (None, None)),
        ("hero", None),
        ("web://shop/page#top", None),
        (base64.b64encode(b"[1]").decode(), None),
        ("", None),
    ],
)
def test_a_scope_text_names_a_decision_and_a_placement(text: str, named: Any) -> None:
    """In any spelling; a text that is none names nothing."""
    assert read_scope(text) == (None if named is None else FeedbackScope(*named))
