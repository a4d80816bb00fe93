"""What a listing holds, in which order, and how it goes on."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from proffer.errors import Invalid, Malformed
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Instance
from proffer.service.search.search import (
    MAX_CLAUSES,
    MAX_LIMIT,
    Clause,
    OrderKey,
    SearchQuery,
    parse_fields,
    parse_limit,
    parse_order,
    parse_property,
    run_search,
    run_search_sliced,
    values_at,
)

NOW = 1_603_395_515_489_123


def instance(number: int, **members: Any) -> Instance:
    """The number is in the ids; a member's name may be given with `__` for `:`."""
    special = {name: members.pop(name) for name in ("created_us", "etag", "deleted") if name in members}
    document = {name.replace("__", ":"): value for name, value in members.items()}
    created = special.get("created_us", NOW)
    return Instance(
        container="c",
        instance_id=f"00000000-0000-11eb-0000-{number:012d}",
        kind=EntityKind.TAG,
        id=f"xcore:tag:{number}",
        etag=special.get("etag", 1),
        revision=number,
        created_us=created,
        modified_us=created,
        created_by=Actor(user="ann@AdobeID", client="studio"),
        modified_by=Actor(user="bob@AdobeID", client="exc_app"),
        document={"@id": f"xcore:tag:{number}", **document},
        deleted=special.get("deleted", False),
    )


def numbers(instances: Iterable[Instance]) -> list[int]:
    return [int(found.instance_id[-12:]) for found in instances]


def listed(instances: Iterable[Instance], **search: Any) -> list[int]:
    return numbers(run_search(SearchQuery(**search), instances).results)


def holds(condition: str, found: Instance) -> bool:
    return bool(listed([found], clauses=[parse_property(condition)]))


def paths(text: str) -> tuple[str, ...]:
    return tuple(text.split("."))


# Properties.

RICH = instance(
    7,
    etag=3,
    xdm__name="Ärztin 10",
    xdm__rank={"xdm:priority": 5, "weight": 0.5, "none": None},
    xdm__tags=["xcore:tag:1", "dps:tag:2"],
    xdm__empty=[],
    flag=True,
    start="2025-03-01T00:00:00+01:00",
    items=[{"a": 1, "b": [[{"c": "deep"}]]}, {"a": "two"}, 3],
    **{"https://x.org/a": {"b.c": {"d": 1}}, "digits": {"0": "zero"}},
)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("instanceId", [RICH.instance_id]),
        ("repo:etag", [3]),
        ("repo:createdDate", ["2020-10-22T19:38:35.489123Z"]),
        ("repo:lastModifiedDate", ["2020-10-22T19:38:35.489123Z"]),
        ("repo:createdBy", ["ann@AdobeID"]),
        ("repo:lastModifiedByClientId", ["exc_app"]),
        ("_instance.@id", ["xcore:tag:7"]),
        ("_instance.xdm:rank.xdm:priority", [5]),
        ("_instance.xdm:rank.none", [None]),
        ("_instance.xdm:tags", [["xcore:tag:1", "dps:tag:2"]]),
        ("_instance.xdm:tags.1", ["dps:tag:2"]),
        ("_instance.xdm:tags.2", []),
        ("_instance.items.a", [1, "two"]),
        ("_instance.items.1.a", ["two"]),
        ("_instance.items.b.c", ["deep"]),
        ("_instance.digits.0", ["zero"]),
        ("_instance.https://x.org/a.b.c.d", [1]),
        ("_instance.xdm:name.x", []),
        ("_instance.missing", []),
        ("missing", []),
        ("repo:etag.x", []),
    ],
)
def test_a_path_leads_from_the_envelope_into_the_document(path: str, values: list[Any]) -> None:
    """Through lists to every element, or to the one whose number is given."""
    assert values_at(RICH, paths(path)) == values


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("_instance.xdm:name", True),
        ("_instance.xdm:empty", True),
        ("_instance.missing", False),
        ("_instance.xdm:name==Ärztin 10", True),
        ("_instance.xdm:name==ärztin 10", False),
        ("_instance.xdm:name!=ärztin 10", True),
        ("_instance.xdm:name>Zebra", True),
        ("_instance.missing==x", False),
        ("_instance.missing!=x", True),
        ("_instance.missing<x", False),
        ("_instance.xdm:tags==xcore:tag:1", True),
        ("_instance.xdm:tags==xcore:tag:2", True),
        ("_instance.xdm:tags==xcore:tag:3", False),
        ("_instance.xdm:tags!=xcore:tag:1", False),
        ("_instance.xdm:tags!=xcore:tag:3", True),
        ("repo:etag==3", True),
        ("repo:etag==3.0", True),
        ("repo:etag==30e-1", True),
        ("repo:etag==three", False),
        ("repo:etag!=three", True),
        ("repo:etag>=3", True),
        ("repo:etag<10", True),
        ("repo:etag<three", False),
        ("_instance.xdm:rank.weight<=0.5", True),
        ("_instance.flag==true", True),
        ("_instance.flag==1", False),
        ("_instance.flag>0", False),
        ("_instance.xdm:rank.none==null", True),
        ("_instance.start==2025-02-28T23:00:00Z", True),
        ("_instance.start<2025-02-28T23:00:00.000001Z", True),
        ("_instance.start>2025", True),
        ("repo:createdDate>2020-10-22", True),
        ("repo:createdDate<2020-10-22T21:38:36+02:00", True),
        ("_instance.xdm:name~ärztin.*", True),
        ("_instance.xdm:name~ärztin", False),
        ("_instance.xdm:name~.*1[0-9]", True),
        ("_instance.items.a~TWO", True),
        ("repo:etag~3", False),
        ("_instance.@id==dps:tag:7", True),
        (" _instance.xdm:name ==Ärztin 10", True),
        ("_instance.xdm:name~a==b", False),
    ],
)
def test_a_property_is_compared_as_what_it_is(condition: str, expected: bool) -> None:
    """Numbers as numbers, moments as moments, all else letter by letter; expressions in any case."""
    assert holds(condition, RICH) is expected


