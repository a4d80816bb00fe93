"""Run a server in the foreground: alone in this process, or as the parent of several workers."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from proffer.app import create_app, open_store
from proffer.config import Settings
from proffer.metrics import InMemoryMetrics
from proffer.service.monitoring import Monitoring
from proffer.serving.connection import Connection
from proffer.serving.metrics_aggregator import MetricsAggregator
from proffer.serving.parent import Parent
from proffer.serving.server import Server
from proffer.serving.sockets import (
    allow_connections,
    listen,
    listen_per_worker,
    listener_url,
    tls_context,
)
from proffer.serving.traces import request_traces
from proffer.serving.worker_table import WorkerSlot
from proffer.store.ports import Store
from proffer.telemetry import enable_json_log, json_log_config, print_line


def run(settings: Settings, listener: socket.socket | None = None) -> None:
    """Serve until a signal.

    Raises `Unavailable` before serving if the port, the database or the certificate cannot be used. The
    database is migrated here, once, whatever the number of workers.
    """
    exit_on_sigterm()
    allow_connections(settings.max_connections)
    listener = listener or listen(settings)
    try:
        tls_context(settings)
        if settings.traces:
            request_traces().close()  # raises if the extra is missing
        store = asyncio.run(_open_store(settings))  # an error inside the server would be a traceback
    except BaseException:
        listener.close()
        raise
    workers = f" with {settings.workers} workers" if settings.workers > 1 else ""
    mode = " in dev mode" if settings.dev else ""
    address = listener_url(listener, tls=bool(settings.tls_cert))
    print_line(f"proffer is listening on {address}{workers}{mode}")
    if settings.log_format == "json":
        enable_json_log()
    if settings.workers > 1:
        listeners = listen_per_worker(listener, settings.workers)
        raise SystemExit(Parent(settings, listeners, _make_worker_server).run())

    async def return_store(_: Settings) -> Store:
        return store

    server = make_server(settings, listener, return_store)
    server.install_sigterm()
    server.run()
    if not server.started:
        raise SystemExit(3)


async def _open_store(settings: Settings) -> Store:
    """Open and migrate the store; closed again for several workers, which open it themselves."""
    store = await open_store(settings)
    if settings.workers > 1:
        await store.close()
    return store


def make_server(
    settings: Settings,
    listener: socket.socket,
    store_opener: Callable[[Settings], Awaitable[Store]] = open_store,
    slot: WorkerSlot | None = None,
) -> Server:
    """Return a server of the app on a listener; with a slot it is one of several workers."""
    monitoring = Monitoring(metrics_enabled=settings.metrics, worker=str(slot.index) if slot is not None else "0")
    aggregator = None
    if slot is not None and isinstance(monitoring.metrics, InMemoryMetrics):
        aggregator = MetricsAggregator(monitoring.metrics, slot)
        monitoring.read_metrics = aggregator.total
    traces = request_traces() if settings.traces else None
    json_log = settings.log_format == "json"
    config = uvicorn.Config(
        create_app(settings, store_opener=store_opener, monitoring=monitoring, traces=traces),
        http=Connection,
        ws="none",
        log_config=json_log_config() if json_log else _log_config(uvicorn.config.LOGGING_CONFIG),
        access_log=settings.access_log and not json_log,
        server_header=False,
        proxy_headers=False,  # `Connection` applies them, only to requests that have any
        lifespan="on",
    )
    server = Server(
        config,
        settings,
        listener,
        monitoring,
        tls=tls_context(settings),
        slot=slot,
        aggregator=aggregator,
    )
    if traces is not None:
        server.on_stop.append(traces.close)
    return server


def _make_worker_server(settings: Settings, listener: socket.socket, slot: WorkerSlot) -> Server:
    return make_server(settings, listener, slot=slot)


def _log_config(defaults: dict[str, Any]) -> dict[str, Any]:
    """Return uvicorn's log configuration limited to warnings, errors and the access log."""
    levels = {"uvicorn": "WARNING", "uvicorn.error": "WARNING", "uvicorn.access": "INFO"}
    loggers = {name: {**defaults["loggers"].get(name, {}), "level": level} for name, level in levels.items()}
    return {**defaults, "loggers": loggers}


def exit_on_sigterm() -> None:
    """Make SIGTERM raise `SystemExit`, so that temporary files are removed.

    The server catches the signal, finishes the requests in progress, and raises it again.
    """

    def exit_process(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, exit_process)
