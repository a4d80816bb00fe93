"""Lists of the Offer Library API: filters, orders, pages and their links (spec 3.2)."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.dps.library import DPS, OFFER, fill
from support.server import server

MOMENT = 1_738_577_472_345_000


def stopped() -> int:
    """A clock that stands still: everything is created in one moment."""
    return MOMENT


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server(clock=stopped) as client:
        fill(client)
        for index in range(7):
            document: dict[str, Any] = {"name": f"tag {index}", "size": index % 3}
            if index % 2:
                document["description"] = "odd, of course"
            assert client.post(f"{DPS}/tags", json=document).status_code == 201
        yield client


def names(client: TestClient, query: str, collection: str = "tags") -> list[str]:
    answer = client.get(f"{DPS}/{collection}?{query}")
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["results"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("property=name==fibre", ["fibre"]),
        ("property=name!=fibre,size==0", ["tag 0", "tag 3", "tag 6"]),
        ("property=!name==fibre&property=size==0", ["tag 0", "tag 3", "tag 6"]),
        ("property=size>1", ["tag 2", "tag 5"]),
        ("property=size%3C=0", ["tag 0", "tag 3", "tag 6"]),
        ("property=!size>0,size", ["tag 0", "tag 3", "tag 6"]),
        ("property=description,size", ["tag 1", "tag 3", "tag 5"]),
        ("property=!description", ["tag 0", "tag 2", "tag 4", "tag 6"]),
        ("property=name~.*[4,5].*", ["tag 4", "tag 5"]),
        ("property=name~tag.{2,3}&property=!size==1,size!=2", ["tag 0", "tag 3", "tag 6"]),
        ("property=description==odd\\, of course,size==0", ["tag 3"]),
        ("property=id==xcore:tag:b1", ["fibre"]),
        ("property=id==dps:tag:b1", ["fibre"]),
        ("property=etag==1,name==tag 1", ["tag 1"]),
        ("property=schemas~.*tag.*,name==tag 1", ["tag 1"]),
        ("property=created>2025-01-01T00:00:00Z,name==tag 1", ["tag 1"]),
    ],
)
def test_filters(client: TestClient, query: str, found: list[str]) -> None:
    """Every operator, negation, existence; commas and repeats mean that all must hold."""
    assert names(client, f"{query}&orderBy=name") == found


@pytest.mark.parametrize(
    ("collection", "query"),
    [
        ("offer-collections", "property=filterType==any-tags"),
        ("offers", "offer-type=personalized&property=representations.components.type==html,rank.priority==20"),
        ("offers", "offer-type=PERSONALIZED&property=selectionConstraint.profileConstraintType==eligibilityRule"),
        ("offers", "offer-type=personalized&property=tags==dps:tag:b1,rank.priority>=20"),
        ("offer-decisions", "property=criteria.rank.order.orderEvaluationType==static"),
        ("offer-rules", "property=condition.value~person.*,!exdRule"),
        ("ranking-formulas", "property=exdFunction==false"),
        ("placements", "property=componentType==html"),
    ],
)  # fmt: skip
def test_filters_speak_this_surfaces_language(client: TestClient, collection: str, query: str) -> None:
    """Names and values of a filter are those that the objects are read with."""
    assert len(names(client, query, collection)) == 1


@pytest.mark.parametrize("spelling", ["orderBy", "orderby"])
def test_several_keys(client: TestClient, spelling: str) -> None:
    """Keys count from left to right, each in its own direction; what lacks the property comes last."""
    assert names(client, f"{spelling}=-size,name") == [
        "tag 2",
        "tag 5",
        "tag 1",
        "tag 4",
        "tag 0",
        "tag 3",
        "tag 6",
        "fibre",
    ]


def walk(client: TestClient, first: str, direction: str = "next") -> Iterator[Any]:
    """The pages from this one on, following links as they are."""
    href: str | None = first
    while href is not None:
        answer = client.get(DPS + href)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield page
        href = page["_links"].get(direction, {}).get("href")


@pytest.mark.parametrize("order", ["-modified", "modified", "-size,-name", "description,size", "id"])
@pytest.mark.parametrize("limit", [1, 3, 8, 50])
def test_pages_forward_and_back(client: TestClient, order: str, limit: int) -> None:
    """Rows of one moment are told apart: each comes once, in the same order, forward and back."""
    everything = names(client, f"orderBy={order}")
    pages = list(walk(client, f"/tags?orderBy={order}&limit={limit}"))

    assert [one["name"] for page in pages for one in page["results"]] == everything
    assert {page["total"] for page in pages} == {8}
    assert [page["count"] for page in pages] == [len(page["results"]) for page in pages]
    assert ["prev" in page["_links"] for page in pages] == [False] + [True] * (len(pages) - 1)
    back = list(walk(client, pages[-1]["_links"]["self"]["href"], "prev"))
    assert len(back) == len(pages)
    assert [page["results"] for page in back] == [page["results"] for page in reversed(pages)]


def test_links_keep_what_was_asked(client: TestClient) -> None:
    """Order, limit, filters and offer type; relative to the base of the API."""
    page = client.get(f"{DPS}/offers?offer-type=PERSONALIZED&limit=1&property=name~Fibre.*,status==approved").json()
    links = page["_links"]

    assert links["self"] == {
        "href": "/offers?orderby=-modified&limit=1&offer-type=PERSONALIZED&property=name~Fibre.*,status==approved",
        "type": "application/json",
    }
    assert links["next"]["href"].startswith("/offers?orderby=-modified&limit=1&start=2025-02-03T10%3A11%3A12.345Z")
    href = links["next"]["href"]
    followed = client.get(f"{DPS}/offers", params={"offer-type": "personalized", "href": href})
    assert followed.json()["results"] == client.get(DPS + href).json()["results"]


def test_a_bare_date_is_a_cursor(client: TestClient) -> None:
    """It stands after everything of its moment, as documented links have it."""
    before = client.get(f"{DPS}/tags", params={"start": "2025-02-03T10:11:12.346Z"}).json()
    after = client.get(f"{DPS}/tags", params={"start": "2025-02-03T10:11:12.345Z"}).json()
    zoned = client.get(f"{DPS}/tags?start=2025-02-03T12:11:12.346+02:00").json()

    assert (before["count"], after["count"], zoned["count"]) == (8, 0, 8)
    assert after["total"] == 8


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("start=nonsense", 400),
        ("start=%3C", 400),
        ("start=2025-02-03T10:11:12.345Z,x,y", 400),
        ("start=2025-02-03T10:11:12.345Z,%27", 400),
        ("start=!!&orderBy=name", 400),
        ("limit=0", 422),
        ("limit=many", 422),
        ("limit=100000", 200),
        ("orderBy=a..b", 422),
        ("property=name=x", 422),
        ("property=name~(", 422),
        ("property=name~(?=x)", 422),
        ("property=" + ",".join(["name"] * 200), 422),
        ("property=,,", 200),
        ("property=name==Save 10, get 5", 422),
        ('property=name=="Save 10, get 5', 422),
        ("property=name==Save (10, get 5", 422),
        ("property=name==(a),name==(b", 200),
        ('property=name==10" pipe', 200),
        ("property=" + "(" * 5000, 200),
        ("property=name===x", 422),
        ("property=!name<>x", 422),
        ('property=name=="=x"', 200),
        ("property=name~<b>", 200),
    ],
)
def test_queries_that_cannot_be(client: TestClient, query: str, status: int) -> None:
    """Cursors that were tampered with are malformed; what cannot be looked for is said so."""
    assert client.get(f"{DPS}/tags?{query}").status_code == status


@settings(max_examples=25)
@given(
    moments=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    changes=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5)), max_size=5),
    limit=st.integers(1, 4),
    descending=st.booleans(),
)
def test_what_does_not_change_is_listed_once(
    moments: list[int], changes: list[tuple[int, int]], limit: int, descending: bool
) -> None:
    """Whatever is patched between two pages, every other row comes exactly once."""
    now = [MOMENT]
    with server(clock=lambda: now[0]) as client:
        for index, moment in enumerate(moments):
            now[0] = MOMENT + moment * 1000
            client.post(f"{DPS}/tags", json={"name": f"tag {index}"})
        rows = client.get(f"{DPS}/tags").json()["results"]
        touched = set()
        seen: list[str] = []
        left = list(changes)
        for page in walk(client, f"/tags?limit={limit}&orderBy={'-' * descending}modified"):
            seen += [one["name"] for one in page["results"]]
            for index, later in left[:2]:
                row = rows[index % len(rows)]
                touched.add(row["name"])
                now[0] = MOMENT + later * 1000
                patch = [{"op": "add", "path": "/description", "value": str(later)}]
                client.patch(f"{DPS}/tags/{row['id']}", json=patch)
            left = left[2:]

    still = [name for name in seen if name not in touched]
    assert sorted(still) == sorted({row["name"] for row in rows} - touched)


def test_one_is_found_by_its_id_among_many(client: TestClient) -> None:
    """An id in a filter, with a type of offers."""
    assert names(client, f"offer-type=personalized&property=id=={OFFER}", "offers") == ["Fibre 500 upgrade"]


QUOTED = ["Save 10, get 5", 'He said "yes", twice', "a\\b, c", "(open, [", "plain", " blanks , kept ", '"']


@pytest.mark.parametrize("name", QUOTED)
def test_a_quoted_value_may_have_commas_brackets_and_quotes(name: str) -> None:
    with server() as client:
        for other in QUOTED:
            assert client.post(f"{DPS}/tags", json={"name": other}).status_code == 201
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        for condition in (f'name=="{escaped}"', f'name == "{escaped}",!name=="other, name"'):
            found = client.get(f"{DPS}/tags", params={"property": condition}).json()["results"]
            assert [each["name"] for each in found] == [name]


def test_a_quoted_value_may_be_a_regular_expression(client: TestClient) -> None:
    assert names(client, 'property=description~"odd, .*",name=="tag 1"') == ["tag 1"]


def test_an_unreadable_condition_is_refused_with_the_way_to_quote(client: TestClient) -> None:
    report = client.get(f"{DPS}/tags", params={"property": "name==Save 10, get 5"}).json()["report"]
    (violation,) = report["violations"]
    assert violation["code"] == "condition"
    assert "`get 5` is not a field" in violation["message"]
    assert 'name=="Save 10, get 5"' in violation["help"]
