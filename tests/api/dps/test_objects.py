"""The Offer Library API, one object at a time: create, look up, patch, delete (spec 3.1, 3.3, 3.4)."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.dps.library import (
    COLLECTION,
    DECISION,
    DPS,
    FALLBACK,
    OFFER,
    PLACEMENT,
    TAG,
    at,
    documents,
    fill,
    path,
)
from support.server import XCORE, server

RECEIPT = {
    "etag",
    "id",
    "sandboxId",
    "createdBy",
    "lastModifiedBy",
    "createdDate",
    "lastModifiedDate",
    "createdByClientId",
    "lastModifiedByClientId",
}
ENVELOPE = {"created", "modified", "etag", "schemas", "createdBy", "lastModifiedBy"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client


def violations(answer: Any) -> dict[str, str]:
    """Codes by JSON path."""
    return {one.get("path"): one["code"] for one in answer.json()["report"]["violations"]}


@pytest.mark.parametrize("document", documents(), ids=lambda one: one["name"])
def test_what_was_created_is_read_as_it_was_written(client: TestClient, document: dict[str, Any]) -> None:
    """Every documented member comes back under its name, beside the six of the envelope."""
    answer = client.get(at(document["id"]))

    assert answer.status_code == 200
    assert answer.headers["etag"] == '"1"'
    read = answer.json()
    assert read.keys() == ENVELOPE | document.keys()
    expected = dict(document)
    if document["id"] == OFFER:  # understood in both spellings, shown in the documented one
        selection = expected["selectionConstraint"]
        expected["selectionConstraint"] = {**selection, "profileConstraintType": "eligibilityRule"}
        (cap,) = expected["frequencyCappingConstraints"]
        expected["frequencyCappingConstraints"] = [{**cap, "index": 1}]  # assigned (R46)
    assert {name: read[name] for name in document} == expected


def test_a_receipt_has_its_own_names(client: TestClient) -> None:
    """201 with Location; nine members, and an id that begins with `dps:`."""
    answer = client.post(f"{DPS}/tags", json={"name": "new"})

    assert answer.status_code == 201
    receipt = answer.json()
    assert receipt.keys() == RECEIPT
    assert receipt["etag"] == 1
    assert receipt["id"].startswith("dps:tag:")
    assert receipt["createdDate"].endswith("Z")
    assert answer.headers["location"].endswith(f"/data/core/dps/tags/{receipt['id']}")
    assert client.get(answer.headers["location"]).status_code == 200


def test_both_spellings_of_an_id_name_one_object(client: TestClient) -> None:
    """In paths and in bodies; each is given back as it was stored."""
    spelled = PLACEMENT.replace("dps:", "xcore:")
    assert client.get(at(spelled)).json()["id"] == PLACEMENT
    patch = [{"op": "replace", "path": "/representations/0/placement", "value": spelled}]
    assert client.patch(at(OFFER), json=patch).status_code == 200
    assert client.get(at(OFFER)).json()["representations"][0]["placement"] == spelled
    assert client.delete(at(PLACEMENT)).status_code == 409
    taken = client.post(f"{DPS}/placements", json={**documents()[0], "id": spelled})
    assert taken.status_code == 409


def test_an_object_of_the_repository_keeps_its_id(client: TestClient) -> None:
    """Born in the repository it is `xcore:` on both surfaces, and a tag by any name is one tag."""
    media = 'application/schema-instance+json; schema="https://ns.adobe.com/experience/offer-management/tag"'
    made = client.post(f"{XCORE}/instances", json={"xdm:name": "old"}, headers={"Content-Type": media}).json()
    read = client.get(f"{DPS}/tags/{made['@id'].replace('xcore:', 'dps:')}").json()

    assert read["id"] == made["@id"]
    assert read["name"] == "old"
    assert client.post(f"{DPS}/tags", json={"name": "old"}).status_code == 409


def test_a_patch_is_of_the_object_itself(client: TestClient) -> None:
    """Paths begin at its members; the receipt has the next etag; all six operations are there."""
    operations = [
        {"op": "test", "path": "/criteria/0/rank/priority", "value": 1},
        {"op": "replace", "path": "/criteria/0/rank/priority", "value": 5},
        {"op": "add", "path": "/criteria/-", "value": {}},
        {"op": "copy", "from": "/criteria/0", "path": "/criteria/1"},
        {"op": "remove", "path": "/criteria/2"},
        {"op": "replace", "path": "/criteria/1/rank/order/orderEvaluationType", "value": "static"},
        {"op": "test", "path": "/etag", "value": 1},
    ]
    answer = client.patch(at(DECISION), json=operations)

    assert answer.status_code == 200, answer.text
    assert answer.json()["etag"] == 2
    criteria = client.get(at(DECISION)).json()["criteria"]
    assert [one["rank"]["priority"] for one in criteria] == [5, 5]


def test_replacing_what_is_missing_adds_it(client: TestClient) -> None:
    """As documented samples do with `/description` (R37); inside the repository it stays an error."""
    patch = [{"op": "replace", "path": "/description", "value": "said"}]

    assert client.patch(at(COLLECTION), json=patch).status_code == 200
    assert client.get(at(COLLECTION)).json()["description"] == "said"


@pytest.mark.parametrize(
    ("operation", "where"),
    [
        ({"op": "replace", "path": "/id", "value": "dps:tag:99"}, "$.id"),
        ({"op": "replace", "path": "/id", "value": "dps:offer-placement:b1"}, "$.id"),
        ({"op": "replace", "path": "/etag", "value": 7}, "$.etag"),
        ({"op": "replace", "path": "/schemas/0", "value": "x"}, "$.schemas"),
        ({"op": "remove", "path": "/created"}, "$.created"),
        ({"op": "remove", "path": "/name"}, "$.name"),
        ({"op": "remove", "path": "/nothing"}, "$[0].path"),
        ({"op": "test", "path": "/name", "value": "other"}, "$[0].path"),
    ],
)
def test_what_a_patch_may_not_do(client: TestClient, operation: Any, where: str) -> None:
    """Change the kind, the id or what is the server's, or leave the object invalid: 422, and nothing is stored."""
    answer = client.patch(at(TAG), json=[operation])

    assert answer.status_code == 422
    assert where in violations(answer)
    assert client.get(at(TAG)).json()["etag"] == 1


