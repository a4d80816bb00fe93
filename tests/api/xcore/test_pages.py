"""Lists, lookups and searches: which instances, in which order, and links that work as they are printed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from api.xcore.library import BASE, documents, library, listed, names, patch, representation, set_to
from proffer.app import DEV_CONTAINER
from proffer.config import Settings
from proffer.model.ids import EntityKind
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from support.containers import make, open_services
from support.server import NAMESPACE, XCORE, create, server

OFFERS = [
    ("Alpine skis", 3, "Snow, mountains; 2:1"),
    ("alpine boots", 5, "snow"),
    ("Beach towel", 3, "sun & sand"),
    ("Beach ball", 1, "sun = fun"),
    ("Crème brûlée", 9, "dessert"),
    ("50% off", 0, "a*b?"),
]


@contextmanager
def shop() -> Iterator[tuple[TestClient, list[str]]]:
    """Six offers, created in this order, and their `@id`s."""
    with server() as client:
        create(client, "offer-placement", documents()["offer-placement"])
        ids = []
        for name, priority, text in OFFERS:
            document = {
                "xdm:name": name,
                "xdm:status": "approved" if priority else "draft",
                "xdm:representations": [
                    representation("xcore:offer-placement:a1", content=text),
                ],
                "xdm:rank": {"xdm:priority": priority},
                "tenant": {"big": priority > 4},
            }
            ids.append(create(client, "personalized-offer", document)["@id"])
        yield client, ids


def offers(client: TestClient, query: str, *, search: bool = False) -> list[str]:
    return names(listed(client, "personalized-offer;version=0.5", query, search=search))


ALL = [name for name, _, _ in OFFERS]
QUERIES: list[tuple[str, list[int]]] = [
    ("", [0, 1, 2, 3, 4, 5]),
    # By name: exact, letter by letter, with wildcards.
    ("&name=Beach%20ball", [3]),
    ("&name=Beach+ball", [3]),
    ("&name=beach ball", []),
    ("&name=Beach*", [2, 3]),
    ("&name=*a*", [1, 2, 3]),
    ("&name=?lpine*", [0, 1]),
    ("&name=50%25%20off", [5]),
    ("&name=Cr%C3%A8me%20br%C3%BBl%C3%A9e", [4]),
    ("&name=", []),
    # By property, with every operator, raw and encoded; repeated is AND.
    ("&property=_instance.xdm:rank.xdm:priority==3", [0, 2]),
    ("&property=_instance.xdm%3Arank.xdm%3Apriority%3D%3D3", [0, 2]),
    ("&property=_instance.xdm:rank.xdm:priority!=3", [1, 3, 4, 5]),
    ("&property=_instance.xdm:rank.xdm:priority<3", [3, 5]),
    ("&property=_instance.xdm:rank.xdm:priority<=3", [0, 2, 3, 5]),
    ("&property=_instance.xdm:rank.xdm:priority>3", [1, 4]),
    ("&property=_instance.xdm:rank.xdm:priority>=3", [0, 1, 2, 4]),
    ("&property=_instance.xdm:name~beach.*", [2, 3]),
    ("&property=_instance.xdm:name~beach", []),
    ("&property=_instance.tenant.big==true", [1, 4]),
    ("&property=_instance.tenant", [0, 1, 2, 3, 4, 5]),
    ("&property=_instance.nothing", []),
    ("&property=_instance.xdm:status==approved&property=repo:etag==1", [0, 1, 2, 3, 4]),
    ("&property=_instance.xdm:rank.xdm:priority>1&property=_instance.tenant.big==false", [0, 2]),
    ("&property=repo:createdDate>=2020-01-01T00:00:00Z", [0, 1, 2, 3, 4, 5]),
    ("&property=_instance.xdm:representations.xdm:components.xdm:content==snow", [1]),
    ("&property=_instance.xdm:representations.xdm:components.xdm:content==sun = fun", [3]),
    ("&property=", [0, 1, 2, 3, 4, 5]),
    # Full text.
    ("&q=snow", [0, 1]),
    ("&q=SNOW", [0, 1]),
    ("&q=snow sun", [0, 1, 2, 3]),
    ("&q=sun fun&qop=and", [3]),
    ("&q=sun+fun&qop=AND", [3]),
    ('&q="sun sand"', [2]),
    ("&q=creme", [4]),
    ("&q=beach&field=_instance.xdm:name", [2, 3]),
    ("&q=beach&field=_instance.xdm:status", []),
    ("&q=sun&field=_instance.xdm:status,_instance.xdm:representations", [2, 3]),
    ("&q=approved&field=_instance.xdm:name&field=_instance.xdm:status", [0, 1, 2, 3, 4]),
    ("&q=", [0, 1, 2, 3, 4, 5]),
    # Order.
    ("&orderby=_instance.xdm:rank.xdm:priority", [5, 3, 0, 2, 1, 4]),
    ("&orderBy=-_instance.xdm:rank.xdm:priority", [4, 1, 0, 2, 3, 5]),
    ("&orderby=+_instance.xdm:rank.xdm:priority,-repo:createdDate", [5, 3, 2, 0, 1, 4]),
    ("&orderby=%2B_instance.xdm%3Arank.xdm%3Apriority", [5, 3, 0, 2, 1, 4]),
    ("&orderBy=-repo:createdDate", [5, 4, 3, 2, 1, 0]),
    ("&orderby=-instanceId", [5, 4, 3, 2, 1, 0]),
    ("&orderby=", [0, 1, 2, 3, 4, 5]),
    # Together.
    ("&q=sun&property=_instance.xdm:rank.xdm:priority>1&name=Beach*", [2]),
    ("&name=Beach*&orderby=-_instance.xdm:name&limit=1", [2]),
    ("&unknown=parameter", [0, 1, 2, 3, 4, 5]),
]


@pytest.fixture(scope="module")
def the_shop() -> Iterator[tuple[TestClient, list[str]]]:
    with shop() as opened:
        yield opened


@pytest.mark.parametrize(("query", "found"), QUERIES)
@pytest.mark.parametrize("search", [False, True], ids=["instances", "search"])
def test_a_query_finds(the_shop: tuple[TestClient, list[str]], query: str, found: list[int], search: bool) -> None:
    """The same on both paths: they take the same parameters (spec 2.2)."""
    assert offers(the_shop[0], query, search=search) == [ALL[index] for index in found]


def test_ids_are_looked_up(the_shop: tuple[TestClient, list[str]]) -> None:
    """One or several, raw or encoded, in either spelling; what is not there is no error; `_score` is 0."""
    client, ids = the_shop
    for query, found in (
        (f"&id={ids[2]}", [2]),
        (f"&id={quote(ids[2], safe='')}", [2]),
        (f"&id={ids[4]}&id={ids[1]}", [1, 4]),
        (f"&id={ids[1].replace('xcore:', 'dps:')}", [1]),
        ("&id=xcore:personalized-offer:dead", []),
        ("&id=nonsense", []),
        (f"&id={ids[2][:-1]}", []),
    ):
        page = listed(client, "personalized-offer", query).json()["_embedded"]
        assert [one["_instance"]["xdm:name"] for one in page["results"]] == [ALL[n] for n in found]
        assert all(one["_score"] == 0 for one in page["results"])
        assert page["total"] == page["count"] == len(found)
    assert "_score" not in listed(client, "personalized-offer").json()["_embedded"]["results"][0]


REFUSED = [
    ("&id=x&name=y", 400, "bad-parameter"),
    ("&qop=xor", 400, "bad-parameter"),
    ("&limit=0", 422, "invalid"),
    ("&limit=-1", 422, "invalid"),
    ("&limit=ten", 422, "invalid"),
    ("&property=a=b", 422, "invalid"),
    ("&property=a~(", 422, "invalid"),
    ("&property===1", 422, "invalid"),
    ("&orderby=a..b", 422, "invalid"),
    ("&start=abc,def", 400, "malformed"),
    ("&start=%00", 400, "malformed"),
]


@pytest.mark.parametrize(("query", "status", "code"), REFUSED)
def test_what_cannot_be_asked_is_refused(
    the_shop: tuple[TestClient, list[str]], query: str, status: int, code: str
) -> None:
    """A parameter that cannot be read, or contradicts another, is an error and not an empty list."""
    answer = listed(the_shop[0], "personalized-offer", query)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


ORDERS = [
    "",
    "&orderby=instanceId",
    "&orderby=-instanceId",
    "&orderBy=repo:createdDate",
    "&orderby=-repo:createdDate",
    "&orderby=_instance.xdm:name",
    "&orderBy=-_instance.xdm:rank.xdm:priority,_instance.xdm:name",
    "&orderby=+_instance.tenant.big,-repo:lastModifiedDate",
    "&orderby=_instance.nothing",
    "&orderby=_instance.xdm:representations",
    "&name=*a*&orderby=-_instance.xdm:name",
    "&q=sun%20%26%20snow&orderby=_instance.xdm:rank.xdm:priority",
    "&property=_instance.xdm:name!=50%25%20off&orderby=_instance.xdm:name",
    "&property=_instance.xdm:name~.*[aeiou].*",
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize("search", [False, True], ids=["instances", "search"])
def test_next_links_lead_through_everything_once(
    the_shop: tuple[TestClient, list[str]], order: str, limit: int, search: bool
) -> None:
    """Followed as printed, the base put before them, they give the whole list in its order, and then end."""
    client, _ = the_shop
    whole = offers(client, order, search=search)
    seen: list[str] = []
    answer = listed(client, "personalized-offer", f"{order}&limit={limit}", search=search)
    while True:
        page = answer.json()
        assert page["_embedded"]["total"] == len(whole) - len(seen)
        seen += names(answer)
        assert page["_links"]["self"]["@type"] == "https://ns.adobe.com/experience/xcore/hal/results"
        following = page["_links"].get("next")
        if following is None:
            break
        assert following["href"].startswith(f"/{DEV_CONTAINER}/")
        assert page["_embedded"]["count"] == limit
        answer = client.get(BASE + following["href"])
    assert seen == whole


def test_the_documented_form_of_cursors(the_shop: tuple[TestClient, list[str]]) -> None:
    """`start` is the last instance id; in another order it is the sort value before it, dates as epoch ms (R41)."""
    client, _ = the_shop
    plain = listed(client, "personalized-offer", "&limit=2").json()
    last = plain["_embedded"]["results"][-1]["instanceId"]
    assert plain["_links"]["next"]["href"] == (
        f"/{DEV_CONTAINER}/instances?start={last}&orderby=instanceId&schema={NAMESPACE}personalized-offer&limit=2"
    )
    dated = listed(client, "personalized-offer", "&limit=1&orderBy=-repo:createdDate", search=True).json()
    (result,) = dated["_embedded"]["results"]
    start, rest = dated["_links"]["next"]["href"].partition("start=")[2].split("&", 1)
    assert rest.startswith("orderby=-repo:createdDate,instanceId&")
    milliseconds, _, instance = start.partition("%2C")
    assert instance == result["instanceId"]
    assert len(milliseconds) == 13
    assert milliseconds.isdigit()


def test_self_links_read_like_the_documented_ones() -> None:
    """The path and query of the request, relative to the base, values unescaped."""
    with server() as client:
        sent = quote(f"{NAMESPACE}tag;version=0.1", safe="")
        page = client.get(f"{XCORE}/queries/core/search?schema={sent}&limit=1&q=a%20%26%20b").json()

    assert page["_links"]["self"]["href"] == (
        f"/{DEV_CONTAINER}/queries/core/search?schema={NAMESPACE}tag;version=0.1&limit=1&q=a%20%26%20b"
    )
    assert page["_embedded"] == {"results": [], "total": 0, "count": 0}
    assert "next" not in page["_links"]


def test_a_parameter_with_a_strange_name_does_not_break_the_next_link() -> None:
    """Names are escaped as values are."""
    with shop() as (client, _):
        page = listed(client, "personalized-offer", "&limit=1&a%26limit%3D5=%23").json()
        follow = client.get(BASE + page["_links"]["next"]["href"])

    assert follow.json()["_embedded"]["count"] == 1


async def test_pages_have_fifty_entries_unless_asked_and_a_thousand_at_most() -> None:
    """Without `limit` 50; above 1,000 it is lowered, not refused (R26)."""
    store = MemoryStore()

    async def filled(_: Settings) -> Store:
        return store

    async with open_services(store) as services:
        writes = (
            make(
                services,
                EntityKind.COLLECTION,
                xdm__name=f"c{number}",
                xdm__filterType="anyTags",
                xdm__ids=[],
            )
            for number in range(1_001)
        )
        await asyncio.gather(*writes)
    with server(opening=filled) as client:
        for query, count in (("", 50), ("&limit=1000", 1000), ("&limit=99999999999", 1000)):
            page = listed(client, "offer-filter", query).json()
            assert (page["_embedded"]["count"], page["_embedded"]["total"]) == (count, 1001)
            assert "next" in page["_links"]


def test_a_page_stays_right_while_others_write() -> None:
    """What is added or deleted between two pages neither repeats nor skips what stays."""
    with shop() as (client, _):
        first = listed(client, "personalized-offer", "&limit=2").json()
        instance = first["_embedded"]["results"][0]["instanceId"]
        assert client.delete(f"{XCORE}/instances/{instance}").status_code == 202
        rest = client.get(BASE + first["_links"]["next"]["href"] + "&limit=50")

        assert names(rest) in (ALL[2:], ALL[2:4])


def test_a_change_of_etag_is_found() -> None:
    """Envelope members can be asked for too."""
    with library() as (client, ids):
        patch(client, ids["tag"], set_to("more", 1))

        assert names(listed(client, "tag", "&property=repo:etag==2")) == ["winter"]
        assert names(listed(client, "tag", f"&property=instanceId=={ids['tag']}")) == ["winter"]
