"""`GET /metrics`: how often an offer was proposed, by the counter of its global cap."""

from typing import Any

from starlette.testclient import TestClient

from api.ode.library import FOR_ADULTS, FOR_ALL, HERO, HOME, asked, decide
from api.ode.test_caps import a_cap, capped, xdm
from support.server import ODE

METRIC = "https://ns.adobe.com/experience/offer-management/offer-propositions"
WEB = "https://ns.adobe.com/xdm/channel-types/web"


def metrics(client: TestClient, offer: str = FOR_ALL, status: int = 200) -> Any:
    answer = client.get(f"{ODE}/metrics", params={"metric": METRIC, "id": offer})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_propositions_are_counted_by_the_global_cap() -> None:
    """In total; by channel where a cap counts each placement. A dry run does not count, the newer spelling is read."""
    with capped(cappingConstraint=xdm({"globalCap": 5_000})) as client:
        assert metrics(client) == {"xdm:metrics": {METRIC: {"xdm:value": 0}, "xdm:channels": []}}
        for _ in range(2):
            decide(client, asked((HOME, HERO)))
        decide(client, asked((HOME, HERO), dryRun=True))
        assert metrics(client, FOR_ALL.replace("xcore:", "dps:"))["xdm:metrics"][METRIC] == {"xdm:value": 2}
    with capped(a_cap(5_000, entity="placement")) as client:
        decide(client, asked((HOME, HERO)))
        channels = [{"xdm:channel": WEB, "xdm:usage": 1}]
        assert metrics(client) == {"xdm:metrics": {METRIC: {"xdm:value": 1}, "xdm:channels": channels}}


def test_what_is_not_counted_is_told() -> None:
    """An offer without a global cap, no such offer, another metric, no id."""
    with capped(a_cap(3, "profile")) as client:
        assert metrics(client, status=404)["code"] == "offer-not-counted"
        assert metrics(client, FOR_ADULTS, status=404)["code"] == "offer-not-counted"
        assert (
            metrics(client, "dps:personalized-offer:99", 404)["detail"]
            == "there is no offer `dps:personalized-offer:99`"
        )
        for query in (f"metric={METRIC}", f"metric=clicks&id={FOR_ALL}"):
            assert client.get(f"{ODE}/metrics?{query}").json()["code"] == "bad-parameter"
