"""Create libraries and request decisions over the API of a server, for tests."""

from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient

from proffer.model.ids import EntityKind, kind_of
from proffer.service.library.load import SECTIONS
from proffer.testing import builders as b
from support.server import ODE, create

_ORDER = list(SECTIONS.values())


def a_library(client: TestClient, *documents: Mapping[str, Any]) -> None:
    """Create these documents and the others that a decision needs (`builders.a_library`)."""
    library = b.a_library(*documents)
    for document in sorted(
        library,
        key=lambda library_document: _ORDER.index(kind_of(library_document["@id"]) or _ORDER[0]),
    ):
        create(client, str(kind_of(document["@id"])), document)


def always(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the offer with dates that include any time."""
    selection = {
        **document["xdm:selectionConstraint"],
        "xdm:startDate": "2026-01-01T00:00:00Z",
        "xdm:endDate": "2090-01-01T00:00:00Z",
    }
    return {**document, "xdm:selectionConstraint": selection}


def ask(client: TestClient, *scopes: tuple[str, str], email: str = "ann@x", **members: Any) -> dict[str, Any]:
    """Request a decision for scopes of (decision, placement) names; default: those of `a_library`."""
    answer = client.post(
        f"{ODE}/decisions",
        json={
            "xdm:propositionRequests": [
                {
                    "xdm:activityId": b.id_of(EntityKind.DECISION, decision),
                    "xdm:placementId": b.id_of(EntityKind.PLACEMENT, placement),
                }
                for decision, placement in scopes or (("decision", "web"),)
            ],
            "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": email}]}}],
            **members,
        },
    )
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def proposition(answer: Mapping[str, Any]) -> str:
    return str(answer["xdm:propositionId"])


def offer_ids(answer: Mapping[str, Any]) -> list[str]:
    """Return the ids of the offers, or of the fallback offer, in order."""
    return [
        option["@id"] if "@id" in option else option["xdm:id"]
        for scope_answer in answer["xdm:propositions"]
        for option in scope_answer.get("xdm:options") or [scope_answer["xdm:fallback"]]
    ]
