"""A server on one event loop, from first connection to graceful shutdown. Every worker is one.

During the drain delay `/readyz` answers 503 and everything else goes on, so that load balancers look elsewhere.
Then no connection is accepted any more, and each connection is told with its next response that it was the last.
Idle connections are closed after a moment, long enough for a request that was on its way. Then the app
flushes and closes its store.
"""

import asyncio
import gc
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import uvicorn

from proffer.config import Settings
from proffer.metrics import CONNECTIONS, REQUESTS_IN_PROGRESS, WORKERS
from proffer.service.monitoring import Monitoring
from proffer.serving.connection import Connection, SharedState
from proffer.serving.metrics_aggregator import MetricsAggregator
from proffer.serving.sockets import BACKLOG, load_certificate
from proffer.serving.systemd import READY, STOPPING, notify_manager, sighup_reloads
from proffer.serving.worker_table import State, WorkerSlot
from proffer.telemetry import log_failure, log_warning

TICK_S = 0.1
_PUBLISH_TICKS = 10
"""Ticks between two publications of the metrics."""
_CHECKED_PER_TICK = 500
"""Connections whose timeouts are checked in one tick."""
_LINGER_S = 1.0
"""At shutdown an idle connection is closed after so long: a request may be on its way."""
FLUSH_S = 10.0
"""Time for the store to close after everything else; then the process ends by force."""
_CLOSE_HEADER = (b"connection", b"close")
_GC_THRESHOLD = 20_000
"""New objects between two runs of the garbage collector, those of hundreds of requests."""


