"""Create, replace, patch and delete: the life of an object of each kind, and what each write answers."""

import re
from typing import Any

import pytest

from api.xcore.library import (
    BASE,
    HAL,
    KINDS,
    codes,
    documents,
    library,
    patch,
    post,
    set_to,
    stored,
)
from proffer.app import DEV_CONTAINER
from support.server import NAMESPACE, XCORE, create, server

RECEIPT = [
    "instanceId",
    "@id",
    "repo:etag",
    "repo:createdDate",
    "repo:lastModifiedDate",
    "repo:createdBy",
    "repo:lastModifiedBy",
    "repo:createdByClientId",
    "repo:lastModifiedByClientId",
]
ACCEPT = {"Accept": "application/vnd.adobe.platform.xcore.xdm.receipt+json; version=1"}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
VERSION_1_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_lives_through_every_write(kind: str) -> None:
    """Create, read, replace, patch, delete: etags rise by one, and after the deletion there is nothing (R2, R3)."""
    with library() as (client, _):
        document = {**documents()[kind], "xdm:name": "Another", "@id": f"xcore:{kind}:77"}
        created = post(client, kind, document, ACCEPT)
        assert created.status_code == 201
        assert list(created.json()) == RECEIPT
        instance = created.json()["instanceId"]
        url = f"{XCORE}/instances/{instance}"
        assert stored(client, instance) == document

        media = {"Content-Type": f'{HAL}; schema="{NAMESPACE}{kind}"'}
        wrapped = {"_instance": {**document, "xdm:name": "Replaced"}, "_links": {}}
        replaced = client.put(url, json=wrapped, headers=media)
        patched = patch(client, instance, set_to("xdm:name", "Patched"))
        for number, answer in enumerate((created, replaced, patched), 1):
            assert list(answer.json()) == RECEIPT
            assert answer.json()["repo:etag"] == number
            assert answer.headers["etag"] == f'"{number}"'
        assert (replaced.status_code, patched.status_code) == (200, 200)
        assert stored(client, instance)["xdm:name"] == "Patched"

        deleted = client.delete(url)
        assert (deleted.status_code, deleted.content) == (202, b"")
        for gone in (client.get(url), client.delete(url), patch(client, instance)):
            assert gone.status_code == 404


def test_a_receipt_has_the_documented_members_in_order() -> None:
    """Nine members and no more: ids, a numeric etag, two moments with microseconds, and who wrote by what (R4)."""
    with server() as client:
        receipt = post(client, "tag", {"xdm:name": "a"}, {**ACCEPT, "x-api-key": "exc_app"})

    assert receipt.headers["content-type"] == ACCEPT["Accept"]
    body = receipt.json()
    assert list(body) == RECEIPT
    assert VERSION_1_UUID.fullmatch(body["instanceId"])
    assert re.fullmatch(r"xcore:tag:[0-9a-f]{15,16}", body["@id"])
    assert body["repo:etag"] == 1
    assert type(body["repo:etag"]) is int
    assert body["repo:createdDate"] == body["repo:lastModifiedDate"]
    assert MOMENT.fullmatch(body["repo:createdDate"])
    assert body["repo:createdBy"].endswith("@AdobeID")
    assert body["repo:createdByClientId"] == body["repo:lastModifiedByClientId"] == "exc_app"


def test_a_created_instance_is_where_its_receipt_says() -> None:
    """`Location` is its address, and `Content-Base` the address that relative links start from."""
    with server() as client:
        answer = post(client, "tag", {"xdm:name": "a"})
        there = client.get(answer.headers["location"])

        assert answer.headers["content-base"] == f"http://127.0.0.1:8700{BASE}/"
        assert answer.headers["location"].startswith(answer.headers["content-base"])
        assert there.json()["instanceId"] == answer.json()["instanceId"]
        base = answer.headers["content-base"].rstrip("/")
        again = client.get(base + there.json()["_links"]["self"]["href"])
        assert again.json() == there.json()


def test_a_write_says_who_wrote_and_keeps_who_created() -> None:
    """The creator's client stays; the last writer's is the last writer's."""
    with server() as client:
        first = post(client, "tag", {"xdm:name": "a"}, {"x-api-key": "studio"}).json()
        second = patch(client, first["instanceId"], set_to("xdm:name", "b"), x_api_key="exc_app").json()

    assert second["repo:createdByClientId"] == "studio"
    assert second["repo:lastModifiedByClientId"] == "exc_app"
    assert second["repo:createdDate"] == first["repo:createdDate"]
    assert second["repo:lastModifiedDate"] > first["repo:lastModifiedDate"]


GIVEN_IDS: list[tuple[Any, int, str]] = [
    ("xcore:tag:124e0be5699743d3", 201, ""),
    ("dps:tag:1947f5372cc4ed74", 201, ""),
    ("xcore:tag:c1", 409, "id-taken"),
    ("dps:tag:c1", 409, "id-taken"),
    ("xcore:tag:C1", 422, "invalid"),
    ("xcore:tag:", 422, "invalid"),
    ("winter", 422, "invalid"),
    ("", 422, "invalid"),
    (7, 422, "invalid"),
    (None, 422, "invalid"),
    ("xcore:offer-placement:1", 422, "invalid"),
]


