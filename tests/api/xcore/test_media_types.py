"""Which schema a write is of, as real clients say it, and in which form an answer comes."""

from typing import Any

import pytest

from api.xcore.library import BARE, DECISION, HAL, KINDS, documents, library, listed
from support.server import NAMESPACE, XCORE, server

TAG = f"{NAMESPACE}tag"
CREATES = [
    f'{BARE}; version=1;  schema="{TAG};version=0.1"',
    f"{BARE}; version=1; schema='{TAG};version=0.1'",
    f"{BARE}; version=1; schema={TAG};version=0.1",
    f"{BARE}; schema={TAG}",
    f'{BARE};schema="{TAG}"',
    f'{BARE};version=1;schema="{TAG};version=0.0"',
    f'{BARE};version=1;schema="{TAG};version=17.4"',
    f'Content-Type: {BARE}; version=1; schema="{TAG};version=0.1"',
    f'{HAL}; schema="{TAG}"',
    f'{HAL}; version=1; schema="{TAG};version=0.1"',
    f'application/json; schema="{TAG}"',
    f'application/json;charset=utf-8; schema="{TAG};version=0.1"',
    f'{BARE.upper()}; SCHEMA="{TAG}"',
    f'{BARE}; schema="{TAG};version=0.1 https://ns.adobe.com/experience/xcore/container"',
    f'{BARE}; schema="{TAG};version=0.1 {TAG}"',
]


@pytest.mark.parametrize("media", CREATES)
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_the_schema_is_read_however_it_is_written(media: str, wrapped: bool) -> None:
    """Quoted in any way or not, with any version or none, under any media type; the body bare or in `_instance`."""
    document: dict[str, Any] = {"xdm:name": "winter"}
    body = {"_instance": document, "_links": {}} if wrapped else document
    with server() as client:
        answer = client.post(f"{XCORE}/instances", json=body, headers={"Content-Type": media})

        assert answer.status_code == 201, answer.text
        found = client.get(f"{XCORE}/instances/{answer.json()['instanceId']}").json()
    assert found["_instance"]["xdm:name"] == "winter"
    assert "_links" not in found["_instance"]
    assert found["schemas"] == [f"{TAG};version=0.1"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tag"])
@pytest.mark.parametrize("media", ["application/json", "text/plain", ""])
def test_the_body_gives_its_kind_away(kind: str, media: str) -> None:
    """Where no schema is named, the members of the body tell the kind."""
    document = {**documents()[kind]}
    del document["@id"]
    with library() as (client, _):
        answer = client.post(f"{XCORE}/instances", json=document, headers={"Content-Type": media})

    assert answer.status_code == 201, answer.text
    assert answer.json()["@id"].startswith(f"xcore:{kind}:")


def test_an_id_gives_the_kind_away() -> None:
    """An `@id` names its kind, which is the only telltale a tag can have."""
    with server() as client:
        answer = client.post(f"{XCORE}/instances", json={"@id": "dps:tag:9", "xdm:name": "a"})

    assert answer.status_code == 201


REFUSED = [
    ("application/json", "schema-missing", "schema="),
    (f"{BARE}; version=1", "schema-missing", "schema="),
    (f'{BARE}; schema=""', "schema-missing", "schema="),
    (f'{BARE}; schema="{NAMESPACE}sandwich;version=0.1"', "unknown-schema", "offer-activity"),
    (f'{BARE}; schema="https://example.com/tag"', "unknown-schema", "offer-activity"),
    (f'{BARE}; schema="{TAG} {NAMESPACE}offer-filter"', "unknown-schema", "offer-activity"),
]


@pytest.mark.parametrize(("media", "code", "help_"), REFUSED)
def test_a_schema_nobody_serves_is_415_with_help(media: str, code: str, help_: str) -> None:
    """No schema and no telltale, a schema of nobody's, or two kinds at once: refused, saying what to send."""
    with server() as client:
        answer = client.post(f"{XCORE}/instances", json={"xdm:name": "a"}, headers={"Content-Type": media})

    assert (answer.status_code, answer.json()["code"]) == (415, code)
    assert help_ in answer.json()["detail"]


SCHEMAS = [
    ("offer-activity", "offer-activity;version=0.5"),
    ("offer-activity;version=0.1", "offer-activity;version=0.1"),
    ("offer-activity%3Bversion%3D0.5", "offer-activity;version=0.5"),
    ("offer-activity;version=9", "offer-activity;version=9"),
    ("offer-activity;version=0.5&schema=x", None),
    ("offer-filter;version=0.1", "offer-filter;version=0.1"),
    ("fallback-offer;version=0.1", "fallback-offer;version=0.1"),
]


@pytest.mark.parametrize(("sent", "echoed"), SCHEMAS)
def test_a_version_in_a_query_never_filters(sent: str, echoed: str | None) -> None:
    """Any version or none finds the objects of the kind; the answer repeats the name sent, versioned."""
    with library() as (client, _):
        answer = listed(client, sent)

    if echoed is None:
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown-schema")
        return
    page = answer.json()
    assert page["schemaNs"] == f"{NAMESPACE}{echoed}"
    (result,) = page["_embedded"]["results"]
    kind = sent.partition(";")[0].partition("%")[0]
    stamped = {"offer-activity": "0.5", "offer-filter": "0.3", "fallback-offer": "0.5"}[kind]
    assert result["schemas"] == [f"{NAMESPACE}{kind};version={stamped}"]
    assert result["_links"]["self"]["@type"] == result["schemas"][0]


def test_a_query_without_schema_is_refused() -> None:
    """A list has to say of what."""
    with server() as client:
        for query in ("", "?schema=", "?limit=1"):
            answer = client.get(f"{XCORE}/instances{query}")
            assert (answer.status_code, answer.json()["code"]) == (400, "schema-missing")


ACCEPTS = [
    (None, HAL),
    ("*/*", HAL),
    ("*, application/vnd.adobe.platform.xcore.hal+json; schema='x'", HAL),
    ("*,application/json", "application/json"),
    ("application/json, application/problem+json", "application/json"),
    ("text/csv", HAL),
    (";;;,,\u00e9", HAL),
    (f'{BARE}; schema="x"', BARE),
    (f"{HAL}, {BARE}", HAL),
    (f"{BARE}, {HAL}", BARE),
    (f"{HAL}, application/json", HAL),
]


@pytest.mark.parametrize(("accept", "type_"), ACCEPTS)
def test_any_accept_header_is_answered(accept: str | None, type_: str) -> None:
    """Nobody is refused for what they accept; who knows only JSON gets it under that name."""
    with library() as (client, ids):
        del client.headers["accept"]
        headers = {b"Content-Type": b"what/ever; schema=1"}
        if accept is not None:
            headers[b"Accept"] = accept.encode("latin-1")
        answer = client.get(f"{XCORE}/instances/{ids['offer-activity']}", headers=headers)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == type_
    body = answer.json()
    assert (body if type_ == BARE else body["_instance"])["@id"] == DECISION


def test_a_receipt_keeps_its_name_for_who_asks_for_it() -> None:
    """The receipt's media type wins over plain JSON where both are accepted."""
    receipt = "application/vnd.adobe.platform.xcore.xdm.receipt+json"
    media = {"Content-Type": f'{BARE}; schema="{TAG}"'}
    with server() as client:
        for accept, type_ in (
            (f"{receipt}; version=1, application/json", f"{receipt}; version=1"),
            ("application/json", "application/json"),
        ):
            answer = client.post(
                f"{XCORE}/instances",
                json={"xdm:name": accept},
                headers={**media, "Accept": accept},
            )
            assert answer.headers["content-type"] == type_
