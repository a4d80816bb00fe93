"""Libraries and decisions for tests of what comes after them: created and asked over the API of a server."""

from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient

from proffer.model.ids import EntityKind, kind_of
from proffer.service.library.load import SECTIONS
from proffer.testing import builders as b
from support.server import ODE, create

_ORDER = list(SECTIONS.values())


def a_library(client: TestClient, *documents: Mapping[str, Any]) -> None:
    """Create these documents and what they lack to make a decision (`builders.a_library`)."""
    made = b.a_library(*documents)
    for document in sorted(made, key=lambda one: _ORDER.index(kind_of(one["@id"]) or _ORDER[0])):
        create(client, str(kind_of(document["@id"])), document)


def always(document: Mapping[str, Any]) -> dict[str, Any]:
    """The offer, in force at any time."""
    selection = {
        **document["xdm:selectionConstraint"],
        "xdm:startDate": "2026-01-01T00:00:00Z",
        "xdm:endDate": "2090-01-01T00:00:00Z",
    }
    return {**document, "xdm:selectionConstraint": selection}


def ask(
    client: TestClient, *scopes: tuple[str, str], who: str = "ann@x", **members: Any
) -> dict[str, Any]:
    """A decision for these scopes, each the names of a decision and a placement (none: that of `a_library`)."""
    answer = client.post(
        f"{ODE}/decisions",
        json={
            "xdm:propositionRequests": [
                {
                    "xdm:activityId": b.the(EntityKind.DECISION, decision),
                    "xdm:placementId": b.the(EntityKind.PLACEMENT, placement),
                }
                for decision, placement in scopes or (("decision", "web"),)
            ],
            "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": who}]}}],
            **members,
        },
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def proposition(answer: Mapping[str, Any]) -> str:
    return str(answer["xdm:propositionId"])


def given(answer: Mapping[str, Any]) -> list[str]:
    """The ids of the offers, or of the fallback, in order."""
    return [
        option["@id"] if "@id" in option else option["xdm:id"]
        for one in answer["xdm:propositions"]
        for option in one.get("xdm:options") or [one["xdm:fallback"]]
    ]