@pytest.mark.parametrize(("given", "status", "code"), GIVEN_IDS)
def test_a_given_id_is_kept_if_it_is_sound_and_free(given: Any, status: int, code: str) -> None:
    """An `@id` in a create is kept, refused as taken in either spelling, or refused as malformed (R13)."""
    with library() as (client, _):
        answer = post(client, "tag", {"@id": given, "xdm:name": "new"})

        assert answer.status_code == status
        if status == 201:
            assert answer.json()["@id"] == given
        else:
            assert answer.json()["code"] == code
        if status == 422:
            assert [path for _, path in codes(answer)] == ["$.@id"]


def test_an_id_is_not_used_again() -> None:
    """The `@id` of a deleted object stays taken, so that what remembers it never means something else."""
    with server() as client:
        made = create(client, "tag", {"@id": "xcore:tag:5", "xdm:name": "a"})
        client.delete(f"{XCORE}/instances/{made['instanceId']}")
        answer = post(client, "tag", {"@id": "xcore:tag:5", "xdm:name": "a"})

    assert (answer.status_code, answer.json()["code"]) == (409, "id-taken")


STRANGE = {
    "xdm:name": "strange",
    "offerui:segmentModel": {"b": 1, "a": [1.0, 1e5, -0.5, True, None, ""], "é": {"": {}}},
    "_wrenfield": {"deep": [[[{"xdm:name": "not the name"}]]]},
    "number": 9007199254740993,
    "text": 'é\u2028 "quoted" \\ / \U0001f600',
    "xdm:description": "kept, though only the newer API documents it",
}


def test_unknown_members_come_back_as_they_were() -> None:
    """At any depth, through create, patch and replace: the same members, order, numbers and text (R24, R40)."""
    import msgspec

    with server() as client:
        made = create(client, "tag", STRANGE)
        url = f"{XCORE}/instances/{made['instanceId']}"
        expected = {**STRANGE, "@id": made["@id"]}

        def as_text() -> bytes:
            return msgspec.json.encode(msgspec.json.decode(client.get(url).content)["_instance"])

        assert as_text() == msgspec.json.encode(expected)
        patch(client, made["instanceId"], set_to("_wrenfield/more", [1, 1.0]))
        expected["_wrenfield"] = {**STRANGE["_wrenfield"], "more": [1, 1.0]}  # type: ignore[dict-item]
        assert as_text() == msgspec.json.encode(expected)
        bare = client.get(url, headers={"Accept": "application/schema-instance+json"})
        assert bare.headers["content-type"] == "application/schema-instance+json"
        assert bare.content == as_text()
        media = {"Content-Type": f'{HAL}; schema="{NAMESPACE}tag"'}
        assert client.put(url, content=client.get(url).content, headers=media).status_code == 200
        assert as_text() == msgspec.json.encode(expected)


def test_the_id_of_an_object_cannot_change() -> None:
    """Another `@id` is refused; the same one, in either spelling, or none is fine."""
    with library() as (client, ids):
        url = f"{XCORE}/instances/{ids['tag']}"
        for given, status in (
            ({"@id": "xcore:tag:c1"}, 200),
            ({"@id": "dps:tag:c1"}, 200),
            ({}, 200),
            ({"@id": "xcore:tag:c2"}, 422),
            ({"@id": 1}, 422),
        ):
            answer = client.put(url, json={**given, "xdm:name": "winter"})
            assert answer.status_code == status
            assert stored(client, ids["tag"])["@id"] == "xcore:tag:c1"
        refused = patch(client, ids["tag"], set_to("@id", "xcore:tag:c2"))
        removed = patch(client, ids["tag"], {"op": "remove", "path": "/_instance/@id"})

    assert (refused.status_code, codes(refused)) == (422, [("immutable", "$._instance.@id")])
    assert removed.status_code == 200


def test_a_write_that_names_another_kind_is_refused() -> None:
    """The schema of a replacement or a patch is that of the instance, in whatever version, or none."""
    with library() as (client, ids):
        url = f"{XCORE}/instances/{ids['tag']}"
        for schema, status in (
            ("tag;version=0.1", 200),
            ("tag;version=9.9", 200),
            ("tag", 200),
            ("offer-filter;version=0.1", 422),
            ("sandwich", 415),
        ):
            media = {"Content-Type": f'application/json; schema="{NAMESPACE}{schema}"'}
            assert client.put(url, json={"xdm:name": "w"}, headers=media).status_code == status
            assert patch(client, ids["tag"], **media).status_code == status


def test_containers_are_found_whatever_their_case() -> None:
    """Ids in the path are found in upper case too, and links give them as they are."""
    with library() as (client, ids):
        found = client.get(
            f"{BASE}/{DEV_CONTAINER.upper()}/instances/{ids['tag'].upper()}",
        )

    assert found.status_code == 200
    assert found.json()["_links"]["self"]["href"] == f"/{DEV_CONTAINER}/instances/{ids['tag']}"