def test_the_first_operator_in_the_text_is_the_operator() -> None:
    """So values may contain them."""
    assert parse_property("a.b==c<=d") == Clause(("a", "b"), "==", "c<=d")
    assert parse_property("a<=b==c") == Clause(("a",), "<=", "b==c")
    assert parse_property("a~b!=c") == Clause(("a",), "~", "b!=c")


def test_a_leading_exclamation_mark_negates_where_that_is_meant() -> None:
    """The current repository API has it; the older one takes it as part of a name."""
    assert parse_property("!a", negation=True) == Clause(("a",), "missing")
    assert parse_property("!a==b", negation=True) == Clause(("a",), "!=", "b")
    assert parse_property("!a!=b", negation=True) == Clause(("a",), "==", "b")
    assert parse_property("!a", negation=False) == Clause(("!a",), "exists")
    for condition, expected in [
        ("!repo:etag<3", True),
        ("!repo:etag>=3", False),
        ("!_instance.xdm:name~.*10", False),
        ("!_instance.missing~.*", True),
        ("!_instance.missing", True),
        ("!repo:etag", False),
    ]:
        clause = parse_property(condition, negation=True)
        assert bool(listed([RICH], clauses=[clause])) is expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "path"),
        ("==x", "path"),
        ("a..b==x", "path"),
        (".".join("a" * 101), "path"),
        ("a=b", "operator"),
        ("a~(", "regex"),
        ("a~(?=x)", "regex"),
        ("a~\\1", "regex"),
        ("a~" + "x" * 1001, "regex"),
        ("a~\ud800", "regex"),
        ("a~(.{900}){900}", "regex"),
    ],
)
def test_a_condition_that_cannot_be_says_why(text: str, code: str) -> None:
    """Before any row is looked at."""
    with pytest.raises(Invalid) as caught:
        parse_property(text)
    (finding,) = caught.value.violations
    assert finding.code == code
    assert finding.help


