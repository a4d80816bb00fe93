"""Whatever is sent: no 5xx, every refusal is a problem document, and what is refused has changed nothing."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.ode.library import (
    CARD,
    CONTEXT,
    FOR_ALL,
    HERO,
    HOME,
    LIBRARY,
    SHOP,
    asked,
    asked_09,
    fill,
)
from fuzz.mutations import bodies, headers, queries, segments
from fuzz.promises import check_promises
from proffer.app import DEV_CONTAINER
from proffer.config import Settings
from proffer.model.instance import Instance
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from support.server import NAMESPACE, ODE, XCORE, server

DOCUMENTS = [document for _, document in LIBRARY]
IDS = [str(one["@id"]) for one in DOCUMENTS]
FREE = [{k: v for k, v in one.items() if k != "@id"} for one in DOCUMENTS]
REQUESTS = [
    asked(
        (HOME, HERO, 2),
        (SHOP, HERO),
        profile={
            "xdm:attributes": {"person": {"age": 30}, "preferredLanguage": "de"},
            "xdm:contextData": [{"@type": CONTEXT, "xdm:data": {"xdm:weather": "hot"}}],
            "xdm:decisionRequestId": "r",
        },
        allowDuplicatePropositions={"xdm:acrossActivities": True, "xdm:acrossPlacements": False},
        responseFormat={
            "xdm:includeContent": True,
            "xdm:includeMetadata": {"xdm:activity": ["name"], "xdm:option": ["name"]},
        },
        dryRun=False,
    ),
    asked_09(HOME, SHOP, contextData=[{"@type": CONTEXT, "xdm:data": {}}], dryRun=True),
]
PATCHES = [
    [
        {"op": "replace", "path": "/_instance/xdm:name", "value": "New"},
        {"op": "test", "path": "/_instance/xdm:rank/xdm:priority", "value": 30},
    ],
    [
        {"op": "add", "path": "/_instance/xdm:tags/-", "value": "xcore:tag:c1"},
        {"op": "remove", "path": "/_instance/xdm:tags/0"},
        {"op": "copy", "from": "/_instance/xdm:name", "path": "/_instance/x~1y"},
        {"op": "move", "from": "/_instance/x~1y", "path": "/_instance/z"},
    ],
]
REPORTS = [
    {
        "events": [
            {
                "id": "e1",
                "type": "display",
                "propositionId": "01978a4b-7c2e-7d10-9a43-5d1f0c6b2e11",
                "scope": f"{HOME}/{HERO}",
                "items": ["xcore:personalized-offer:1"],
                "at": "2026-01-01T12:00:00Z",
                "data": {"_acme": {"things": [{"statusCd": "1"}]}},
            },
            {"id": "e2", "type": "shop.bought", "propositionId": "p"},
        ]
    },
]
_DECISIONING = "https://ns.adobe.com/experience/decisioning/"
MESSAGES = [
    {
        "header": {"schemaRef": {"id": "https://ns.adobe.com/xdm/context/experienceevent"}},
        "body": {
            "xdmMeta": {"schemaRef": {"id": "https://ns.adobe.com/xdm/context/experienceevent"}},
            "xdmEntity": entity,
        },
    }
    for entity in (
        {
            "_id": "e3",
            "timestamp": "2026-01-01T12:00:00Z",
            "eventType": "decisioning.propositionInteract",
            "identityMap": {"Email": [{"id": "ann@x"}]},
            "_experience": {
                "decisioning": {
                    "propositions": [
                        {
                            "id": "p",
                            "scope": "s",
                            "scopeDetails": {"characteristics": {"eventToken": "t.0"}},
                            "items": [{"id": "xcore:personalized-offer:1"}],
                        }
                    ],
                    "propositionEventType": {"interact": 1},
                    "propositionID": "p",
                }
            },
        },
        {
            "@id": "e4",
            "xdm:timestamp": "2026-01-01T12:00:00Z",
            f"{_DECISIONING}propositions": [{"xdm:id": "p", "xdm:items": [{"xdm:id": "xcore:personalized-offer:1"}]}],
            f"{_DECISIONING}propositionEventType": {"xdm:display": 1},
        },
    )
]
MEDIA = [
    *(f'application/schema-instance+json; schema="{NAMESPACE}{kind}"' for kind, _ in LIBRARY[::3]),
    "application/json",
    "application/vnd.adobe.platform.xcore.hal+json",
]
BOUNDED = settings(max_examples=80, suppress_health_check=list(HealthCheck))


class Fuzzed:
    """A server with a library, and the store behind it to look into."""

    def __init__(self, client: TestClient, store: MemoryStore) -> None:
        self.client = client
        self._store = store

    def library(self) -> tuple[int, list[Instance]]:
        """The revision, and every object there is."""
        revision, live = asyncio.run(self._store.live(DEV_CONTAINER))
        return revision, list(live)

    def object(self, entity_id: str) -> Instance:
        return next(one for one in self.library()[1] if one.id == entity_id)

    def send(self, method: str, path: str, **options: Any) -> int:
        """Send; hold the answer to its promises, and the library to its state if this was refused."""
        before = self.library()
        answer = self.client.request(method, path, **options)
        check_promises(answer.status_code, answer.headers, answer.content, method)
        if answer.status_code >= 400:
            assert self.library() == before
        return answer.status_code

    def still_decides(self) -> None:
        """Whatever was let into the library, a decision is answered, or its scopes are not found."""
        answer = self.client.post(
            f"{ODE}/decisions?explain=true&partial=true",
            json=asked(
                (HOME, HERO, 5),
                (HOME, CARD),
                (SHOP, HERO),
                profile={"xdm:attributes": {"person": {"age": 30}}},
                responseFormat={
                    "xdm:includeContent": True,
                    "xdm:includeMetadata": {
                        "xdm:option": ["name", "characteristics", "priority"],
                        "xdm:placement": ["name", "channel", "componentType"],
                    },
                },
            ),
        )
        assert answer.status_code in {200, 207}, answer.text
        for one in answer.json()["xdm:propositions"]:
            assert ("xdm:options" in one) != ("xdm:fallback" in one)
        for path in (f"/offers?activityId={HOME}", "/diagnostics"):
            looked = self.client.get(ODE + path)
            assert looked.status_code < 500, looked.text


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    store = MemoryStore()

    async def opening(_: Settings) -> Store:
        return store

    with server(opening=opening) as client:
        fill(client)
        yield Fuzzed(client, store)


@BOUNDED
@given(body=bodies(DOCUMENTS + FREE), media=st.sampled_from(MEDIA))
def test_creating(fuzzed: Fuzzed, body: bytes, media: str) -> None:
    """POST of a mutated object; one that is let in does no harm."""
    known = {one.instance_id for one in fuzzed.library()[1]}
    status = fuzzed.send("POST", f"{XCORE}/instances", content=body, headers={"Content-Type": media})
    if status < 400:
        fuzzed.still_decides()
        (made,) = (one for one in fuzzed.library()[1] if one.instance_id not in known)
        path = f"{XCORE}/instances/{made.instance_id}"
        assert fuzzed.client.get(path).json()["_instance"] == made.document
        assert fuzzed.send("DELETE", path) == 202


@BOUNDED
@given(data=st.data(), document=st.sampled_from(DOCUMENTS))
def test_replacing(fuzzed: Fuzzed, data: st.DataObject, document: dict[str, Any]) -> None:
    """PUT of a mutated object over the one it was made of."""
    body = data.draw(bodies([document]), label="body")
    before = fuzzed.object(document["@id"])
    path = f"{XCORE}/instances/{before.instance_id}"
    if fuzzed.send("PUT", path, content=body) < 400:
        fuzzed.still_decides()
        assert fuzzed.send("PUT", path, json=before.document) == 200


@BOUNDED
@given(body=bodies(PATCHES), entity_id=st.sampled_from([FOR_ALL, *IDS]))
def test_patching(fuzzed: Fuzzed, body: bytes, entity_id: str) -> None:
    """PATCH by mutated operations."""
    before = fuzzed.object(entity_id)
    path = f"{XCORE}/instances/{before.instance_id}"
    if fuzzed.send("PATCH", path, content=body) < 400:
        fuzzed.still_decides()
        assert fuzzed.send("PUT", path, json=before.document) == 200


@BOUNDED
@given(body=bodies(REQUESTS), query=st.sampled_from(["", "?explain=true", "?partial=true"]))
def test_deciding(fuzzed: Fuzzed, body: bytes, query: str) -> None:
    """Mutated requests of both versions."""
    fuzzed.send("POST", f"{ODE}/decisions{query}", content=body)


@BOUNDED
@given(
    body=st.binary(max_size=200),
    path=st.sampled_from([f"{XCORE}/instances", f"{ODE}/decisions"]),
    given=headers,
)
def test_random_bytes(fuzzed: Fuzzed, body: bytes, path: str, given: dict[str, bytes]) -> None:
    """Bytes that are no JSON, under any headers."""
    fuzzed.send("POST", path, content=body, headers=given)


@BOUNDED
@given(
    entity_id=st.sampled_from(IDS),
    given=headers,
    what=st.sampled_from(["get", "put", "patch", "delete", "decide", "list"]),
)
def test_random_headers(fuzzed: Fuzzed, entity_id: str, given: dict[str, bytes], what: str) -> None:
    """Good requests under any headers; none of them reaches the inside of the server."""
    before = fuzzed.object(entity_id)
    path = f"{XCORE}/instances/{before.instance_id}"
    match what:
        case "get":
            fuzzed.send("GET", path, headers=given)
        case "put":
            fuzzed.send("PUT", path, json=before.document, headers=given)
        case "patch":
            fuzzed.send("PATCH", path, json=[], headers=given)
        case "delete":
            given |= {"if-match": b'"0"'}
            fuzzed.send("DELETE", path, headers=given)
        case "decide":
            fuzzed.send("POST", f"{ODE}/decisions", json=REQUESTS[0], headers=given)
        case _:
            schema = f"?schema={NAMESPACE}tag"
            fuzzed.send("GET", f"{XCORE}/instances{schema}", headers=given)


@BOUNDED
@given(
    query=queries,
    path=st.sampled_from(
        [
            "/data/core/xcore/",
            f"{XCORE}/instances",
            f"{XCORE}/queries/core/search",
            f"{XCORE}/instances?schema={NAMESPACE}personalized-offer",
            f"{ODE}/offers",
            f"{ODE}/diagnostics",
            "/openapi.json",
        ]
    ),
)
def test_random_queries(fuzzed: Fuzzed, query: str, path: str) -> None:
    """Any query string, where it is read and where it is not."""
    fuzzed.send("GET", f"{path}{'&' if '?' in path else '?'}{query}")
    if path == f"{ODE}/diagnostics":
        fuzzed.send("POST", f"{ODE}/decisions?{query}", json=REQUESTS[0])


@BOUNDED
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]),
    parts=st.lists(segments, max_size=5),
    base=st.sampled_from(["", "/data/core", "/data/core/xcore", XCORE, f"{XCORE}/instances", ODE]),
)
def test_random_addresses(fuzzed: Fuzzed, method: str, parts: list[str], base: str) -> None:
    """Any method at any address."""
    path = "/".join([base, *parts])
    if path.startswith("/") and not path.startswith("//"):
        fuzzed.send(method, path)


def test_the_lists_show_what_the_store_holds(fuzzed: Fuzzed) -> None:
    """After all that, what the API lists is what is there."""
    listed: dict[str, Any] = {}
    for kind in {kind for kind, _ in LIBRARY}:
        page = fuzzed.client.get(f"{XCORE}/instances", params={"schema": NAMESPACE + kind, "limit": "1000"}).json()
        listed |= {one["instanceId"]: one["_instance"] for one in page["_embedded"]["results"]}

    assert listed == {one.instance_id: one.document for one in fuzzed.library()[1]}
    assert json.dumps(sorted(one["@id"] for one in listed.values())) == json.dumps(
        sorted(one["@id"] for one in DOCUMENTS)
    )


@BOUNDED
@given(body=bodies(REPORTS))
def test_reporting_in_short(fuzzed: Fuzzed, body: bytes) -> None:
    """POST of mutated feedback; what is listed of it afterwards can be read."""
    fuzzed.send("POST", "/api/feedback", content=body)
    assert fuzzed.send("GET", "/api/feedback/unattributed?limit=1000") == 200


@BOUNDED
@given(body=bodies(MESSAGES))
def test_reporting_by_events(fuzzed: Fuzzed, body: bytes) -> None:
    """POST of mutated experience events with proposition interactions, in both spellings."""
    fuzzed.send("POST", f"/collection/{DEV_CONTAINER}", content=body)
    assert fuzzed.send("GET", "/api/feedback/unattributed?limit=1000") == 200
