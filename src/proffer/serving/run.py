"""Run a server in the foreground: alone in this process, or as the parent of several workers."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from proffer.app import create_app, open_store
from proffer.config import Settings
from proffer.metrics import Counting
from proffer.service.monitoring import Sight
from proffer.serving.board import Row
from proffer.serving.connection import Connection
from proffer.serving.listening import (
    allow_connections,
    listen,
    listen_per_worker,
    shown,
    tls_context,
)
from proffer.serving.numbers import Numbers
from proffer.serving.parent import Parent
from proffer.serving.server import Server
from proffer.serving.traces import request_traces
from proffer.store.ports import Store
from proffer.telemetry import log_in_json, logs_in_json, say


def run(chosen: Settings, listener: socket.socket | None = None) -> None:
    """Serve until a signal.

    Raises `Unavailable` at once without the port, the database or the certificate. The database is
    brought up to date here, once, whatever the number of workers.
    """
    leave_in_order()
    allow_connections(chosen.max_connections)
    listener = listener or listen(chosen)
    try:
        tls_context(chosen)
        if chosen.traces:
            request_traces().close()  # whether there is what it needs
        store = asyncio.run(_opened(chosen))  # in the server, an error would come as a traceback
    except BaseException:
        listener.close()
        raise
    workers = f" with {chosen.workers} workers" if chosen.workers > 1 else ""
    mode = " in dev mode" if chosen.dev else ""
    address = shown(listener, tls=bool(chosen.tls_cert))
    say(f"proffer is listening on {address}{workers}{mode}")
    if chosen.log_format == "json":
        log_in_json()
    if chosen.workers > 1:
        listeners = listen_per_worker(listener, chosen.workers)
        raise SystemExit(Parent(chosen, listeners, _worker).run())

    async def opened(_: Settings) -> Store:
        return store

    server = make_server(chosen, listener, opened)
    server.heed()
    server.run()
    if not server.started:
        raise SystemExit(3)


async def _opened(chosen: Settings) -> Store:
    """The store, brought up to date; of several workers each opens its own later."""
    store = await open_store(chosen)
    if chosen.workers > 1:
        await store.close()
    return store


def make_server(
    chosen: Settings,
    listener: socket.socket,
    opening: Callable[[Settings], Awaitable[Store]] = open_store,
    row: Row | None = None,
) -> Server:
    """The app of these settings on a listener."""
    sight = Sight(counting=chosen.metrics, worker=str(row.index) if row is not None else "0")
    numbers = None
    if row is not None and isinstance(sight.meters, Counting):
        numbers = Numbers(sight.meters, row)
        sight.reading = numbers.all
    traces = request_traces() if chosen.traces else None
    json_log = chosen.log_format == "json"
    config = uvicorn.Config(
        create_app(chosen, opening=opening, sight=sight, traces=traces),
        http=Connection,
        ws="none",
        log_config=logs_in_json() if json_log else _logs(uvicorn.config.LOGGING_CONFIG),
        access_log=chosen.access_log and not json_log,
        server_header=False,
        proxy_headers=False,  # a connection sees to them where there are any
        lifespan="on",
    )
    server = Server(
        config, chosen, listener, sight, tls=tls_context(chosen), row=row, numbers=numbers
    )
    if traces is not None:
        server.at_the_end.append(traces.close)
    return server


def _worker(chosen: Settings, listener: socket.socket, row: Row) -> Server:
    return make_server(chosen, listener, row=row)


def _logs(usual: dict[str, Any]) -> dict[str, Any]:
    """Warnings and worse, and where it is asked for a line per request."""
    levels = {"uvicorn": "WARNING", "uvicorn.error": "WARNING", "uvicorn.access": "INFO"}
    loggers = {
        name: {**usual["loggers"].get(name, {}), "level": level} for name, level in levels.items()
    }
    return {**usual, "loggers": loggers}


def leave_in_order() -> None:
    """From now on SIGTERM unwinds like any exit, so that what was made for the time being is removed.

    The server catches the signal, finishes what it has begun, and raises it again.
    """

    def leave(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
