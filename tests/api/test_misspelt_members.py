"""Misspelt members: kept as they are, and reported wherever they come in (R24)."""

from typing import Any

from api.ode.library import FOR_ALL, HERO, HOME, LIBRARY, asked, asked_09, decide, fill, instance_of
from support.server import NAMESPACE, ODE, XCORE, server

OFFER = next(document for kind, document in LIBRARY if document.get("@id") == FOR_ALL)


def _created(client: Any, document: dict[str, Any]) -> Any:
    media = f'application/schema-instance+json; schema="{NAMESPACE}personalized-offer"'
    answer = client.post(f"{XCORE}/instances", json=document, headers={"Content-Type": media})
    assert answer.status_code == 201, answer.text
    return answer


def test_a_write_is_accepted_with_a_warning() -> None:
    with server() as client:
        fill(client)
        document = {**OFFER, "@id": "xcore:personalized-offer:99", "xdm:name": "new"}
        assert "warning" not in _created(client, document).headers
        document |= {"@id": "xcore:personalized-offer:98", "xdm:name": "newer", "xdm:cappingConstrain": {}}
        header = _created(client, document).headers["warning"]
        assert "$.xdm:cappingConstrain: `xdm:cappingConstrain` is not a known member" in header
        assert "did you mean `xdm:cappingConstraint`?" in header
        operation = {"op": "add", "path": "/_instance/xdm:tag", "value": []}
        patched = client.patch(instance_of(client, "personalized-offer", FOR_ALL), json=[operation])
        assert patched.status_code == 200, patched.text
        assert "did you mean `xdm:tags`?" in patched.headers["warning"]


def test_the_offer_library_reports_it_in_its_own_spelling() -> None:
    with server() as client:
        answer = client.post("/data/core/dps/tags", json={"name": "t", "descripton": "x"})
        assert answer.status_code == 201
        header = answer.headers["warning"]
        assert "`descripton` is not a known member" in header
        assert "did you mean `description`?" in header


def test_diagnostics_list_it_for_live_decisions() -> None:
    with server() as client:
        fill(client)
        path = instance_of(client, "personalized-offer", FOR_ALL)
        assert client.put(path, json={**OFFER, "xdm:cappingConstrain": {"xdm:globalCap": 1}}).status_code == 200
        update = client.get(f"{ODE}/diagnostics").json()["xdm:operations"]["xdm:decisioningPackageUpdate"]
        (cause,) = update["xdm:errors"][0]["xdm:causes"]
        assert "`xdm:cappingConstrain` is not a known member" in cause["xdm:description"]
        assert cause["xdm:details"]["@id"] == FOR_ALL


def test_a_decision_request_with_one_is_answered_with_a_warning() -> None:
    """`xdm:dryrun` would count although the client does not want it."""
    with server() as client:
        fill(client)
        for body, place in (
            (asked((HOME, HERO), dryrun=True), "$.xdm:dryrun"),
            (asked_09(HOME, dryrun=True), "$.xdm:dryrun"),
            (asked((HOME, HERO), profile={"xdm:atributes": {}}), "$.xdm:profiles[0].xdm:atributes"),
        ):
            answer = client.post(f"{ODE}/decisions", json=body)
            assert answer.status_code == 200
            assert f"{place}: " in answer.headers["warning"]
        answer = client.post(f"{ODE}/decisions?explain=true", json=asked((HOME, HERO), dryrun=True))
        assert answer.json()["trace"][0]["warnings"] == [
            "$.xdm:dryrun: `xdm:dryrun` is not a known member and has no effect"
        ]
        unknown = asked((HOME, HERO), profileModel="_xdm.context.profile")
        answer = client.post(f"{ODE}/decisions", json=unknown)
        assert "warning" not in answer.headers
        assert "trace" not in decide(client, unknown)