def test_all_conditions_must_hold() -> None:
    """A repeated parameter narrows; deleted objects are never listed."""
    rows = [instance(n, size=n, deleted=n == 3) for n in range(6)]
    clauses = [parse_property("_instance.size>1"), parse_property("_instance.size<5")]
    assert listed(rows, clauses=clauses) == [2, 4]
    assert listed(rows, clauses=clauses, kind=EntityKind.RULE) == []
    with pytest.raises(Invalid):
        run_search(SearchQuery(clauses=clauses * MAX_CLAUSES), rows)


@pytest.mark.timeout(30)  # without the bound: hours
def test_an_expression_that_would_explode_elsewhere_is_quick() -> None:
    """RE2 is linear; the length it looks at is bounded."""
    row = instance(1, text="a" * 300_000)
    for expression in ["(a*)*b", "(a|a)*b", "(.*a.{20}b.*)"]:
        assert not holds(f"_instance.text~{expression}", row)


# Ids, names, texts.


def test_ids_are_found_in_both_spellings() -> None:
    """They are exact otherwise; unknown ones are simply not there."""
    rows = [instance(1), instance(2), instance(3)]
    assert listed(rows, ids=["dps:tag:2", "xcore:tag:3", "xcore:tag:9", "tag:1"]) == [2, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Tea", [1]),
        ("tea", []),
        ("T*", [1, 2]),
        ("*ea*", [1, 2, 3]),
        ("Te?", [1]),
        ("?ea*m*", [2, 3]),
        ("*", [1, 2, 3, 4]),
        ("T.a", []),
        ("(1+*", [4]),
        ("", []),
    ],
)
def test_a_name_is_exact_but_for_wildcards(name: str, expected: list[int]) -> None:
    """Letter by letter, whatever else the letters mean in expressions."""
    names = ["Tea", "Tea\nTime", "Cream of tea, lemon", "(1+1)"]
    names[2] = "Dean's cream"
    rows = [instance(n, xdm__name=text) for n, text in enumerate(names, 1)]
    assert listed([*rows, instance(9), instance(8, xdm__name=5)], name=name) == expected


TEXTS = [
    instance(1, xdm__name="Crème brûlée", note="sweet"),
    instance(2, xdm__name="Ice cream (vanilla), 10% off", xdm__components=[{"text": ["e-mail only"]}]),
    instance(3, xdm__name="Creamy tea", rank=10),
    instance(4, xdm__name="TEA", note="ice"),
]


@pytest.mark.parametrize(
    ("query", "any_will_do", "expected"),
    [
        ("creme", True, [1]),
        ("CRÈME tea", True, [1, 3, 4]),
        ("ice tea", False, [4]),
        ("ice cream", False, [2]),
        ("cream", True, [2]),
        ("cream*", True, [2, 3]),
        ("cream\\*", True, [2]),
        ("cr?m*", True, [1]),
        ("cr??m*", True, [2, 3]),
        ("*ea", True, [3, 4]),
        ("t?a", True, [3, 4]),
        ('"ice cream"', True, [2]),
        ('"cream ice"', True, []),
        ('"brulee sweet"', True, []),
        ('"ice cream', True, [2]),
        ('"creamy t*"', True, []),
        ("e-mail", True, [2]),
        ("mail e", False, [2]),
        ("e\\ mail", True, [2]),
        ("10", True, [2]),
        ("(vanilla)", True, [2]),
        ("\\(vanilla\\)", True, [2]),
        ("ice ---", False, [2, 4]),
        ("---", True, []),
        ("  ", True, [1, 2, 3, 4]),
        ("nothing", True, []),
        ("tag", True, [1, 2, 3, 4]),
    ],
)
def test_a_query_finds_words(query: str, any_will_do: bool, expected: list[int]) -> None:
    """Whole words without regard to case and accents; stars, question marks and phrases on request."""
    assert listed(TEXTS, text=query, text_any=any_will_do) == expected


