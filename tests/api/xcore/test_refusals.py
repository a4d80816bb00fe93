"""What is wrong with a request, in words: problem documents, every mistake with its place (R37, R39)."""

from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import Response

from api.xcore.library import BARE, HAL, HERO, codes, documents, library, post, representation
from proffer.app import DEV_CONTAINER
from support.server import NAMESPACE, XCORE, server

TAG_TYPE = {"Content-Type": f'{BARE}; schema="{NAMESPACE}tag"'}


def assert_problem(answer: Response, status: int, code: str) -> dict[str, Any]:
    """A problem document with all its members, and the request id in both places."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert list(problem)[:5] == ["type", "title", "status", "detail", "code"]
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:proffer:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["requestId"] == answer.headers["x-request-id"]
    return problem


MALFORMED: list[tuple[str, bytes, str, int, int]] = [
    ("empty", b"", "empty", 1, 1),
    ("blank", b" \n ", "empty", 1, 1),
    ("cut off", b'{"xdm:name": "a"', "syntax", 1, 17),
    ("second line", b'{"xdm:name": "a",\n  oops}', "syntax", 2, 3),
    ("trailing text", b'{"xdm:name": "a"} x', "syntax", 1, 19),
    ("not a number", b'{"xdm:name": NaN}', "syntax", 1, 14),
    ("latin-1", '{"xdm:name": "\xe9"}'.encode("latin-1"), "encoding", 1, 15),
    ("utf-16", '{"xdm:name": "a"}'.encode("utf-16"), "encoding", 1, 1),
    ("lone surrogate", rb'{"xdm:name": "a\ud800"}', "surrogate", 1, 16),
    ("lone low surrogate", rb'{"xdm:name": "\udc00"}', "surrogate", 1, 15),
    ("encoded surrogate", b'{"xdm:name": "\xed\xa0\x80"}', "encoding", 1, 15),
    ("deep lists", b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "depth", 1, 106),
    ("deep objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "depth", 1, 501),
    ("deep and unclosed", b"[" * 10_000, "depth", 1, 101),
]


@pytest.mark.parametrize(("body", "code", "line", "column"), [c[1:] for c in MALFORMED], ids=[c[0] for c in MALFORMED])
def test_what_is_no_json_is_400_with_its_place(body: bytes, code: str, line: int, column: int) -> None:
    """Syntax, encoding, half characters and depth, on every method that takes a body."""
    with library() as (client, ids):
        instance = f"{XCORE}/instances/{ids['tag']}"
        for method, url in (("POST", f"{XCORE}/instances"), ("PUT", instance), ("PATCH", instance)):
            answer = client.request(method, url, content=body, headers=TAG_TYPE)
            problem = assert_problem(answer, 400, "malformed")
            (violation,) = problem["report"]["violations"]
            assert (violation["code"], violation["line"], violation["column"]) == (
                code,
                line,
                column,
            )
            assert violation["help"]


@pytest.mark.parametrize("value", ["[]", "7", '"text"', "null", "true"])
def test_a_body_that_is_no_object_is_422(value: str) -> None:
    """It is JSON, but no instance."""
    with server() as client:
        answer = client.post(f"{XCORE}/instances", content=value, headers=TAG_TYPE)

    assert assert_problem(answer, 422, "invalid")["report"]["violations"][0]["path"] == "$"


def test_all_mistakes_come_in_one_answer() -> None:
    """Shapes, dates, NUL and references, each with its path; what is wrong in many places is told in many."""
    document = {
        **documents()["personalized-offer"],
        "@id": "xcore:personalized-offer:77",
        "xdm:name": "a\0b",
        "xdm:status": "sold",
        "xdm:representations": [
            {**representation("xcore:offer-placement:dead"), "xdm:channel": 7},
            {"xdm:components": [{"@type": ""}, "text"]},
        ],
        "xdm:rank": {"xdm:priority": -1},
        "xdm:selectionConstraint": {
            "xdm:startDate": "2021-01-01T00:00:00",
            "xdm:endDate": "yesterday",
            "xdm:eligibilityRule": "xcore:tag:c1",
        },
        "xdm:tags": ["xcore:tag:gone"],
        "xdm:characteristics": {"a": 1},
        "xdm:cappingConstraint": {"xdm:globalCap": 0, "xdm:profileCap": 1.5},
        "_tenant": {"nested": ["\0"], "name\0": 1},
    }
    mistakes = [
        ("nul", "$.xdm:name"),
        ("enum", "$.xdm:status"),
        ("type", "$.xdm:representations[0].xdm:channel"),
        ("range", "$.xdm:representations[1].xdm:components[0].@type"),
        ("required", "$.xdm:representations[1].xdm:components[0].dc:format"),
        ("type", "$.xdm:representations[1].xdm:components[1]"),
        ("required", "$.xdm:representations[1].xdm:placement"),
        ("range", "$.xdm:rank.xdm:priority"),
        ("format", "$.xdm:selectionConstraint.xdm:startDate"),
        ("format", "$.xdm:selectionConstraint.xdm:endDate"),
        ("kind", "$.xdm:selectionConstraint.xdm:eligibilityRule"),
        ("format", "$.xdm:tags[0]"),
        ("type", "$.xdm:characteristics.a"),
        ("range", "$.xdm:cappingConstraint.xdm:globalCap"),
        ("type", "$.xdm:cappingConstraint.xdm:profileCap"),
        ("nul", "$._tenant.nested[0]"),
        ("nul", '$._tenant["name\\u0000"]'),
        ("unknown-reference", "$.xdm:representations[0].xdm:placement"),
    ]
    with library() as (client, ids):
        bare = post(client, "personalized-offer", document)
        assert sorted(codes(bare)) == sorted(mistakes)
        problem = assert_problem(bare, 422, "invalid")
        assert all(one["help"] and one["message"] for one in problem["report"]["violations"])

        media = {"Content-Type": f'{HAL}; schema="{NAMESPACE}personalized-offer"'}
        body = {"_instance": document, "_links": {}}
        wrapped = client.post(f"{XCORE}/instances", json=body, headers=media)
        under = sorted((code, f"$._instance{path[1:]}") for code, path in mistakes)
        assert sorted(codes(wrapped)) == under
        kept = {**document, "@id": "xcore:personalized-offer:e1"}
        put = client.put(f"{XCORE}/instances/{ids['personalized-offer']}", json={"_instance": kept})
        assert sorted(codes(put)) == under


DATES: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z", []),
    ("2021-01-01T00:00:00+02:00", "2020-12-31T22:00:00.000Z", []),
    ("2021-01-01T00:00:00.123456789Z", "2099-12-31T23:59:59-11:30", []),
    ("2021-01-02T00:00:00Z", "2021-01-01T00:00:00Z", [("range", "xdm:endDate")]),
    ("2021-01-01T00:00:00Z", "2021-01-01T01:00:00+02:00", [("range", "xdm:endDate")]),
    ("2021-01-01", "2021-01-01T00:00:00", [("format", "xdm:startDate"), ("format", "xdm:endDate")]),
    ("2021-02-30T00:00:00Z", "2021-13-01T00:00:00Z", [("format", "xdm:startDate"), ("format", "xdm:endDate")]),
    ("", "", [("format", "xdm:startDate"), ("format", "xdm:endDate")]),
]  # fmt: skip


@pytest.mark.parametrize(("start", "end", "mistakes"), DATES)
def test_dates_have_a_zone_and_an_order(start: str, end: str, mistakes: list[tuple[str, str]]) -> None:
    """Any zone will do, none will not; the end is not before the start (R15, R39)."""
    dates = {"xdm:startDate": start, "xdm:endDate": end}
    with library() as (client, _):
        for kind, place, members in (
            (
                "personalized-offer",
                "$.xdm:selectionConstraint.",
                {"xdm:selectionConstraint": dates},
            ),
            ("offer-activity", "$.", dates),
        ):
            document = {**documents()[kind], **members}
            del document["@id"]
            answer = post(client, kind, document)
            if not mistakes:
                assert answer.status_code == 201, answer.text
            else:
                assert codes(answer) == [(code, place + name) for code, name in mistakes]


def test_numbers_that_do_not_fit_are_told() -> None:
    """In a member nobody documents as in any other: it could not be given back as it was."""
    with server() as client:
        answer = client.post(
            f"{XCORE}/instances",
            content=b'{"xdm:name": "a", "x": [1, 99999999999999999999], "y": 1e999}',
            headers=TAG_TYPE,
        )

    assert codes(answer) == [("range", "$.x[1]"), ("range", "$.y")]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1_000_001, 3_000_000, 20_000_000])
def test_a_body_that_is_too_large_is_413(size: int, chunked: bool) -> None:
    """However it is sent; a body of exactly 1 MB is read (R27)."""

    def parts() -> Iterator[bytes]:
        for _ in range(size // 100_000):
            yield b"x" * 100_000
        yield b"x" * (size % 100_000)

    with library() as (client, ids):
        for method, url in (
            ("POST", f"{XCORE}/instances"),
            ("PUT", f"{XCORE}/instances/{ids['tag']}"),
            ("PATCH", f"{XCORE}/instances/{ids['tag']}"),
        ):
            content = parts() if chunked else b"x" * size
            answer = client.request(method, url, content=content, headers=TAG_TYPE)
            assert "1,000,000" in assert_problem(answer, 413, "too-large")["detail"]


def test_a_body_of_a_megabyte_is_read() -> None:
    """The limit itself is still within it."""
    with server() as client:
        text = b'{"xdm:name": "a", "filling": "' + b"x" * (1_000_000 - 32) + b'"}'
        assert len(text) == 1_000_000
        answer = client.post(f"{XCORE}/instances", content=text, headers=TAG_TYPE)
        assert answer.status_code == 201, answer.text


def test_a_large_offer_gets_a_warning_and_a_larger_one_is_refused() -> None:
    """Above 1 KB the receipt warns, above 300 KB there is none (R32)."""
    with library() as (client, _):
        for kind in ("personalized-offer", "fallback-offer"):
            for size, status, warned in (
                (100, 201, False),
                (2_000, 201, True),
                (299_000, 201, True),
                (310_000, 422, False),
            ):
                document = {
                    **documents()[kind],
                    "xdm:representations": [representation(HERO, content="x" * size)],
                }
                del document["@id"]
                answer = post(client, kind, document)
                assert answer.status_code == status
                assert ("warning" in answer.headers) == warned
                if warned:
                    assert answer.headers["warning"].startswith('199 proffer "')
                if status == 422:
                    assert codes(answer) == [("limit", "$")]
                    message = answer.json()["report"]["violations"][0]["message"]
                    assert "307,200 bytes per offer" in message
        assert "warning" not in post(client, "tag", {"xdm:name": "t", "x": "x" * 2_000}).headers


ADDRESSES = [
    ("GET", "/", 404, "no-such-path"),
    ("GET", "/nothing", 404, "no-such-path"),
    ("POST", "/data/core/xcor", 404, "no-such-path"),
    ("GET", f"{XCORE}/instances//", 404, "no-such-path"),
    ("GET", "//data/core/xcore/", 404, "no-such-path"),
    ("GET", f"{XCORE}/instances/a/b", 404, "no-such-path"),
    ("GET", "/data/core/xcore/x/instances/y", 404, "container-not-found"),
    ("GET", "/data/core/xcore/%00/instances/%00", 404, "container-not-found"),
    ("GET", "/data/core/xcore/a%2Fb/instances", 404, "no-such-path"),
    ("GET", "/data/core/xcore/" + "a" * 30_000 + "/instances/y", 404, "container-not-found"),
    ("GET", f"{XCORE}/instances/not-a-uuid", 404, "instance-not-found"),
    ("GET", f"{XCORE}/instances/" + "a" * 30_000, 404, "instance-not-found"),
    ("DELETE", f"{XCORE}/instances/%F0%9F%98%80%FF", 404, "instance-not-found"),
    ("DELETE", f"{XCORE}/instances", 405, "method-not-allowed"),
    ("PUT", f"{XCORE}/instances", 405, "method-not-allowed"),
    ("POST", f"{XCORE}/instances/x", 405, "method-not-allowed"),
    ("POST", "/data/core/xcore/", 405, "method-not-allowed"),
    ("OPTIONS", f"{XCORE}/queries/core/search", 405, "method-not-allowed"),
    ("DELETE", f"/data/core/xcore/containers/{DEV_CONTAINER}", 405, "method-not-allowed"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), ADDRESSES)
def test_an_address_nobody_serves_is_a_problem(method: str, path: str, status: int, code: str) -> None:
    """Unknown paths, ids and methods; what is echoed of the path is bounded, and nothing redirects."""
    with server() as client:
        answer = client.request(method, path, follow_redirects=False)

    problem = assert_problem(answer, status, code)
    assert len(problem["detail"]) < 600
    if status == 405:
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed
        assert method not in allowed
        assert ("GET" in allowed) == ("HEAD" in allowed)


def test_head_is_served_where_get_is() -> None:
    """With the headers of the answer and no body, also for errors."""
    with library() as (client, ids):
        for path in (
            "/data/core/xcore/",
            f"/data/core/xcore/containers/{DEV_CONTAINER}",
            f"{XCORE}/instances?schema={NAMESPACE}tag",
            f"{XCORE}/instances/{ids['tag']}",
            f"{XCORE}/instances/nothing",
        ):
            got, head = client.get(path), client.head(path)
            assert head.status_code == got.status_code
            assert head.headers["content-type"] == got.headers["content-type"]


REQUEST_IDS = [
    b"unique-requestid-1",
    b"0123456789abcdef0123456789abcdef",
    b"a b; \"c\", 'd'",
]


@pytest.mark.parametrize("given", REQUEST_IDS)
def test_a_request_id_is_echoed_on_every_answer(given: bytes) -> None:
    """Any text, on success, refusals, 304, 404 and 405; who sends none gets one, new each time."""
    with library() as (client, ids):
        instance = f"{XCORE}/instances/{ids['tag']}"
        calls: list[tuple[str, str, dict[bytes, bytes]]] = [
            ("GET", "/data/core/xcore/", {}),
            ("GET", instance, {b"If-None-Match": b"*"}),
            ("PATCH", instance, {}),
            ("POST", f"{XCORE}/instances", {}),
            ("GET", "/nothing", {}),
            ("DELETE", "/data/core/xcore/", {}),
            ("DELETE", instance, {}),
        ]
        fresh = set()
        for method, path, headers in calls:
            answer = client.request(method, path, headers={**headers, b"x-request-id": given})
            assert answer.headers["x-request-id"].encode("latin-1") == given
            if answer.status_code >= 400:
                assert answer.json()["requestId"].encode("latin-1") == given
            fresh.add(client.request(method, path, headers=headers).headers["x-request-id"])
        assert len(fresh) == len(calls)
        long = client.get("/nothing", headers={"x-request-id": "z" * 5_000})
        assert 0 < len(long.headers["x-request-id"]) <= 200


def test_a_bug_says_nothing_of_the_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 as a problem document with the request id; the log has the rest."""
    from proffer.api.xcore import listing

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(listing, "read_search", broken)
    with server() as client:
        answer = client.get(f"{XCORE}/instances?schema=x", headers={"x-request-id": "mine"})

    problem = assert_problem(answer, 500, "internal")
    assert problem["requestId"] == "mine"
    assert "secret" not in answer.text


