"""`aepp`, a client of the platform's APIs on the package index, unchanged, against a server of its own."""

import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx2
import pytest

from support.customers import identities, message
from support.process import run_server

EMAIL = {"entityIdNS": "Email"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a customer, who did three things."""
    with run_server(tmp_path_factory.mktemp("aepp"), ready="/healthz") as address:
        ada: dict[str, Any] = {"identityMap": identities(Email="ada@example.org"), "person": {"age": 36}}
        events = [
            {"_id": f"e{number}", "timestamp": f"2026-01-0{number}T09:00:00Z", "identityMap": ada["identityMap"]}
            for number in (1, 2, 3)
        ]
        for entity in (ada, *events):
            httpx2.post(f"{address}/collection/dev", json=message(entity)).raise_for_status()
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    """The package, told the address and a token that does not end soon.

    Its module of profiles imports pandas, 84 MB, for tables that none of the calls here make.
    """
    pytest.importorskip("aepp", reason="`make` installs aepp where the package index has it")
    with pytest.MonkeyPatch.context() as patch:
        if "pandas" not in sys.modules:
            pandas = ModuleType("pandas")
            pandas.DataFrame = object  # type: ignore[attr-defined]
            patch.setitem(sys.modules, "pandas", pandas)
        import aepp
        import aepp.customerprofile
        import aepp.identity
        import aepp.segmentation

    aepp.config.endpoints["global"] = address
    aepp.config.config_object.update(
        org_id="DEV@AdobeOrg",
        client_id="proffer",
        scopes="openid",
        sandbox="prod",
        token="dev",
        date_limit=time.time() + 3_600,
        connectionType="oauthV2",
        retry=0,
    )
    aepp.config.header |= {"x-api-key": "proffer", "x-gw-ims-org-id": "DEV@AdobeOrg"}
    return aepp


def test_profiles_are_looked_up_and_erased(client: Any, address: str) -> None:
    """One, several, the events of one by pages, and nobody after the erasure."""
    profiles = client.customerprofile.Profile()

    (ada,) = profiles.getEntity(entityId="ada@example.org", **EMAIL).values()
    assert ada["entity"]["person"] == {"age": 36}
    request = {
        "schema": {"name": "_xdm.context.profile"},
        "identities": [{"entityId": key, "entityIdNS": {"code": "Email"}} for key in ("ada@example.org", "bea@x")],
    }
    assert [bool(one["entity"]) for one in profiles.getEntities(request).values()] == [True, False]
    events = profiles.getEntityEvents(entityId="ada@example.org", limit=2, **EMAIL)
    assert [one["entityId"] for one in events] == ["e1", "e2", "e3"]

    bea = {"identityMap": identities(Email="bea@x"), "person": {"age": 7}}
    httpx2.post(f"{address}/collection/dev", json=message(bea)).raise_for_status()
    assert profiles.deleteEntity("_xdm.context.profile", "bea@x", "Email") == 202
    assert profiles.getEntity(entityId="bea@x", **EMAIL)["status"] == 404


def test_merge_policies_are_created_listed_changed_and_deleted(client: Any) -> None:
    """All pages of the list are read, also one that is the last."""
    profiles = client.customerprofile.Profile()
    made = [
        profiles.createMergePolicy({"name": name, "attributeMerge": {"type": "dataSetPrecedence", "order": [name]}})
        for name in ("a", "b", "c")
    ]
    assert [one["name"] for one in profiles.getMergePolicies(limit=2)] == ["a", "b", "c"]
    assert [one["name"] for one in profiles.getMergePolicies()] == ["a", "b", "c"]
    key = made[0]["id"]
    assert profiles.getMergePolicyActiveOnEdge() is None
    replaced = profiles.updateMergePolicy(key, {**made[0], "attributeMerge": {"type": "timestampOrdered"}})
    assert replaced["attributeMerge"] == {"type": "timestampOrdered"}
    changed = profiles.patchMergePolicy(key, [{"op": "add", "path": "/identityGraph.type", "value": "none"}])
    assert changed["identityGraph"] == {"type": "none"}
    assert profiles.getMergePolicy(key) == changed
    assert [profiles.deleteMergePolicy(one["id"]) for one in made] == [200] * 3
    assert profiles.getMergePolicies() == []


def test_segments_are_defined_and_counted(client: Any) -> None:
    """Created, read alone and together, changed, counted by a preview, and deleted."""
    segments = client.segmentation.Segmentation()
    definition = {
        "name": "Adults",
        "description": "Of age",
        "expression": {"type": "PQL", "format": "pql/text", "value": "person.age >= 18"},
        "schema": {"name": "_xdm.context.profile"},
        "ttlInDays": 30,
    }
    made = segments.createSegment(definition)
    key = made["id"]
    assert segments.getSegment(key) == made
    assert [one["id"] for one in segments.getSegments()] == [key]
    assert segments.getMultipleSegments({"ids": [{"id": key}]}) == {key: made}
    assert segments.updateSegment(key, {**definition, "name": "Of age"})["name"] == "Of age"

    preview = segments.createPreview("person.age >= 18")["previewId"]
    until = time.monotonic() + 10
    while (estimate := segments.getEstimate(preview))["state"] == "RUNNING" and time.monotonic() < until:
        pass
    assert estimate["estimatedSize"] == 1
    (found,) = segments.getPreview(preview)["results"]
    (link,) = found.values()
    (ada,) = httpx2.get(link["_href"]).json().values()
    assert ada["entity"]["person"] == {"age": 36}
    assert segments.deletePreview(preview) == 200
    assert segments.getPreview(preview)["status"] == 404
    assert segments.createPreview("person.age >=")["report"]["violations"][0]["code"] == "pql.syntax"
    assert segments.deleteSegment(key) == 200


def test_namespaces_are_created_and_changed(client: Any, address: str) -> None:
    """The standard ones are listed; one of the organisation's own is created, read and renamed."""
    namespaces = client.identity.Identity()
    # The module of identities ignores the address for all others.
    namespaces.endpoint = f"{address}/data/core"
    made = namespaces.createIdentity("Loyalty", "loyaltyId", "CROSS_DEVICE")
    assert {one["code"] for one in namespaces.getIdentities()} >= {"Email", "ECID", "loyaltyId"}
    assert [one["code"] for one in namespaces.getIdentities(only_custom=True)] == ["loyaltyId"]
    renamed = namespaces.updateIdentity(made["id"], "Card", "loyaltyId", "CROSS_DEVICE")
    assert namespaces.getIdentityDetail(made["id"]) == renamed
    assert renamed["name"] == "Card"
