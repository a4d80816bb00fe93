"""GET /offers: what live decisions may propose, and whether a change has arrived."""

import pytest

from api.ode.library import (
    ENDED,
    FOR_ADULTS,
    FOR_ALL,
    HERO,
    HOME,
    HOUSE,
    OVER,
    PAUSED,
    PICTURE,
    SHOP,
    WHEN_HOT,
    decision,
    fill,
    instance_of,
)
from proffer.app import DEV_CONTAINER
from support.server import ODE, create, server


def test_approved_offers_whatever_their_dates_and_rules() -> None:
    """Those of the collection with a representation for one of the placements, and the fallback."""
    with server() as client:
        fill(client)
        answer = client.get(f"{ODE}/offers?activityId={HOME}&activityId={SHOP}").json()

    home, shop = answer["xdm:activityOffers"]
    assert home["xdm:offerActivity"]["@id"] == HOME
    assert {one["@id"] for one in home["xdm:offers"]} == {FOR_ALL, FOR_ADULTS, WHEN_HOT, ENDED}
    assert PICTURE in {one["@id"] for one in shop["xdm:offers"]}
    assert home["xdm:fallbackOffer"]["@id"] == HOUSE


def test_every_link_can_be_followed() -> None:
    """Addresses are absolute and lead to the object with the etag that is told, as text here, a number there."""
    with server() as client:
        fill(client)
        (one,) = client.get(f"/data/core/ode/{DEV_CONTAINER.upper()}/offers?activityId={HOME}").json()[
            "xdm:activityOffers"
        ]
        for reference in (one["xdm:offerActivity"], one["xdm:fallbackOffer"], *one["xdm:offers"]):
            href = reference["_links"]["self"]["href"]
            assert href.startswith("http://127.0.0.1:8700/data/core/xcore/")
            found = client.get(href).json()
            assert found["_instance"]["@id"] == reference["@id"]
            assert reference["repo:etag"] == str(found["repo:etag"])


def test_an_etag_tells_that_a_change_has_arrived() -> None:
    """After a patch the etag here is that of the receipt."""
    with server() as client:
        fill(client)
        patch = [{"op": "replace", "path": "/_instance/xdm:name", "value": "New"}]
        receipt = client.patch(instance_of(client, "personalized-offer", FOR_ALL), json=patch)
        (one,) = client.get(f"{ODE}/offers", params={"activityId": HOME}).json()["xdm:activityOffers"]
        etags = {offer["@id"]: offer["repo:etag"] for offer in one["xdm:offers"]}

    assert etags[FOR_ALL] == str(receipt.json()["repo:etag"]) == "2"


def test_decisions_that_are_not_live_are_all_named() -> None:
    """404 with the documented code; dates do not matter here."""
    with server() as client:
        fill(client)
        answer = client.get(f"{ODE}/offers?activityId={HOME}&activityId={PAUSED}&activityId=x")
        ended = client.get(f"{ODE}/offers?activityId={OVER}")

    assert answer.status_code == 404
    assert answer.json()["code"] == "ODE-0001-404"
    assert PAUSED in answer.json()["detail"]
    assert "`x`" in answer.json()["detail"]
    assert ended.status_code == 200


@pytest.mark.parametrize("count", [0, 31])
def test_one_to_thirty_decisions(count: int) -> None:
    """None or too many are a mistake of the caller; thirty are fine, and one of them twice."""
    with server() as client:
        fill(client)
        answer = client.get(f"{ODE}/offers?" + f"activityId={HOME}&" * count)
        most = client.get(f"{ODE}/offers?" + f"activityId={HOME}&" * 30)

    assert answer.status_code == 400
    assert answer.json()["code"] == "bad-parameter"
    assert len(most.json()["xdm:activityOffers"]) == 30


def test_the_newer_spelling_and_raw_colons() -> None:
    """`dps:` is the same decision, and colons may be escaped or not."""
    kind, document = decision("xcore:offer-activity:20", "Newer", [HERO])
    with server() as client:
        fill(client)
        create(client, kind, document)
        raw = client.get(f"{ODE}/offers?activityId=dps:offer-activity:20")
        escaped = client.get(f"{ODE}/offers?activityId=dps%3Aoffer-activity%3A20")

    assert raw.json() == escaped.json()
    assert raw.json()["xdm:activityOffers"][0]["xdm:offerActivity"]["@id"] == document["@id"]
