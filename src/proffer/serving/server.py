"""A server on one event loop, from the first connection to an orderly end: what every worker is, and the only one.

An end in order: while the drain delay lasts `/readyz` says no and all else goes on, so that whoever
spreads the load looks elsewhere. Then nothing new is accepted, and each connection is told with its next
answer that it was the last. What is idle is closed after a moment: long enough for a request that was
on its way. Then the app flushes and closes its store.
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
from proffer.metrics import CONNECTIONS, IN_HAND, WORKERS
from proffer.service.monitoring import Sight
from proffer.serving.board import Row, State
from proffer.serving.connection import Connection, Shared
from proffer.serving.listening import BACKLOG, load_certificate
from proffer.serving.manager import READY, STOPPING, hangup_renews, tell_manager
from proffer.serving.numbers import Numbers
from proffer.telemetry import failure, notice

TICK_S = 0.1
_SHOWN_EVERY = 10
"""Ticks between two readings of the numbers for the other workers."""
_SWEPT_AT_ONCE = 500
_LINGER_S = 1.0
"""An idle connection is closed so long after the last moment at which its client may have used it."""
FLUSH_S = 10.0
"""The store's time to finish when everything else has ended; then the process ends whatever it is doing."""
_CLOSE = (b"connection", b"close")
_MADE_BEFORE_A_LOOK = 20_000
"""So many new objects make the garbage collector look: hundreds of requests' worth, so that it costs each little."""