class Server(uvicorn.Server):
    """Serves a listener until a signal; with a `slot` it is one of several workers.

    `aggregator` publishes the metrics of the worker.
    """

    server_state: SharedState
    servers: list[asyncio.Server]

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        listener: socket.socket,
        monitoring: Monitoring,
        *,
        tls: ssl.SSLContext | None = None,
        slot: WorkerSlot | None = None,
        aggregator: MetricsAggregator | None = None,
    ) -> None:
        super().__init__(config)
        self.server_state = SharedState(settings, monitoring.metrics)
        self._settings = settings
        self._listener = listener
        self._tls = tls
        self._slot = slot
        self._monitoring = monitoring
        self._aggregator = aggregator
        self.on_stop: list[Callable[[], None]] = []
        """Called in a thread when everything else has ended."""
        self.drain_s = settings.drain_delay
        """Seconds to go on serving after the signal; 0 if the parent died, to release the port."""
        self._unchecked: Iterator[Connection] = iter(())
        self._replaced = False

    def install_sigterm(self) -> None:
        """Make SIGTERM stop this server gracefully, even before it serves."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "should_exit", True))

    def replace_and_stop(self) -> None:
        """Stop because a new worker serves in place of this one; `/readyz` stays ready."""
        self._replaced = True
        self.drain_s = 0
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Start the app, then accept connections."""
        heartbeat = asyncio.create_task(self._heartbeat())
        try:
            await self.lifespan.startup()
        finally:
            heartbeat.cancel()
        if self.lifespan.should_exit:
            raise SystemExit(3)
        _freeze_startup_objects()
        loop = asyncio.get_running_loop()
        self.server_state.now = loop.time()
        if self._tls is not None and self._slot is None and sighup_reloads():
            loop.add_signal_handler(signal.SIGHUP, self._reload_certificate)
        await self.on_tick(0)
        accepting = await loop.create_server(
            self._make_connection,
            sock=self._listener.dup(),  # `create_server` closes its socket; the original is drained at shutdown
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s,
        )
        self.servers = [accepting]
        if self._slot is None:
            metrics, shared = self._monitoring.metrics, self.server_state
            metrics.gauge(CONNECTIONS, lambda: {(self._monitoring.worker,): len(shared.connections)})
            metrics.gauge(REQUESTS_IN_PROGRESS, lambda: {(self._monitoring.worker,): len(shared.tasks)})
            metrics.gauge(WORKERS, lambda: {(): 1})
        self.started = True
        if self._slot is not None:
            self._slot.state = State.READY
        else:
            notify_manager(READY)
        if self.should_exit:  # uvicorn skips the main loop, and with it the drain delay
            await self.main_loop()

    async def main_loop(self) -> None:
        """Serve until told to stop, and then for the drain delay."""
        counter = 0
        while not self.should_exit:
            counter += 1
            await self._tick(counter)
        self._monitoring.health.draining = not self._replaced
        if self._slot is not None:
            self._slot.state = State.LEAVING
        else:
            notify_manager(STOPPING)
        for counter in range(int(self.drain_s / TICK_S)):
            if self.force_exit or not self.drain_s:
                break
            await self._tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Finish the requests in progress within the shutdown timeout. Then stop the app."""
        timeout_s = self._settings.shutdown_timeout
        _force_exit_after(timeout_s + FLUSH_S)
        for accepting in self.servers:
            accepting.close()
        if not self._replaced:
            await self._accept_pending()
        self._listener.close()
        shared = self.server_state
        shared.default_headers = [*shared.default_headers, _CLOSE_HEADER]
        shared.idle_timeout_s = shared.new_timeout_s = _LINGER_S
        time = asyncio.get_running_loop().time
        shared.now = time()
        for connection in self._connections():
            connection.close_after_response()
        deadline = shared.now + timeout_s
        while (shared.connections or shared.tasks) and not self.force_exit:
            if time() > deadline:
                log_warning(f"{len(shared.tasks)} requests were not finished within {timeout_s} s")
                break
            await asyncio.sleep(TICK_S / 4)
            shared.now = time()
            self._report_load()
            for connection in self._connections():
                connection.check_timeouts()
        for task in list(shared.tasks):
            task.cancel()
        for connection in self._connections():
            connection.transport.close()
        if not self.force_exit:
            await self.lifespan.shutdown()
        if self._aggregator is not None:
            self._aggregator.publish()
        for callback in self.on_stop:
            await asyncio.to_thread(callback)

    async def _accept_pending(self) -> None:
        """Accept the connections in the listener's queue, before it is closed."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # no connection waits
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                with suppress(OSError):  # the client disconnected, or does not speak TLS
                    await loop.connect_accepted_socket(
                        self._make_connection,
                        client,
                        ssl=self._tls,
                        ssl_handshake_timeout=self._handshake_s,
                    )

    @property
    def _handshake_s(self) -> float | None:
        return self._settings.header_timeout if self._tls is not None else None

    async def on_tick(self, counter: int) -> bool:
        """Update the date, the clock and the worker's slot; check some connections for timeouts."""
        await super().on_tick(counter)
        if self._aggregator is not None and counter % _PUBLISH_TICKS == 0:
            self._aggregator.publish()
        self.server_state.now = asyncio.get_running_loop().time()
        self._report_load()
        self._check_some_timeouts()
        return self.should_exit

    async def _tick(self, counter: int) -> None:
        await asyncio.sleep(TICK_S)
        await self.on_tick(counter)

    async def _heartbeat(self) -> None:
        while self._slot is not None:
            self._slot.heartbeat()
            await asyncio.sleep(TICK_S)

    def _report_load(self) -> None:
        if self._slot is not None:
            self._slot.heartbeat()
            self._slot.set_load(len(self.server_state.connections), len(self.server_state.tasks))

    def _check_some_timeouts(self) -> None:
        batch = list(islice(self._unchecked, _CHECKED_PER_TICK))
        for connection in batch:
            connection.check_timeouts()
        if len(batch) < _CHECKED_PER_TICK:
            self._unchecked = iter(self._connections())

    def _connections(self) -> list[Connection]:
        return list(self.server_state.connections)  # type: ignore[arg-type]

    def _make_connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)

    def _reload_certificate(self) -> None:
        """Reload the certificate for new connections (SIGHUP); keep the old one if it is invalid."""
        assert self._tls is not None
        try:
            load_certificate(self._tls, self._settings)
        except Exception as error:  # noqa: BLE001 - serving goes on with the old certificate
            log_failure("the certificate was not reloaded", error)
        else:
            log_warning("the certificate was reloaded")


def _freeze_startup_objects() -> None:
    """Exclude the objects loaded at startup from garbage collection.

    They live as long as the process, and traversing a library of thousands of offers repeatedly costs more
    than the decisions. Reference counting still frees what is replaced later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])


def _force_exit_after(seconds: float) -> None:
    """End the process after so long, whatever it does then. Acknowledged writes are on the disk."""

    def force_exit() -> None:
        log_warning("shutdown took too long and is forced")
        os._exit(1)

    timer = threading.Timer(seconds, force_exit)
    timer.daemon = True
    timer.start()
