"""A connection that is handed bytes directly: what it answers when parsing a request fails."""

import asyncio
import json
import logging
from typing import Any

import pytest
import uvicorn

from proffer.config import Settings
from proffer.metrics import NO_METRICS
from proffer.serving.connection import Connection, SharedState


class RecordingTransport(asyncio.Transport):
    """A transport that keeps what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def answer_to(request: bytes) -> tuple[int, str]:
    """The status and the problem code of a connection's answer; the connection is closed by then."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    async def exchange() -> RecordingTransport:
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        connection = Connection(config, SharedState(Settings(), NO_METRICS), {})
        transport = RecordingTransport()
        connection.connection_made(transport)
        connection.data_received(request)
        return transport

    transport = asyncio.run(exchange())
    assert transport.closed
    head, _, body = transport.written.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["code"]


def test_an_exception_in_a_parser_callback_is_a_500(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the server's mistake: the log has its whole traceback, the answer nothing of it."""

    def broken(_: Connection) -> None:
        raise ValueError("a bug of ours")

    monkeypatch.setattr(Connection, "_start_request", broken)
    with caplog.at_level(logging.ERROR, "proffer"):
        assert answer_to(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == (500, "internal")
    (record,) = [one for one in caplog.records if one.name == "proffer"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert record.exc_text is not None
    assert "in broken" in record.exc_text


@pytest.mark.parametrize("request_line", [b"GET /\xc3\xa9", b"GET http://host", b"GET http://host?x", b"GET x", b"\0"])
def test_a_target_that_is_no_path_is_a_400(caplog: pytest.LogCaptureFixture, request_line: bytes) -> None:
    """It is the client's mistake, and no error in the log."""
    with caplog.at_level(logging.ERROR):
        assert answer_to(request_line + b" HTTP/1.1\r\nHost: x\r\n\r\n") == (400, "not-http")
    assert caplog.records == []