class Server(uvicorn.Server):
    """Serves a listener until a signal. With a `row` it is one of several workers, and `numbers` adds up theirs."""

    server_state: Shared
    servers: list[asyncio.Server]

    def __init__(
        self,
        config: uvicorn.Config,
        chosen: Settings,
        listener: socket.socket,
        sight: Sight,
        *,
        tls: ssl.SSLContext | None = None,
        row: Row | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        super().__init__(config)
        self.server_state = Shared(chosen, sight.meters)
        self._chosen = chosen
        self._listener = listener
        self._tls = tls
        self._row = row
        self._sight = sight
        self._numbers = numbers
        self.at_the_end: list[Callable[[], None]] = []
        """Called when everything else has ended."""
        self.drain_s = chosen.drain_delay
        """How long to go on after the signal; an orphan sets it to 0, to give its port free."""
        self._sweeping: Iterator[Connection] = iter(())
        self._replaced = False

    def heed(self) -> None:
        """From now on SIGTERM makes this server leave in order, whether or not it has begun to serve."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "should_exit", True))

    def give_way(self) -> None:
        """Leave because another worker has taken this one's place: the server itself goes on, and stays ready."""
        self._replaced = True
        self.drain_s = 0
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Start the app, then accept."""
        beating = asyncio.create_task(self._beat())
        try:
            await self.lifespan.startup()
        finally:
            beating.cancel()
        if self.lifespan.should_exit:
            raise SystemExit(3)
        _settle()
        loop = asyncio.get_running_loop()
        self.server_state.now = loop.time()
        if self._tls is not None and self._row is None and hangup_renews():
            loop.add_signal_handler(signal.SIGHUP, self._renew_certificate)
        await self.on_tick(0)
        accepting = await loop.create_server(
            self._connection,
            sock=self._listener.dup(),  # the server closes its own; this one is read to the end
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s,
        )
        self.servers = [accepting]
        if self._row is None:
            meters, shared = self._sight.meters, self.server_state
            meters.gauge(CONNECTIONS, lambda: {(self._sight.worker,): len(shared.connections)})
            meters.gauge(IN_HAND, lambda: {(self._sight.worker,): len(shared.tasks)})
            meters.gauge(WORKERS, lambda: {(): 1})
        self.started = True
        if self._row is not None:
            self._row.state = State.READY
        else:
            tell_manager(READY)

    async def main_loop(self) -> None:
        """Serve until told to stop, and then for as long as the drain delay."""
        counter = 0
        while not self.should_exit:
            counter += 1
            await self._tick(counter)
        self._sight.health.draining = not self._replaced
        if self._row is not None:
            self._row.state = State.LEAVING  # others take the new connections
        else:
            tell_manager(STOPPING)
        for counter in range(int(self.drain_s / TICK_S)):
            if self.force_exit or not self.drain_s:
                break
            await self._tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Finish what is under way, within the bound, then let the app end."""
        bound = self._chosen.shutdown_timeout
        _end_for_sure(bound + FLUSH_S)
        for accepting in self.servers:
            accepting.close()
        if not self._replaced:
            await self._accept_pending()
        self._listener.close()
        shared = self.server_state
        shared.default_headers = [*shared.default_headers, _CLOSE]
        shared.idle_s = shared.new_s = _LINGER_S
        time = asyncio.get_running_loop().time
        shared.now = time()
        for connection in self._connections():
            connection.leave()
        until = shared.now + bound
        while (shared.connections or shared.tasks) and not self.force_exit:
            if time() > until:
                notice(f"{len(shared.tasks)} requests were not finished within {bound} s")
                break
            await asyncio.sleep(TICK_S / 4)
            shared.now = time()
            self._alive()
            for connection in self._connections():
                connection.sweep()
        for task in list(shared.tasks):
            task.cancel()
        for connection in self._connections():
            connection.transport.close()
        if not self.force_exit:
            await self.lifespan.shutdown()
        if self._numbers is not None:
            self._numbers.show()
        for finish in self.at_the_end:
            await asyncio.to_thread(finish)

    async def _accept_pending(self) -> None:
        """Accept the connections that wait in the queue of a listener that is about to close."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # none is left
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                with suppress(OSError):  # it has gone, or does not speak TLS
                    await loop.connect_accepted_socket(
                        self._connection,
                        client,
                        ssl=self._tls,
                        ssl_handshake_timeout=self._handshake_s,
                    )

    @property
    def _handshake_s(self) -> float | None:
        return self._chosen.header_timeout if self._tls is not None else None

    async def on_tick(self, counter: int) -> bool:
        """Keep the date, the clock and the shared row; sweep a slice of the connections."""
        await super().on_tick(counter)
        if self._numbers is not None and counter % _SHOWN_EVERY == 0:
            self._numbers.show()
        self.server_state.now = asyncio.get_running_loop().time()
        self._alive()
        self._sweep_some()
        return self.should_exit

    async def _tick(self, counter: int) -> None:
        await asyncio.sleep(TICK_S)
        await self.on_tick(counter)

    async def _beat(self) -> None:
        while self._row is not None:
            self._row.beat()
            await asyncio.sleep(TICK_S)

    def _alive(self) -> None:
        if self._row is not None:
            self._row.beat()
            self._row.tell(len(self.server_state.connections), len(self.server_state.tasks))

    def _sweep_some(self) -> None:
        some = list(islice(self._sweeping, _SWEPT_AT_ONCE))
        for connection in some:
            connection.sweep()
        if len(some) < _SWEPT_AT_ONCE:
            self._sweeping = iter(self._connections())

    def _connections(self) -> list[Connection]:
        return list(self.server_state.connections)  # type: ignore[arg-type]

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)

    def _renew_certificate(self) -> None:
        """SIGHUP: read the certificate anew for connections that come; a bad one changes nothing."""
        assert self._tls is not None
        try:
            load_certificate(self._tls, self._chosen)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the files, serving goes on
            failure("the certificate was not renewed", error)
        else:
            notice("the certificate was read anew")


def _settle() -> None:
    """Take what was read at the start out of the garbage collector's sight.

    It stays for as long as the process; to walk through a library of thousands of offers again and again
    cost more than deciding. What is replaced later goes when nothing refers to it any more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MADE_BEFORE_A_LOOK, *gc.get_threshold()[1:])


def _end_for_sure(seconds: float) -> None:
    """End the process after so long, whatever then still holds it up. What was acknowledged is on the disk."""

    def end() -> None:
        notice("the end took too long and is forced")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
