"""The home resource: which containers there are, and each of them."""

import pytest

from api.xcore.library import BASE
from proffer.app import DEV_CONTAINER
from support.server import server

CONTAINERS = "https://ns.adobe.com/experience/xcore/container"
HOMES = [
    ("", "/", 1),
    ("/", "/", 1),
    ("/?", "/", 1),
    ("?", "/", 1),
    ("/?product=acp", "/?product=acp", 1),
    ("/?product=acp&product=dma_offers", "/?product=acp&product=dma_offers", 1),
    ("/?product=dma_offers", "/?product=dma_offers", 1),
    ("/?product=acp,x", "/?product=acp,x", 1),
    ("/?product=other", "/?product=other", 0),
    (
        "/?product=acp&property=_instance.containerType==decisioning",
        "/?product=acp&property=_instance.containerType==decisioning",
        1,
    ),
    (
        "?property=_instance.containerType%3D%3Ddecisioning&property=_instance.parentName%3D%3Dprod",
        "/?property=_instance.containerType==decisioning&property=_instance.parentName==prod",
        1,
    ),
    ("/?property=_instance.parentName==stage", "/?property=_instance.parentName==stage", 0),
    ("/?property=_instance.parentName~PR.*", "/?property=_instance.parentName~PR.*", 1),
    ("/?property=repo:etag>=1", "/?property=repo:etag>=1", 1),
    ("/?property=instanceId", "/?property=instanceId", 1),
    ("/?property=nothing", "/?property=nothing", 0),
]


@pytest.mark.parametrize(("suffix", "href", "count"), HOMES)
def test_home_lists_the_containers(suffix: str, href: str, count: int) -> None:
    """With or without slash and query, filtered by product (any of them) and property (all of them)."""
    with server() as client:
        answer = client.get(BASE + suffix)

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.adobe.platform.xcore.home.hal+json"
    home = answer.json()
    assert home["_links"]["self"] == {
        "href": href,
        "@type": "https://ns.adobe.com/experience/xcore/hal/home",
    }
    assert len(home["_embedded"][CONTAINERS]) == count


def test_a_container_says_what_clients_look_for() -> None:
    """Its id, what it is for, its sandbox, and a link that works when the base is put before it."""
    with server() as client:
        (listed,) = client.get(f"{BASE}/").json()["_embedded"][CONTAINERS]
        alone = client.get(BASE + listed["_links"]["self"]["href"])

    assert listed["instanceId"] == DEV_CONTAINER
    assert listed["_links"]["self"]["href"] == f"/containers/{DEV_CONTAINER}"
    assert listed["_instance"]["containerType"] == "decisioning"
    assert listed["_instance"]["parentName"] == "prod"
    assert listed["schemas"] == [f"{CONTAINERS};version=0.5"]
    assert listed["productContexts"] == ["acp"]
    assert type(listed["repo:etag"]) is int
    assert alone.json() == listed


def test_a_container_nobody_has_is_404() -> None:
    """Under whatever id."""
    with server() as client:
        for unknown in ("x", DEV_CONTAINER[:-1] + "7", "%00"):
            answer = client.get(f"{BASE}/containers/{unknown}")
            assert (answer.status_code, answer.json()["code"]) == (404, "container-not-found")


def test_a_property_that_cannot_be_read_is_refused() -> None:
    """A comparison with a single `=` is a mistake, not an empty list."""
    with server() as client:
        answer = client.get(f"{BASE}/?property=_instance.parentName=prod")

    assert answer.status_code == 422
    assert "==" in answer.json()["report"]["violations"][0]["help"]
