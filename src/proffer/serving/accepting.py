"""Taking connections from a listener that several workers may share.

Each takes one at a time, and only while no other has fewer: a gateway's few long-lived connections end
up spread evenly, which neither SO_REUSEPORT (a hash decides) nor a plain shared accept loop (the first
to wake takes all) does. A worker that stops takes no connection with it: what it has not accepted waits
in the queue that all share.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from proffer.metrics import REFUSED
from proffer.serving.board import Row, State
from proffer.serving.connection import OVERLOADED, RETRY_AFTER_S, Connection, Phase, Shared

_TURN_S = 0.005
"""How long a worker leaves a new connection to another who has fewer."""
_AT_ONCE = 16
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n"
    b"retry-after: %d\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    % (RETRY_AFTER_S, len(OVERLOADED))
) + OVERLOADED


class Acceptor:
    """Takes connections until it is stopped. At most `most` are open; an idle one makes room for a new one."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], Connection],
        shared: Shared,
        *,
        tls: ssl.SSLContext | None,
        most: int,
        handshake_s: float,
        row: Row | None,
    ) -> None:
        self._listener = listener
        self._make = make
        self._shared = shared
        self._tls = tls
        self._most = most
        self._handshake_s = handshake_s
        self._row = row
        self._opening: dict[asyncio.Task[None], Connection] = {}
        self._waiting: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        shared.gone = self.tell

    @property
    def connections(self) -> int:
        """Open ones, and those that are being opened."""
        made: set[Any] = self._shared.connections
        return len(made) + sum(1 for one in self._opening.values() if one not in made)

    def start(self) -> None:
        self._loop.add_reader(self._listener, self._arrived)

    def stop(self) -> None:
        """Accept nothing more."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
        self._loop.remove_reader(self._listener)

    def take_rest(self) -> None:
        """Accept what waits already, where nobody else will: the listener is about to close."""
        if self._row is not None and not self._row.is_last():
            return
        for _ in self._accepted(self._most):
            pass

    def tell(self) -> None:
        """Write into the shared row how much there is in hand."""
        if self._row is not None:
            self._row.tell(self.connections, len(self._shared.tasks))

    def _arrived(self) -> None:
        if self._row is None:
            taken = sum(1 for _ in self._accepted(_AT_ONCE))
        elif self._row.may_accept():
            taken = sum(1 for _ in self._accepted(1))
        else:
            self._pause(_TURN_S, self._insist)
            return
        if taken == 0 and self.connections >= self._most:
            self._pause(_TURN_S * 4, self.start)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._waiting = self._loop.call_later(seconds, then)

    def _insist(self) -> None:
        """Nobody with fewer connections came, so they are busy: take what is still there."""
        if self._row is not None and self._row.state is State.LEAVING and not self._row.is_last():
            self._pause(_TURN_S, self._insist)
            return
        for _ in self._accepted(_AT_ONCE):
            pass
        self.start()

    def _accepted(self, most: int) -> Iterator[None]:
        """Accept up to so many, one for each step."""
        for _ in range(most):
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM and not self._stopped:
                    self._make_room()
                    self._pause(_TURN_S * 4, self.start)
                return
            if self.connections >= self._most and not self._make_room():
                self._turn_away(client)
            else:
                self._open(client)
            self.tell()
            yield

    def _open(self, client: socket.socket) -> None:
        client.setblocking(False)
        with suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._make()
        task = self._loop.create_task(self._connect(client, connection))
        self._opening[task] = connection
        task.add_done_callback(self._opening.pop)

    async def _connect(self, client: socket.socket, connection: Connection) -> None:
        handshake_s = self._handshake_s if self._tls is not None else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, client, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
        except (OSError, TimeoutError):  # it left, or does not speak TLS, or not to the end
            client.close()

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; False where none is idle."""
        connections: set[Any] = self._shared.connections
        idle = [
            one for one in connections if one.phase is Phase.IDLE and not one.transport.is_closing()
        ]
        oldest = min(idle, key=lambda one: one.rested, default=None)
        if oldest is None:
            return False
        oldest.transport.close()
        return True

    def _turn_away(self, client: socket.socket) -> None:
        self._shared.meters.count(REFUSED)
        with suppress(OSError):
            client.setblocking(False)
            if self._tls is None:
                with suppress(BlockingIOError):
                    client.recv(65_536)  # what is left unread would take our answer with it
                client.send(_FULL)
                client.shutdown(socket.SHUT_WR)
        client.close()
