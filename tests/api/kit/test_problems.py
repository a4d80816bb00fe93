"""From errors to problem documents."""

import json

import pytest

from proffer.api.kit.problems import (
    STATUS,
    TITLES,
    describe,
    error_headers,
    problem,
    problem_response,
    problem_type,
)
from proffer.errors import (
    Busy,
    Conflict,
    Invalid,
    Kind,
    NotFound,
    ProfferError,
    Stale,
    Unauthenticated,
    Unavailable,
    Violation,
)


def test_every_kind_has_a_status_and_every_status_a_title() -> None:
    """A new kind of error cannot be forgotten here."""
    assert set(STATUS) == set(Kind)
    assert set(STATUS.values()) <= set(TITLES)


@pytest.mark.parametrize("kind", list(ProfferError.__subclasses__()))
def test_every_error_becomes_a_whole_document(kind: type[ProfferError]) -> None:
    """Type, title, status, detail and code in this order, then the request id; nothing empty."""
    document = describe(kind("what happened"), "id")

    assert list(document) == ["type", "title", "status", "detail", "code", "requestId"]
    assert document["detail"] == "what happened"
    assert document["status"] == STATUS[kind.kind]


def test_mistakes_are_listed_with_what_is_known_of_each() -> None:
    """Members that say nothing are left out; what else is reported stands beside them."""
    error = Conflict(
        "no",
        violations=[
            Violation(code="a", message="A", path="$.x", help="mend"),
            Violation(code="b", message="B", line=1, column=2),
        ],
        extra={"report": {"referrers": [1]}, "more": 7},
    )

    document = describe(error, None)

    assert document["report"] == {
        "referrers": [1],
        "violations": [
            {"code": "a", "message": "A", "path": "$.x", "help": "mend"},
            {"code": "b", "message": "B", "line": 1, "column": 2},
        ],
    }
    assert document["more"] == 7
    assert "requestId" not in document
    assert error.extra == {"report": {"referrers": [1]}, "more": 7}


def test_a_surface_may_have_a_status_of_its_own() -> None:
    """The repository API answers a stale condition with 409, everybody else with 412 (R1)."""
    assert describe(Stale("s"), None)["status"] == 412
    assert describe(Stale("s"), None, {Kind.STALE: 409})["status"] == 409
    assert describe(Stale("s"), None, {Kind.STALE: 409})["title"] == "Conflict"
    assert describe(NotFound("n"), None, {Kind.STALE: 409})["status"] == 404


def test_documented_codes_have_documented_types() -> None:
    """Ours are URNs, so that nobody looks for a page of Adobe's."""
    assert problem_type("ODE-0001-404") == "https://ns.adobe.com/aep/errors/ODE-0001-404"
    assert problem_type("stale") == "urn:proffer:problem:stale"


def test_some_errors_oblige_headers() -> None:
    """How to authenticate, and when to come again."""
    assert error_headers(Unauthenticated("u")) == {"WWW-Authenticate": 'Bearer realm="proffer"'}
    for later in (Busy("b"), Unavailable("u")):
        assert int(error_headers(later)["Retry-After"]) >= 1
    assert error_headers(Invalid("i")) == {}


def test_an_answer_repeats_what_the_document_says() -> None:
    """Status and request id, and the media type of problems."""
    answer = problem_response(problem(418, "teapot", "d", requestId="r", report={}), {"Allow": "GET"})

    assert answer.status_code == 418
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "r"
    assert answer.headers["allow"] == "GET"
    assert json.loads(bytes(answer.body)) == {
        "type": "urn:proffer:problem:teapot",
        "title": "Error",
        "status": 418,
        "detail": "d",
        "code": "teapot",
        "requestId": "r",
    }