def test_delete_answers_with_nothing(client: TestClient) -> None:
    """200 and an empty body; then it is not there any more."""
    answer = client.delete(at(DECISION))

    assert (answer.status_code, answer.content) == (200, b"")
    assert client.get(at(DECISION)).status_code == 404
    assert client.delete(at(DECISION)).status_code == 404


def test_what_is_referred_to_stays(client: TestClient) -> None:
    """409, and the referrers are named as this surface names things (R9)."""
    answer = client.delete(at(TAG))

    assert answer.status_code == 409
    assert {"id": OFFER, "name": "Fibre 500 upgrade"} in answer.json()["report"]["referrers"]


def test_a_stale_etag_is_refused(client: TestClient) -> None:
    """412 on this surface (R1), for PATCH and DELETE."""
    stale = {"If-Match": '"7"'}
    patch = [{"op": "replace", "path": "/name", "value": "x"}]

    assert client.patch(at(DECISION), json=patch, headers=stale).status_code == 412
    assert client.delete(at(DECISION), headers=stale).status_code == 412
    assert client.delete(at(DECISION), headers={"If-Match": '"1"'}).status_code == 200


@pytest.mark.parametrize("query", ["", "?offer-type=", "?offer-type=any", "?offer_type=fallback"])
def test_offers_need_their_type(client: TestClient, query: str) -> None:
    """Missing or wrong, it is 400 on every verb."""
    assert client.get(f"{DPS}/offers{query}").status_code == 400
    assert client.post(f"{DPS}/offers{query}", json={}).status_code == 400
    assert client.get(f"{DPS}/offers/{OFFER}{query}").status_code == 400
    assert client.patch(f"{DPS}/offers/{OFFER}{query}", json=[]).status_code == 400
    assert client.delete(f"{DPS}/offers/{OFFER}{query}").status_code == 400


def test_the_offer_type_must_be_the_offers_own(client: TestClient) -> None:
    """Letter case does not matter; a personalized offer is no fallback offer, and the detail says so."""
    assert client.get(f"{DPS}/offers/{OFFER}?offer-type=PERSONALIZED").status_code == 200
    wrong = client.get(f"{DPS}/offers/{OFFER}?offer-type=fallback")
    assert wrong.status_code == 404
    assert "is a personalized offer" in wrong.json()["detail"]
    assert client.delete(f"{DPS}/offers/{FALLBACK}?offer-type=personalized").status_code == 404
    named = client.post(
        f"{DPS}/offers?offer-type=fallback",
        json={"id": OFFER, "name": "x", "status": "draft", "representations": []},
    )
    assert violations(named)["$.id"] == "kind"


def test_mistakes_are_named_as_they_were_written(client: TestClient) -> None:
    """All at once, with paths, names and values in this surface's spelling."""
    answer = client.post(
        f"{DPS}/offer-decisions",
        json={
            "status": "lively",
            "fallback": "dps:tag:b1",
            "criteria": [
                {
                    "placements": ["dps:offer-placement:77"],
                    "rank": {"order": {"orderEvaluationType": "scoring-function"}},
                    "optionSelection": {},
                }
            ],
        },
    )

    assert answer.status_code == 422
    assert violations(answer) == {
        "$.status": "enum",
        "$.fallback": "kind",
        "$.criteria[0].placements[0]": "unknown-reference",
        "$.criteria[0].rank.order.function": "required",
        "$.criteria[0].optionSelection": "required",
        "$.name": "required",
    }
    assert "xdm:" not in answer.text
    assert "`scoring-function`" in answer.text


def test_members_of_nobody_are_kept(client: TestClient) -> None:
    """At any depth and under their own names, also where they have the name of a documented one (R24)."""
    odd = {"name": "odd", "xdm:name": 1, "_acme": {"xdm:rank": [{}]}, "repo:etag": {"a": None}}
    made = client.post(f"{DPS}/tags", json={**odd, "etag": 99, "schemas": ["x"]}).json()
    read = client.get(f"{DPS}/tags/{made['id']}").json()

    assert {name: read[name] for name in odd} == odd
    assert read["etag"] == 1


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"name": "x"}', "text/plain", 415),
        (b'{"name": "x"}', "application/xml", 415),
        (b'{"name": "\\u0000"}', "application/json", 422),
        (b'{"name": "' + b"x" * 1_000_001 + b'"}', "application/json", 413),
        (b'{"name": "x"}', "application/vnd.acme+json", 201),
    ],
)
def test_bodies_that_are_none(client: TestClient, body: bytes, media: str, status: int) -> None:
    """Malformed, wrong, of another type, too large: each has its status."""
    answer = client.post(f"{DPS}/tags", content=body, headers={"Content-Type": media})

    assert answer.status_code == status


def test_the_token_says_which_sandbox() -> None:
    """Without a token there is nothing; a path that is no collection does not exist; PUT is not served."""
    with server(dev=False) as client:
        assert client.get(f"{DPS}/tags").status_code == 401
    with server() as client:
        assert client.get(f"{DPS}/offer-items").status_code == 404
        assert client.put(f"{DPS}/tags/{TAG}", json={}).status_code == 405
        assert client.get(path("tag", "nonsense")).status_code == 404
