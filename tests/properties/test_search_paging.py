"""every-row-once: paging visits each matching row exactly once, whatever happens in between."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Instance
from proffer.service.search.search import SearchQuery, parse_order, parse_property, run_search

SOMEBODY = Actor(user="u", client="c")
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(
        [
            0.5,
            "",
            "a",
            "B",
            "a,b",
            "!",
            "é",
            "2025-03-01T00:00:00Z",
            "2025-03-01T01:00:00+01:00",
            [],
        ]
    )
)
ORDERS = st.sampled_from(
    [
        "",
        "-instanceId",
        "repo:createdDate",
        "-repo:createdDate",
        "_instance.v",
        "-_instance.v",
        "_instance.w,-_instance.v",
        "-_instance.w,instanceId,_instance.v",
    ]
)


def row(number: int, created_ms: int, v: Any, w: Any) -> Instance:
    return Instance(
        container="c",
        instance_id=f"id-{number:03d}",
        kind=EntityKind.TAG,
        id=f"xcore:tag:{number}",
        etag=1,
        revision=number,
        created_us=created_ms * 1000 + number % 1000,
        modified_us=0,
        created_by=SOMEBODY,
        modified_by=SOMEBODY,
        document={"v": v, "w": w},
    )


ROWS = st.dictionaries(st.integers(0, 999), st.tuples(st.integers(-2, 2), VALUES, VALUES), max_size=25)


def rows_of(described: dict[int, tuple[int, Any, Any]]) -> list[Instance]:
    return [row(number, *values) for number, values in described.items()]


@given(ROWS, ORDERS, st.integers(1, 7))
def test_pages_make_up_the_whole_list(described: dict[int, tuple[int, Any, Any]], order: str, limit: int) -> None:
    """Joined together they are what one page would be, and `total` counts down."""
    rows = rows_of(described)
    search = SearchQuery(order=parse_order(order), limit=limit, clauses=[parse_property("_instance.v!=a")])
    whole = run_search(replace(search, limit=1000), rows)
    found: list[Instance] = []
    while True:
        page = run_search(search, rows)
        assert page.total == whole.total - len(found)
        assert len(page.results) == min(limit, page.total)
        found += page.results
        if page.next_start is None:
            break
        search = replace(search, start=page.next_start)
    assert found == list(whole.results)


@given(ROWS, ROWS, ORDERS, st.integers(1, 5), st.data())
def test_rows_that_come_and_go_disturb_no_others(
    described: dict[int, tuple[int, Any, Any]],
    arriving: dict[int, tuple[int, Any, Any]],
    order: str,
    limit: int,
    data: st.DataObject,
) -> None:
    """Each row that is there throughout is seen exactly once; none is seen twice."""
    rows = rows_of(described)
    later = [found for found in rows_of(arriving) if f"id-{found.revision:03d}" not in {r.instance_id for r in rows}]
    staying = {found.instance_id for found in rows}
    search = SearchQuery(order=parse_order(order), limit=limit)
    seen: list[str] = []
    while True:
        page = run_search(search, rows)
        seen += [found.instance_id for found in page.results]
        assert len(seen) == len(set(seen))
        if page.next_start is None:
            break
        search = replace(search, start=page.next_start)
        arrives, goes = data.draw(st.tuples(st.booleans(), st.booleans()), label="arrives, goes")
        if arrives and later:
            rows.insert(0, later.pop())
        if goes and rows:
            gone = rows.pop(data.draw(st.integers(0, len(rows) - 1)))
            staying.discard(gone.instance_id)
    assert staying <= set(seen)
