"""The law of one library, two surfaces: through whichever an object came and was changed, it is the same."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.dps.library import ODS, path
from proffer.model.ids import EntityKind, kind_of
from proffer.service.library.load import SECTIONS
from proffer.testing.builders import NOON
from proffer.testing.strategies import ODDNESS, SEEDS, Dice, a_random_library, some_profile
from proffer.wire.dps import ENVELOPE_MEMBERS, RENAMING_BY_KIND
from proffer.wire.renaming import to_public, to_stored
from support.server import NAMESPACE, ODE, XCORE, server

ORDER = list(SECTIONS.values())
Document = Mapping[str, Any]


def at_noon() -> int:
    return NOON


class Repository:
    """The repository API, as a client of it that thinks in the other's documents."""

    @staticmethod
    def create(client: TestClient, kind: EntityKind, document: Document) -> Any:
        media = f'application/schema-instance+json; schema="{NAMESPACE}{kind}"'
        body = to_stored(RENAMING_BY_KIND[kind], document)
        return client.post(f"{XCORE}/instances", json=body, headers={"Content-Type": media})

    @staticmethod
    def found(client: TestClient, kind: EntityKind, entity_id: str) -> Any:
        asked = {"schema": f"{NAMESPACE}{kind}", "id": entity_id}
        results = client.get(f"{XCORE}/instances", params=asked).json()["_embedded"]["results"]
        return results[0] if results else None

    @classmethod
    def read(cls, client: TestClient, kind: EntityKind, entity_id: str) -> Any:
        one = cls.found(client, kind, entity_id)
        return one and to_public(RENAMING_BY_KIND[kind], one["_instance"])

    @classmethod
    def put(cls, client: TestClient, kind: EntityKind, entity_id: str, name: str, value: Any) -> Any:
        one = cls.found(client, kind, entity_id)
        (member, inside) = next(iter(to_stored(RENAMING_BY_KIND[kind], {name: value}).items()))
        patch = [{"op": "add", "path": f"/_instance/{member}", "value": inside}]
        return client.patch(f"{XCORE}/instances/{one['instanceId']}", json=patch)


class OfferLibrary:
    """The Offer Library API."""

    @staticmethod
    def create(client: TestClient, kind: EntityKind, document: Document) -> Any:
        return client.post(path(kind), json=document)

    @staticmethod
    def read(client: TestClient, kind: EntityKind, entity_id: str) -> Any:
        answer = client.get(path(kind, entity_id))
        if answer.status_code == 404:
            return None
        return {name: one for name, one in answer.json().items() if name not in ENVELOPE_MEMBERS}

    @staticmethod
    def put(client: TestClient, kind: EntityKind, entity_id: str, name: str, value: Any) -> Any:
        patch = [{"op": "replace", "path": f"/{name}", "value": value}]
        return client.patch(path(kind, entity_id), json=patch)


def outcome(answer: Any) -> Any:
    """What an answer to a write says, whichever surface says it."""
    if answer.status_code < 300:
        return answer.json().get("etag", answer.json().get("repo:etag"))
    report = answer.json().get("report", {})
    return sorted(one["code"] for one in report.get("violations", ())) or answer.json()["code"]


def decisions(client: TestClient, where: str, documents: Sequence[Document], profile: Any) -> Any:
    """The answers for every scope of every decision, without what differs from call to call."""
    placements = [one["@id"] for one in documents if kind_of(one["@id"]) is EntityKind.PLACEMENT]
    found = [one["@id"] for one in documents if kind_of(one["@id"]) is EntityKind.DECISION]
    scopes = [
        {"xdm:activityId": one, "xdm:placementId": placement, "xdm:itemCount": 30}
        for one in found
        for placement in placements
    ][:3]
    if not scopes:
        return None
    body = {
        "xdm:propositionRequests": scopes,
        "xdm:profiles": [{"xdm:identityMap": {}, "xdm:attributes": profile}],
        "xdm:responseFormat": {"xdm:includeContent": True},
        "xdm:allowDuplicatePropositions": {"xdm:acrossPlacements": False},
        "xdm:dryRun": True,  # so that no answer uses up the caps of the next
    }
    answer = client.post(f"{where}?partial=true", json=body)
    assert answer.status_code in {200, 207}, answer.text
    return [
        (
            {one["xdm:id"] for one in proposition.get("xdm:options", ())},
            proposition.get("xdm:fallback"),
        )
        for proposition in answer.json()["xdm:propositions"]
    ]


@settings(max_examples=10)
@given(seed=SEEDS, odd=ODDNESS, choices=st.integers(0, 2**32))
@example(seed=0, odd=1, choices=0)
def test_it_does_not_matter_through_which_surface(seed: int, odd: int, choices: int) -> None:
    """Random objects created, read and patched on one surface, and on random ones: the same at every step."""
    toss = random.Random(choices)  # noqa: S311 - dice, not secrets
    documents = [one for one in a_random_library(seed, odd, 8, 3) if kind_of(one["@id"]) in ORDER]
    documents.sort(key=lambda one: ORDER.index(kind_of(one["@id"]) or EntityKind.TAG))
    surfaces: list[Any] = [Repository, OfferLibrary]
    with server(clock=at_noon) as one, server(clock=at_noon) as other:
        for document in documents:
            kind = kind_of(document["@id"])
            assert kind is not None
            said = to_public(RENAMING_BY_KIND[kind], document)
            made = outcome(Repository.create(one, kind, said))
            assert outcome(toss.choice(surfaces).create(other, kind, said)) == made
        for document in toss.sample(documents, min(6, len(documents))):
            kind = kind_of(document["@id"])
            assert kind is not None
            if Repository.read(one, kind, document["@id"]) is None:
                continue
            member = toss.choice(["name", "_acme", "description", "status", "rank", "tags"])
            value = toss.choice(["approved", {"priority": 7}, [], {"xdm:x": 1}, "live", "draft"])
            done = outcome(Repository.put(one, kind, document["@id"], member, value))
            surface = toss.choice(surfaces)
            assert outcome(surface.put(other, kind, document["@id"], member, value)) == done
        for document in documents:
            kind = kind_of(document["@id"])
            assert kind is not None
            reads = [surface.read(client, kind, document["@id"]) for client in (one, other) for surface in surfaces]
            assert reads == [reads[0]] * 4
            kept = [Repository.found(client, kind, document["@id"]) for client in (one, other)]
            assert (kept[0] and kept[0]["_instance"]) == (kept[1] and kept[1]["_instance"])
        profile = some_profile(Dice(choices, odd))
        answers = [
            decisions(client, where, documents, profile)
            for client in (one, other)
            for where in (f"{ODE}/decisions", ODS)
        ]
        assert answers == [answers[0]] * 4
