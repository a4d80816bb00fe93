"""What only a real connection shows: bytes that no client library sends, and bodies nobody waits for."""

import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from support.process import run_server
from support.server import NAMESPACE, XCORE

Send = tuple[str, int]
TAG = f'Content-Type: application/schema-instance+json; schema="{NAMESPACE}tag"'.encode()
POST = f"POST {XCORE}/instances HTTP/1.1".encode()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Send]:
    with run_server(tmp_path_factory.mktemp("http")) as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


def ask(address: Send, *lines: bytes, body: bytes = b"") -> tuple[int, bytes, bytes]:
    """Send these lines and this body, whatever they are; status, head and body of the answer."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        got = b""
        while b"\r\n\r\n" not in got:
            part = connection.recv(65_536)
            assert part, f"the connection ended after {got!r}"
            got += part
        head, _, rest = got.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: (\d+)", head)
        expected = int(length[1]) if length and not lines[0].startswith(b"HEAD") else 0
        while len(rest) < expected:
            part = connection.recv(65_536)
            assert part, "the answer was cut off"
            rest += part
        return int(head.split()[1]), head, rest


@pytest.mark.parametrize("given", [b"\xff\xe9", "été".encode(), b'"; \xa0,'])
def test_odd_bytes_in_a_header_are_echoed_as_they_came(address: Send, given: bytes) -> None:
    """A request id that is no ASCII comes back byte for byte, and harms no other header."""
    for path in (b"/data/core/xcore/", b"/nothing"):
        _, head, _ = ask(address, b"GET " + path + b" HTTP/1.1", b"Host: x", b"x-request-id: " + given)
        assert b"x-request-id: " + given.strip() in head.split(b"\r\n")


@pytest.mark.parametrize("header", [b"Accept: \xff", b"If-Match: \xb2", b"x-api-key: \xe9", b"x-sandbox-name: \xe9"])
def test_odd_bytes_in_other_headers_are_no_bug(address: Send, header: bytes) -> None:
    """They are compared, kept or ignored; nothing fails over them."""
    body = b'{"xdm:name": "%s"}' % header.split(b":")[0]
    status, _, _ = ask(address, POST, b"Host: x", header, TAG, b"Content-Length: %d" % len(body), body=body)
    assert status == 201


def test_a_host_is_not_needed(address: Send) -> None:
    """HTTP/1.0 has none; the links then start from the address that was connected to."""
    body = b'{"xdm:name": "hostless"}'
    line = POST.replace(b"1.1", b"1.0")
    status, head, _ = ask(address, line, TAG, b"Content-Length: %d" % len(body), body=body)
    assert status == 201
    assert b"location: http://127.0.0.1:%d/data/core/xcore/" % address[1] in head


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", [XCORE, "/data/core/xcore/nowhere", "/data/core/nowhere"])
def test_who_sends_too_much_gets_to_read_why(address: Send, path: str, chunked: bool) -> None:
    """Also when the connection ends after the answer: what was still on its way is taken in first (R39)."""
    if chunked:
        length = b"Transfer-Encoding: chunked"
        body = b"186a0\r\n%b\r\n" % (b"x" * 100_000) * 40 + b"0\r\n\r\n"
    else:
        length, body = b"Content-Length: 4000000", b"x" * 4_000_000
    line = f"POST {path}/instances HTTP/1.1".encode()
    status, head, answer = ask(address, line, b"Host: x", b"Connection: close", TAG, length, body=body)
    assert status == (413 if path == XCORE else 404)
    assert b"application/problem+json" in head
    assert b'"requestId"' in answer


def test_who_waits_for_our_word_is_not_asked_to_send(address: Send) -> None:
    """A refusal that needs no body comes before `100 Continue`."""
    status, _, _ = ask(
        address,
        b"POST /data/core/xcore/nowhere/instances HTTP/1.1",
        b"Host: x",
        b"Expect: 100-continue",
        b"Content-Length: 4000000",
    )
    assert status == 404


def test_head_has_no_body(address: Send) -> None:
    """And says the length that GET would have."""
    lines = (b"Host: x", b"Connection: close")
    path = f"{XCORE}/instances?schema={NAMESPACE}sandwich HTTP/1.1".encode()
    status, head, rest = ask(address, b"HEAD " + path, *lines)
    assert (status, rest) == (400, b"")
    _, _, body = ask(address, b"GET " + path, *lines)
    assert b"content-length: %d" % len(body) in head


def test_one_who_hangs_up_harms_nobody(address: Send) -> None:
    """Clients that leave in the middle of a body, or before the answer; others are served as before."""
    for sent in (b'{"xdm:na', b'{"xdm:name": "left"}'):
        with socket.create_connection(address) as connection:
            connection.sendall(b"\r\n".join([POST, b"Host: x", TAG, b"Content-Length: 20"]) + b"\r\n\r\n" + sent)
    body = b'{"xdm:name": "stayed"}'
    status, _, _ = ask(address, POST, b"Host: x", TAG, b"Content-Length: %d" % len(body), body=body)
    assert status == 201


def test_the_reason_phrase_is_not_empty(address: Send) -> None:
    """Clients show it: it is all some of them say of an error."""
    for line in (b"GET /data/core/xcore/ HTTP/1.1", b"GET /nothing HTTP/1.1"):
        _, head, _ = ask(address, line, b"Host: x")
        assert len(head.split(b"\r\n")[0].split(b" ", 2)[2]) > 1


@pytest.mark.parametrize("query", [b"&name=%zz%ff", b"&q=%", b"&q=%00", b"#fragment", b"&orderby=+repo:createdDate"])
def test_a_query_arrives_as_it_was_sent(address: Send, query: bytes) -> None:
    """Raw `;`, `:`, `=` and what cannot be decoded."""
    path = f"{XCORE}/instances?schema={NAMESPACE}tag;version=0.1&property=repo:etag==1".encode()
    status, _, body = ask(address, b"GET " + path + query + b" HTTP/1.1", b"Host: x")
    assert status == 200
    assert b'tag;version=0.1"' in body
