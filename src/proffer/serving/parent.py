"""The parent of several workers: it holds the listening sockets and keeps the number of healthy workers.

Each worker has a listening socket of its own, over which the kernel spreads new connections. The parent keeps
all of them open, so connections that wait for a worker that died are accepted by the next one.

The parent serves no requests and has neither threads nor an event loop, so it can fork at any time. A worker
that dies is replaced; one without a heartbeat for `worker_timeout` is killed and replaced. SIGTERM and SIGINT
stop all workers gracefully, within a bound. SIGHUP replaces them one after the other, each new one being ready
before an old one stops: a renewed certificate comes into force without a failed request.
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
from proffer.serving.server import FLUSH_S, Server
from proffer.serving.systemd import READY, STOPPING, notify_manager, sighup_reloads
from proffer.serving.worker import BLOCKED_SIGNALS, REPLACE, run_worker
from proffer.serving.worker_table import State, WorkerSlot, WorkerTable
from proffer.telemetry import log_warning

_POLL_S = 0.1
_START_TIMEOUT_S = 120.0
"""A worker that loads a large library for the first time has no heartbeat for so long."""
_MIN_BACKOFF_S = 0.1
_MAX_BACKOFF_S = 5.0
_MAX_START_FAILURES = 5
"""The parent gives up after so many failed starts in a row if no worker was ever ready."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

MakeServer = Callable[[Settings, socket.socket, WorkerSlot], Server]


@dataclass(slots=True, kw_only=True)
class Worker:
    """A worker process.

    `listener`: index of its socket. `deadline`: time after which it is killed; `aborted_at`: time of SIGABRT
    (both monotonic).
    """

    pid: int
    slot: WorkerSlot
    listener: int
    ready: bool = False
    deadline: float | None = None
    aborted_at: float | None = None


