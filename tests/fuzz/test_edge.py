"""Whatever pages and apps send over the edge, and those who play them: no 5xx, documented problems, no harm."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.edge.golden import cases
from api.edge.requests import HERO_SCOPE, body, interact, offers
from api.ode.library import FOR_ALL, fill
from fuzz.mutations import ODD_TEXTS, bodies, header_values, mutated, queries, values
from fuzz.promises import check_promises
from fuzz.test_mutations import BOUNDED
from proffer.errors import Invalid, ProfferError
from proffer.validation import Shape, validate
from proffer.wire import edge
from proffer.wire.codec import decode, decode_as
from proffer.wire.consent import parse_stored_consent
from proffer.wire.ecid import decode_identity, is_ecid
from proffer.wire.scope import decode_scope
from support.golden import load
from support.server import server

GOLDEN = [load(path)["request"] for path in cases()]
BODIES = [one["body"] for one in GOLDEN if "body" in one]
PATHS = sorted({one["path"].partition("?")[0] for one in GOLDEN} | {"/ee/v2/interact"})
KEYS = [
    "kndctr_DEV_AdobeOrg_identity",
    "kndctr_DEV_AdobeOrg_consent",
    "kndctr_OTHER_AdobeOrg_identity",
    "FPID",
]
ORIGINS = ["https://www.shop.test", "null", "https://", "http://[", "é", "*", "https://a.test,b"]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client


def send(client: TestClient, content: bytes, path: str, **headers: bytes) -> int:
    """Send it as a page does; whatever it is, the answer keeps its promises."""
    client.cookies.clear()
    usual = {"content-type": b"text/plain", "origin": b"https://www.shop.test"}
    sent = {name.encode(): value for name, value in {**usual, **headers}.items()}
    answer = client.post(path, content=content, headers=sent)
    check_promises(answer.status_code, answer.headers, answer.content, "POST")
    assert answer.headers["vary"] == "Origin"
    if answer.status_code in {200, 207} and "set-cookie" in answer.headers:
        assert "Domain=" in answer.headers["set-cookie"]
    return answer.status_code


@BOUNDED
@given(content=bodies(BODIES), path=st.sampled_from(PATHS))
def test_mutated_requests(client: TestClient, content: bytes, path: str) -> None:
    """At every address, and afterwards a good one is answered as ever."""
    send(client, content, f"{path}?configId=dev")
    assert offers(interact(client, body(HERO_SCOPE))) == [[FOR_ALL]]


@BOUNDED
@given(content=st.binary(max_size=300), path=st.sampled_from(PATHS), query=queries)
def test_random_bytes_and_addresses(client: TestClient, content: bytes, path: str, query: str) -> None:
    send(client, content, f"{path}?{query}")
    send(client, content, f"{path}?configId=dev&{query}")


@BOUNDED
@given(
    kept=st.lists(
        st.tuples(st.sampled_from(KEYS), st.sampled_from(ODD_TEXTS) | st.text(max_size=40)),
        max_size=4,
    ),
    domain=st.sampled_from(["shop.test", "edge.test", *ODD_TEXTS]) | st.text(max_size=20),
    host=st.sampled_from(["edge.shop.test", "127.0.0.1", "[::1]", "a:b:c", "x"]),
)
def test_whatever_a_client_kept(client: TestClient, kept: list[tuple[str, str]], domain: str, host: str) -> None:
    """Entries and cookies of any content, domains of any kind: a visitor gets an identity, and no header breaks."""
    entries = [{"key": key, "value": value} for key, value in kept]
    state = {"domain": domain, "cookiesEnabled": True, "entries": entries}
    document = json.dumps(body(HERO_SCOPE, meta={"state": state}), ensure_ascii=True).encode()
    cookie = "; ".join(f"{key}={value}" for key, value in kept)
    headers = {"cookie": cookie.encode("latin-1", "replace").replace(b"\n", b"").replace(b"\r", b"")}
    headers["cookie"] = headers["cookie"].replace(b"\0", b"")
    send(client, document, "/ee/v1/interact?configId=dev", host=host.encode(), **headers)


@BOUNDED
@given(
    origin=st.sampled_from(ORIGINS).map(lambda one: one.encode("latin-1")),
    media=header_values.map(lambda one: one.encode("latin-1", "replace")),
    language=header_values.map(lambda one: one.encode("latin-1", "replace")),
)
def test_whatever_stands_in_the_headers(client: TestClient, origin: bytes, media: bytes, language: bytes) -> None:
    document = json.dumps(body(HERO_SCOPE)).encode()
    path = "/ee/v1/interact?configId=dev"
    send(client, document, path, origin=origin, **{"content-type": media})
    send(client, document, path, origin=origin, **{"accept-language": language})


@BOUNDED
@given(value=values)
def test_whatever_a_scope_says(client: TestClient, value: Any) -> None:
    """Base64 of any JSON, and of no JSON: never more than an unknown scope."""
    try:
        text = base64.b64encode(json.dumps(value).encode()).decode()
    except (ValueError, RecursionError):
        return
    assert send(client, json.dumps(body(text)).encode(), "/ee/v1/interact?configId=dev") in {
        200,
        207,
        422,
    }


@BOUNDED
@given(text=st.text(max_size=60) | st.sampled_from(ODD_TEXTS))
def test_no_text_breaks_a_reader(text: str) -> None:
    """Scopes, identities and consents: understood, or nothing."""
    named = decode_scope(text)
    assert named is None or named.decision is not None
    found = decode_identity(text)
    assert found is None or is_ecid(found)
    assert parse_stored_consent(text) is None or "general=" in text


@BOUNDED
@given(data=st.binary(max_size=80))
def test_no_bytes_break_the_reader_of_identities(data: bytes) -> None:
    """Protocol buffers of any kind."""
    found = decode_identity(base64.urlsafe_b64encode(data).decode())
    assert found is None or is_ecid(found)


@pytest.mark.parametrize(
    ("type_", "shape"),
    [
        (edge.EventsDoc, edge.EVENTS_SHAPE),
        (edge.OneEventDoc, edge.EVENT_SHAPE),
        (edge.RequestDoc, edge.ACQUIRE_SHAPE),
        (edge.ConsentsDoc, edge.CONSENT_SHAPE),
    ],
)
def test_both_readings_agree(type_: type[Any], shape: Shape) -> None:
    """The fast one refuses exactly what the thorough one complains of."""

    @BOUNDED
    @given(value=mutated(BODIES))
    def agree(value: Any) -> None:
        try:
            content = msgspec.json.encode(value)
            plain = decode(content)
        except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError, ProfferError):
            return  # a lone surrogate, a number out of range, too deep
        if b"\\u0000" in content:
            return  # NUL is taken out before, where it may stand
        mistakes = validate(shape, plain)
        found = []
        try:
            decode_as(type_, content, shape=shape)
        except Invalid as refused:
            found = list(refused.violations)
        assert found == mistakes

    agree()