def test_a_query_can_be_kept_to_some_fields() -> None:
    """Any of the fields will do, for each term by itself."""
    fields = parse_fields(["_instance.xdm:name,repo:createdBy", " _instance.xdm:components.text"])
    assert listed(TEXTS, text="ice", fields=fields) == [2]
    assert listed(TEXTS, text="ann ice", text_any=False, fields=fields) == [2]
    assert listed(TEXTS, text="only", fields=fields) == [2]
    assert listed(TEXTS, text="sweet", fields=fields) == []


@pytest.mark.parametrize("query", ["a " * 101, "*?" * 10 + "a", "?" + "a" * 2000])
def test_a_query_has_bounds(query: str) -> None:
    """On the number of terms, on wildcards, and on length where there are wildcards."""
    with pytest.raises(Invalid):
        run_search(SearchQuery(text=query), TEXTS)


# Order and pages.


def test_the_default_order_is_by_instance_id() -> None:
    """Whatever order the rows come in."""
    rows = [instance(n) for n in (3, 1, 2)]
    page = run_search(SearchQuery(), rows)
    assert numbers(page.results) == [1, 2, 3]
    assert page.order == (OrderKey(("instanceId",)),)
    assert page.next_start is None
    assert listed(rows, order=parse_order("-instanceId")) == [3, 2, 1]


def test_an_order_is_a_list_of_paths_with_signs() -> None:
    """A plus may arrive as the space it was decoded to."""
    assert parse_order("-repo:createdDate, _instance.a,+b") == [
        OrderKey(("repo:createdDate",), descending=True),
        OrderKey(("_instance", "a")),
        OrderKey(("b",)),
    ]
    assert parse_order(" b") == [OrderKey(("b",))]
    assert parse_order("") == []
    for text in ["-", "a..b", ",".join("abcdefghijk")]:
        with pytest.raises(Invalid):
            parse_order(text)


def test_missing_values_come_last_in_both_directions() -> None:
    """And types stay apart: booleans, numbers, moments, texts."""
    values = [
        "b",
        None,
        "a",
        2,
        10.5,
        True,
        "2025-03-01T01:00:00+01:00",
        "2025-03-01T00:30:00Z",
        False,
    ]
    rows = [instance(n, v=value) for n, value in enumerate(values, 1)]
    rows.append(instance(10))
    assert listed(rows, order=parse_order("_instance.v")) == [9, 6, 4, 5, 7, 8, 3, 1, 2, 10]
    assert listed(rows, order=parse_order("-_instance.v")) == [1, 3, 8, 7, 5, 4, 6, 9, 2, 10]


def test_dates_compare_in_milliseconds() -> None:
    """As cursors carry them; the instance id decides within one."""
    rows = [
        instance(1, created_us=NOW + 500),
        instance(2, created_us=NOW),
        instance(3, created_us=NOW + 900),
    ]
    assert listed(rows, order=parse_order("repo:createdDate")) == [1, 2, 3]
    assert listed(rows, order=parse_order("-repo:createdDate")) == [3, 1, 2]


def test_a_cursor_of_dates_is_the_documented_one() -> None:
    """Milliseconds, a comma, the instance id; total counts from the page on."""
    rows = [instance(n, created_us=NOW + (n > 3) * 5000) for n in range(1, 6)]
    search = SearchQuery(order=parse_order("-repo:createdDate"), limit=3)
    page = run_search(search, rows)
    assert numbers(page.results) == [4, 5, 1]
    assert (page.total, page.next_start) == (5, f"1603395515489,{rows[0].instance_id}")
    rest = run_search(replace(search, start=page.next_start), rows)
    assert numbers(rest.results) == [2, 3]
    assert (rest.total, rest.next_start) == (2, None)


def test_the_default_cursor_is_the_last_instance_id() -> None:
    """Strictly after it, there or not."""
    rows = [instance(n) for n in range(1, 6)]
    page = run_search(SearchQuery(limit=2), rows)
    assert page.next_start == rows[1].instance_id
    without = [row for row in rows if row is not rows[1]]
    assert listed(without, limit=2, start=page.next_start) == [3, 4]