class Parent:
    """Runs the workers until a signal; `make_server` is called in each worker."""

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket], make_server: MakeServer) -> None:
        self._settings = settings
        self._listeners = listeners
        self._make_server = make_server
        self._table = WorkerTable(settings.workers + 1)  # one more while a worker is replaced
        self._workers: dict[int, Worker] = {}
        self._lifeline, self._lifeline_writer = os.pipe()  # closes when this process ends
        self._wakeup_reader, self._wakeup_writer = os.pipe()
        os.set_blocking(self._wakeup_writer, False)
        os.set_blocking(self._wakeup_reader, False)
        self._signals: set[int] = set()
        self._stopping = False
        self._close_listeners_at: float | None = None
        """When the workers close the listeners, too, so that the port is free."""
        self._to_replace: list[int] = []
        self._start_failures = 0
        self._next_start_at = 0.0
        self._ever_ready = False

    def run(self) -> int:
        """Keep the workers running until a signal; return the exit code."""
        self._install_signal_handlers()
        while True:
            self._handle_signals()
            self._reap()
            self._check_workers()
            if self._stopping:
                close_at = self._close_listeners_at
                if close_at is not None and time.monotonic() >= close_at:
                    for listener in self._listeners:
                        listener.close()
                if not self._workers:
                    return 0
            elif self._starts_keep_failing():
                return 3
            else:
                self._start_missing()
            self._wait()

    # Signals.

    def _install_signal_handlers(self) -> None:
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda received, _: self._signals.add(received))

    def _handle_signals(self) -> None:
        signals, self._signals = self._signals, set()
        if signal.SIGHUP in signals and not sighup_reloads():
            signals.add(signal.SIGTERM)
        if signals & {signal.SIGTERM, signal.SIGINT} and not self._stopping:
            self._stopping = True
            notify_manager(STOPPING)
            self._close_listeners_at = time.monotonic() + self._settings.drain_delay
            for worker in self._workers.values():
                self._stop(worker)
        elif signal.SIGINT in signals:  # Ctrl-C again
            self._kill(self._workers.values())
        if signal.SIGHUP in signals and not self._stopping:
            self._to_replace = [pid for pid, worker in self._workers.items() if worker.deadline is None]

    def _wait(self) -> None:
        with suppress(InterruptedError):
            select.select([self._wakeup_reader], [], [], _POLL_S)
        with suppress(BlockingIOError):
            os.read(self._wakeup_reader, 4096)

    # Workers.

    def _start_missing(self) -> None:
        """Start missing workers, and one more during a replacement; stop the old one when the new one is ready."""
        active = [worker for worker in self._workers.values() if worker.deadline is None]
        self._to_replace = [pid for pid in self._to_replace if pid in self._workers]
        target = self._settings.workers
        if self._to_replace:
            target += 1
            if len(active) == target and all(worker.ready for worker in active):
                self._stop(self._workers[self._to_replace.pop(0)], REPLACE)
                return
        while len(active) < target and time.monotonic() >= self._next_start_at:
            slot = self._free_slot()
            if slot is None:
                return  # a worker that was told to stop still runs
            active.append(self._start(slot, self._free_listener(active)))

    def _free_slot(self) -> WorkerSlot | None:
        used = {worker.slot.index for worker in self._workers.values()}
        free = [index for index in range(self._table.size) if index not in used]
        return self._table.slot(free[0]) if free else None

    def _free_listener(self, active: Iterable[Worker]) -> int:
        """Return the index of a listening socket without a worker. A worker that is replaced next does not count."""
        used = {worker.listener for worker in active if worker.pid not in self._to_replace[:1]}
        return min(set(range(len(self._listeners))) - used)

    def _start(self, slot: WorkerSlot, listener_index: int) -> Worker:
        slot.reset()
        slot.state = State.STARTING
        listener = self._listeners[listener_index]
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                os.close(self._lifeline_writer)
                signal.set_wakeup_fd(-1)
                for sibling in self._listeners:
                    if sibling is not listener:
                        sibling.close()
                run_worker(self._settings, listener, slot, self._lifeline, self._make_server)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
        worker = Worker(pid=pid, slot=slot, listener=listener_index)
        self._workers[pid] = worker
        return worker

    def _stop(self, worker: Worker, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        """Tell a worker to stop gracefully. Sets the time after which it is killed."""
        worker.deadline = time.monotonic() + self._settings.drain_delay + self._settings.shutdown_timeout + FLUSH_S + 2
        with suppress(ProcessLookupError):
            os.kill(worker.pid, stop_signal)

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            del self._workers[pid]
            worker.slot.reset()
            if worker.deadline is not None:
                continue
            exit_code = os.waitstatus_to_exitcode(status)
            cause = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
            log_warning(f"worker {pid} ended {cause} and is replaced")
            if not worker.ready:
                self._start_failures += 1
                backoff_s = _MIN_BACKOFF_S * 2 ** min(self._start_failures, 10)
                self._next_start_at = time.monotonic() + min(backoff_s, _MAX_BACKOFF_S)

    def _check_workers(self) -> None:
        """Note workers that became ready; kill those without a heartbeat or past their deadline."""
        now = time.monotonic()
        for worker in self._workers.values():
            if not worker.ready and worker.slot.state is State.READY:
                if not self._ever_ready:
                    notify_manager(READY)
                worker.ready = self._ever_ready = True
                self._start_failures = 0
            timeout_s = self._settings.worker_timeout if worker.ready else _START_TIMEOUT_S
            if worker.aborted_at is not None:
                if now > worker.aborted_at + 1:
                    self._kill([worker])
            elif worker.slot.seconds_since_heartbeat() > max(timeout_s, 1):
                log_warning(f"worker {worker.pid} was blocked for {timeout_s:g} s and is killed")
                worker.aborted_at = now
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGABRT)  # its stack is printed before it ends
            elif worker.deadline is not None and now > worker.deadline:
                log_warning(f"worker {worker.pid} did not stop in time and is killed")
                self._kill([worker])

    def _starts_keep_failing(self) -> bool:
        if self._ever_ready or self._start_failures < _MAX_START_FAILURES:
            return False
        log_warning("no worker could start; see the log lines above")
        self._kill(self._workers.values())
        for pid in self._workers:
            os.waitpid(pid, 0)
        return True

    @staticmethod
    def _kill(workers: Iterable[Worker]) -> None:
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
