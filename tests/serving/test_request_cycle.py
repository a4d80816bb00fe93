"""A request and its answer in one piece, past the messages of ASGI."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from proffer.api.kit.request import FULL_BODY
from proffer.serving.request_cycle import FastRequestCycle

JSON = (b"content-type", b"application/json")


class Wire(asyncio.Transport):
    """A transport that remembers what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def a_cycle(wire: Wire, *, method: str = "POST", keep_alive: bool = True, **more: Any) -> FastRequestCycle:
    scope: Any = {"type": "http", "method": method, "headers": []}
    cycle = FastRequestCycle(
        scope=scope,
        transport=wire,
        flow=FlowControl(wire),
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=more.get("access_log", False),
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=more.get("on_response", lambda: None),
    )
    cycle.head = b"date: today\r\n"
    scope["extensions"] = {FULL_BODY: cycle}
    return cycle


async def test_an_answer_is_written_whole() -> None:
    """In one write, with the headers that every answer has; then the connection is free."""
    wire, done = Wire(), []
    cycle = a_cycle(wire, on_response=lambda: done.append(1))
    assert cycle.send_response(200, [(b"content-length", b"2"), JSON], b"{}")
    assert wire.sent == (
        b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"
    )
    assert (done, wire.closed, cycle.response_complete) == ([1], False, True)
    assert not cycle.send_response(200, [JSON], b"{}")


async def test_the_last_answer_says_so() -> None:
    """And the connection is closed after it."""
    wire = Wire()
    assert a_cycle(wire, keep_alive=False).send_response(200, [JSON], b"{}")
    assert wire.sent.endswith(b"\r\nconnection: close\r\n\r\n{}")
    assert wire.closed


@pytest.mark.parametrize(
    ("how", "status", "headers"),
    [
        ({"method": "HEAD"}, 200, [JSON]),
        ({"access_log": True}, 200, [JSON]),
        ({}, 204, []),
        ({}, 304, []),
        ({}, 200, [(b"connection", b"close")]),
        ({}, 200, [(b"transfer-encoding", b"chunked")]),
        ({}, 200, [(b"x-request-id", b"a\r\nx-other: b")]),
        ({}, 200, [(b"x-request-id", b"a\0b")]),
    ],
)
async def test_what_is_out_of_the_ordinary_goes_by_messages(
    how: dict[str, Any], status: int, headers: Sequence[tuple[bytes, bytes]]
) -> None:
    """Nothing of it is written."""
    wire = Wire()
    assert not a_cycle(wire, **how).send_response(status, headers, b"")
    assert wire.sent == b""


async def test_a_body_is_taken_when_all_of_it_is_here() -> None:
    cycle = a_cycle(Wire())
    cycle.body += b'{"a":'
    assert cycle.complete_body() is None
    cycle.body += b"1}"
    cycle.more_body = False
    assert cycle.complete_body() == b'{"a":1}'


def test_a_request_leaves_nothing_to_the_garbage_collector() -> None:
    """A scope that knows its cycle would be kept until somebody looks, and to look stops everything."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        assert scope["extensions"][FULL_BODY].send_response(200, [JSON], b"{}")

    async def story() -> None:
        cycle = a_cycle(Wire())
        gone = weakref.ref(cycle)
        await cycle.run_asgi(answer)
        del cycle
        assert gone() is None

    gc.disable()
    try:
        asyncio.run(story())
    finally:
        gc.enable()