@pytest.mark.parametrize("sign", ["", "-"])
def test_every_kind_of_value_survives_its_cursor(sign: str) -> None:
    """Commas, marks, the empty text, numbers that look like texts."""
    values: list[Any] = [
        "a,b",
        "!",
        "!n1",
        "",
        "é%2C",
        "5",
        5,
        5.0,
        -1,
        0.1,
        2**60,
        True,
        False,
        None,
        [],
        {},
    ]
    values += ["x" * 500 + "a", "x" * 500 + "b", "2025-03-01T00:00:00Z", ["list"]]
    rows = [instance(n, v=value) for n, value in enumerate(values, 1)]
    order = parse_order(f"{sign}_instance.v,-repo:etag")
    seen: list[int] = []
    start: str | None = None
    while True:
        page = run_search(SearchQuery(order=order, limit=1, start=start), rows)
        seen += numbers(page.results)
        assert len(seen) <= len(values)
        start = page.next_start
        if start is None:
            break
        assert len(start) < 2000
    assert seen == listed(rows, order=order)
    assert sorted(seen) == list(range(1, len(values) + 1))


@pytest.mark.parametrize(
    ("order", "start"),
    [
        ("", "a,b"),
        ("", "not an id!"),
        ("", "x" * 65),
        ("repo:createdDate", "1603395515489"),
        ("repo:createdDate", "yesterday,00000000-0000-11eb-0000-000000000001"),
        ("repo:createdDate", ",00000000-0000-11eb-0000-000000000001"),
        ("repo:createdDate", "1603395515489,"),
        ("repo:createdDate", "9" * 5000 + ",a"),
        ("_instance.v", "!x,a"),
        ("_instance.v", "!n,a"),
        ("_instance.v", "!nNaN,a"),
        ("_instance.v", "!n1e999,a"),
        ("_instance.v", "!b2,a"),
        ("_instance.v", "!dx,a"),
        ("_instance.v", "%ff,a"),
        ("_instance.v", "a,b,c"),
    ],
)
def test_a_cursor_that_was_tampered_with_is_refused(order: str, start: str) -> None:
    """It is never quietly taken for another place."""
    with pytest.raises(Malformed):
        run_search(SearchQuery(order=parse_order(order), start=start), [instance(1)])


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (None, 50),
        ("1", 1),
        (" 20 ", 20),
        ("1000", 1000),
        ("1001", 1000),
        ("9" * 5000, 1000),
        ("0020", 20),
    ],
)
def test_a_limit_is_lowered_to_the_highest(text: str | None, limit: int) -> None:
    """A client that asks for everything gets the first thousand."""
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["0", "000", "-1", "+5", "1.5", "", "ten", "١", "1_0"])
def test_a_limit_that_is_no_count_is_invalid(text: str) -> None:
    """Zero is no page."""
    with pytest.raises(Invalid):
        parse_limit(text)


def test_a_search_holds_its_own_limit_to_the_same_bounds() -> None:
    """Also when it was not read from a parameter."""
    rows = [instance(n) for n in range(MAX_LIMIT + 1)]
    assert len(run_search(SearchQuery(limit=5000), rows).results) == MAX_LIMIT
    with pytest.raises(Invalid):
        run_search(SearchQuery(limit=0), rows)


def test_an_empty_library_has_an_empty_page() -> None:
    """With the order all the same."""
    page = run_search(SearchQuery(order=parse_order("-repo:createdDate")), [])
    assert (list(page.results), page.total, page.next_start) == ([], 0, None)
    assert page.order == (
        OrderKey(("repo:createdDate",), descending=True),
        OrderKey(("instanceId",)),
    )


# Slices.


async def test_a_sliced_search_gives_the_same_page_and_lets_others_run() -> None:
    """Ten thousand rows take many turns of the loop."""
    rows = [instance(n, xdm__name=f"offer {n % 97}", created_us=NOW - n) for n in range(10_000)]
    search = SearchQuery(
        text="offer",
        clauses=[parse_property("_instance.xdm:name~.*7")],
        order=parse_order("-repo:createdDate"),
    )
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    try:
        page = await run_search_sliced(search, rows)
    finally:
        other.cancel()

    assert page == run_search(search, rows)
    assert turns > 10