HOSTS = ["", "[::1", "a b", "evil.example/x?y", "a@b", "h:port", "x" * 3_000, "\xff\xfe"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_strange_host_header_breaks_nothing(host: str) -> None:
    """The write is done and answered once, and links stay addresses."""
    with server() as client:
        answer = client.post(
            f"{XCORE}/instances",
            json={"xdm:name": "a"},
            headers={
                b"Host": host.encode("latin-1"),
                b"Content-Type": TAG_TYPE["Content-Type"].encode(),
            },
        )
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"].startswith("http://")
        assert answer.headers["location"].count("?") == 0
        missing = client.get("/nothing", headers={b"Host": host.encode("latin-1")})
        assert missing.status_code == 404


QUERIES = [
    "&name=%zz%ff%",
    "&q=%",
    "&q=%00",
    "&q=\\",
    "&&&",
    "&=",
    "&schema",
    "&limit=1&limit=2",
    "&orderby=xdm:name&orderBy=-repo:createdDate",
    "&field=_instance.xdm:name&field=",
    "&%FF=%FE",
    "&q=" + "a" * 20_000,
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_strange_query_is_answered(query: str) -> None:
    """What cannot be decoded is no reason to fail; of a parameter given twice one counts."""
    with library() as (client, _):
        answer = client.get(f"{XCORE}/instances?schema={NAMESPACE}tag{query}")

    assert answer.status_code == 200, answer.text
    assert answer.json()["_embedded"]["count"] <= 1
