"""The parent of several workers: it holds the listening sockets and keeps the number of healthy workers.

Each worker has a listening socket of its own, over which the kernel spreads new connections. The parent keeps
all of them open, so connections that wait for a worker that died are accepted by the next one.
It serves nothing itself and has neither thread nor event loop, so that it can fork at any time. A worker
that dies is replaced; one whose event loop has not turned for `worker_timeout` is killed and replaced.
SIGTERM and SIGINT end all of them in order, within a bound. SIGHUP replaces them one after the other,
each new one being ready before an old one leaves: a renewed certificate is in force, and nobody notices.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from proffer.config import Settings
from proffer.serving.board import Board, Row, State
from proffer.serving.manager import READY, STOPPING, hangup_renews, tell_manager
from proffer.serving.server import FLUSH_S, Server
from proffer.serving.worker import GIVE_WAY, OURS, work
from proffer.telemetry import notice

_LOOK_S = 0.1
_START_S = 120.0
"""A worker that reads a large library for the first time may be silent so long."""
_SHORTEST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_HOPELESS = 5
"""If so many workers end one after the other before one was ever ready, so does the parent."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Make = Callable[[Settings, socket.socket, Row], Server]


@dataclass(slots=True, kw_only=True)
class Worker:
    """A process of ours. `until` is the moment after which it is killed, once it has been told to leave."""

    pid: int
    row: Row
    listener: int
    """Index of its listening socket."""
    ready: bool = False
    until: float | None = None
    aborted: float | None = None


class Parent:
    """Runs the workers until a signal; `make` makes what a worker serves, in the worker."""

    def __init__(self, chosen: Settings, listeners: Sequence[socket.socket], make: Make) -> None:
        self._chosen = chosen
        self._listeners = listeners
        self._make = make
        self._board = Board(chosen.workers + 1)  # one more while one takes the place of another
        self._workers: dict[int, Worker] = {}
        self._lifeline, self._held = os.pipe()  # ends when we do, whatever ends us
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._woken, False)
        self._asked: set[int] = set()
        self._leaving = False
        self._closes: float | None = None
        """When our hold on the listener ends, so that it is closed when the workers have closed it."""
        self._outgoing: list[int] = []
        self._failed = 0
        self._wait_until = 0.0
        self._ever_ready = False

    def run(self) -> int:
        """Keep the workers until a signal; the exit code."""
        self._listen_to_signals()
        while True:
            self._answer_signals()
            self._reap()
            self._check()
            if self._leaving:
                if self._closes is not None and time.monotonic() >= self._closes:
                    for listener in self._listeners:
                        listener.close()
                if not self._workers:
                    return 0
            elif self._hopeless():
                return 3
            else:
                self._fill()
            self._wait()

    # Signals.

    def _listen_to_signals(self) -> None:
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda got, _: self._asked.add(got))

    def _answer_signals(self) -> None:
        asked, self._asked = self._asked, set()
        if signal.SIGHUP in asked and not hangup_renews():
            asked.add(signal.SIGTERM)
        if asked & {signal.SIGTERM, signal.SIGINT} and not self._leaving:
            self._leaving = True
            tell_manager(STOPPING)
            self._closes = time.monotonic() + self._chosen.drain_delay
            for worker in self._workers.values():
                self._dismiss(worker)
        elif signal.SIGINT in asked:  # Ctrl-C again
            self._kill(self._workers.values())
        if signal.SIGHUP in asked and not self._leaving:
            self._outgoing = [pid for pid, one in self._workers.items() if one.until is None]

    def _wait(self) -> None:
        with suppress(InterruptedError):
            select.select([self._woken], [], [], _LOOK_S)
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

    # Workers.

    def _fill(self) -> None:
        """Start what is missing, and one more while one is to be replaced, which leaves when that one is ready."""
        staying = [one for one in self._workers.values() if one.until is None]
        self._outgoing = [pid for pid in self._outgoing if pid in self._workers]
        goal = self._chosen.workers
        if self._outgoing:
            goal += 1
            leaver = self._workers[self._outgoing[0]]
            if len(staying) == goal and all(one.ready for one in staying):
                self._outgoing.pop(0)
                self._dismiss(leaver, GIVE_WAY)
                return
        while len(staying) < goal and time.monotonic() >= self._wait_until:
            row = self._free_row()
            if row is None:
                return  # one that was told to leave is still there
            staying.append(self._start(row, self._free_listener(staying)))

    def _free_row(self) -> Row | None:
        taken = {one.row.index for one in self._workers.values()}
        free = [index for index in range(self._board.rows) if index not in taken]
        return self._board.row(free[0]) if free else None

    def _free_listener(self, staying: Iterable[Worker]) -> int:
        """Return the index of a listening socket without a worker, or whose worker is about to be replaced."""
        used = {worker.listener for worker in staying if worker.pid not in self._outgoing[:1]}
        return min(set(range(len(self._listeners))) - used)

    def _start(self, row: Row, listener: int) -> Worker:
        row.clear()
        row.state = State.STARTING
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, OURS)
        try:
            pid = os.fork()
            if pid == 0:
                os.close(self._held)
                signal.set_wakeup_fd(-1)
                mine = self._listeners[listener]
                for sibling in self._listeners:
                    if sibling is not mine:
                        sibling.close()
                work(self._chosen, mine, row, self._lifeline, self._make)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        worker = Worker(pid=pid, row=row, listener=listener)
        self._workers[pid] = worker
        return worker

    def _dismiss(self, worker: Worker, how: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to leave in order, within the bound."""
        worker.until = (
            time.monotonic()
            + self._chosen.drain_delay
            + self._chosen.shutdown_timeout
            + FLUSH_S
            + 2
        )
        with suppress(ProcessLookupError):
            os.kill(worker.pid, how)

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            del self._workers[pid]
            worker.row.clear()
            if worker.until is not None:
                continue
            code = os.waitstatus_to_exitcode(status)
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            notice(f"worker {pid} ended {how}; another takes its place")
            if not worker.ready:
                self._failed += 1
                wait_s = _SHORTEST_WAIT_S * 2 ** min(self._failed, 10)
                self._wait_until = time.monotonic() + min(wait_s, _LONGEST_WAIT_S)

    def _check(self) -> None:
        """See who has become ready, who has been silent too long, and who overstays."""
        now = time.monotonic()
        for worker in self._workers.values():
            if not worker.ready and worker.row.state is State.READY:
                if not self._ever_ready:
                    tell_manager(READY)
                worker.ready = self._ever_ready = True
                self._failed = 0
            patience = self._chosen.worker_timeout if worker.ready else _START_S
            if worker.aborted is not None:
                if now > worker.aborted + 1:
                    self._kill([worker])
            elif worker.row.silent_s() > max(patience, 1):
                notice(f"worker {worker.pid} has not moved for {patience:g} s and is killed")
                worker.aborted = now
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGABRT)  # it says where it was before it ends
            elif worker.until is not None and now > worker.until:
                notice(f"worker {worker.pid} did not leave in time and is killed")
                self._kill([worker])

    def _hopeless(self) -> bool:
        if self._ever_ready or self._failed < _HOPELESS:
            return False
        notice("no worker could start; the lines above say why")
        self._kill(self._workers.values())
        for pid in self._workers:
            os.waitpid(pid, 0)
        return True

    @staticmethod
    def _kill(workers: Iterable[Worker]) -> None:
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
