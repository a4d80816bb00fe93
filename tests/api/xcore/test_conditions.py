"""If-Match and If-None-Match: nobody overwrites what they have not seen."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.xcore.library import library, patch, set_to, stored
from support.server import XCORE

MATCHES = ['"2"', "2", 'W/"2"', "*", '"1", "2"', '"x", 2', ' "2" ', '"002"']
MISMATCHES = ['"1"', "1", 'W/"3"', "abc", '"abc"', "", '"', "2.0", "-2", '"1","3"', "\xb2"]


@pytest.mark.parametrize("given", MATCHES)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_on_what_was_seen_is_done(method: str, given: str) -> None:
    """If-Match holds for the etag in any spelling, in a list, or as `*`."""
    with library() as (client, ids):
        decision = ids["offer-activity"]
        patch(client, decision, set_to("xdm:name", "second"))
        body: Any = {"PUT": stored(client, decision), "PATCH": [], "DELETE": None}[method]
        answer = client.request(method, f"{XCORE}/instances/{decision}", json=body, headers={"If-Match": given})

    assert answer.status_code == (202 if method == "DELETE" else 200)


@pytest.mark.parametrize("given", MISMATCHES)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_on_what_has_changed_is_409(method: str, given: str) -> None:
    """Any other If-Match is refused with 409, says the etag there is, and changes nothing (R1)."""
    with library() as (client, ids):
        decision = ids["offer-activity"]
        patch(client, decision, set_to("xdm:name", "second"))
        before = stored(client, decision)
        body: Any = {"PUT": {**before, "xdm:name": "third"}, "PATCH": [], "DELETE": None}[method]
        answer = client.request(
            method,
            f"{XCORE}/instances/{decision}",
            json=body,
            headers={b"If-Match": given.encode("latin-1")},
        )

        assert stored(client, decision) == before
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (409, 409, "stale")
    assert problem["title"] == "Conflict"
    assert problem["report"] == {"etag": 2}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_known_is_not_sent_again(method: str) -> None:
    """If-None-Match with the etag there is, or `*`, gets 304 without a body; any other gets the instance."""
    with library() as (client, ids):
        url = f"{XCORE}/instances/{ids['tag']}"
        for given, status in (
            ('"1"', 304),
            ("1", 304),
            ('W/"1"', 304),
            ('"7", "1"', 304),
            ("*", 304),
            ('"2"', 200),
            ("abc", 200),
            ("", 200),
        ):
            answer = client.request(method, url, headers={"If-None-Match": given})
            assert answer.status_code == status, given
            assert answer.headers["etag"] == '"1"'
            if status == 304:
                assert answer.content == b""
                assert "content-type" not in answer.headers


def test_of_two_writers_one_is_told() -> None:
    """Ten write on what all have seen, at once: one is acknowledged, nine get 409, and the one's word stands."""
    with library() as (client, ids), ThreadPoolExecutor(10) as many:
        answers = list(
            many.map(
                lambda number: patch(client, ids["tag"], set_to("xdm:name", f"by {number}"), If_Match='"1"'),
                range(10),
            )
        )
        name = stored(client, ids["tag"])["xdm:name"]

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 200]
    assert name == f"by {winner}"
