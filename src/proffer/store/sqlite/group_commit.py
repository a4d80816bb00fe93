"""Group commit: writes that arrive during a commit are written together by the next one.

A commit costs one disk sync whatever its size, so jobs that arrive together share one. A job is a
function of a connection, independent of the others: each runs in its own savepoint, and an exception
affects only its own caller. Results are delivered only after they are durable.

Jobs run in a thread. Every statement releases the GIL and waits to reacquire it from the event loop, so
high-volume writes are items of a `BatchHandler` instead: one set of statements per group. If the writer
is idle, the event loop executes them at the end of its iteration and the thread only commits.
"""

import asyncio
import queue
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from proffer.errors import Busy, Conflict
from proffer.store.common.turns import Turn, Turns
from proffer.store.errors import StoreUnavailable
from proffer.store.sqlite.write_lock import WriteLock

Result = TypeVar("Result")
Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)
Job: TypeAlias = Callable[[sqlite3.Connection], Result]

MAX_PENDING_WRITES = 8_192
"""Maximum number of queued writes, which bounds memory; further ones raise Busy at once."""
_MAX_GROUP_SIZE = 512
"""Bounds the latency of the first write of a group under load."""
_MAX_LOOP_GROUP_SIZE = 64
"""Bounds the time the event loop is blocked to one or two milliseconds."""


class BatchHandler(Protocol[Item_contra, Answer_co]):
    """Executes all items of a group with few statements, after its jobs; in thread or loop."""

    def __call__(self, connection: sqlite3.Connection, items: Sequence[Item_contra]) -> Sequence[Answer_co]:
        """Return a result for each item. If it raises, all are rolled back and retried singly."""
        ...

    def on_rollback(self) -> None:
        """Drop cached database state: a transaction was rolled back."""
        ...


class _PendingWrite(Struct, frozen=True):
    """A queued job or batch item, with the future of its caller."""

    job: Job[Any] | None
    batch: BatchHandler[Any, Any] | None
    item: Any
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    turn: Turn | None = None
    """Of a write that is withdrawn if it cannot begin soon."""

    @property
    def is_withdrawn(self) -> bool:
        return self.turn is not None and self.turn.is_withdrawn


class _Outcome(Struct, frozen=True):
    """Result of a job or item, or its exception."""

    result: Any = None
    error: Exception | None = None


_NO_OUTCOME = _Outcome()
"""Of a write that was withdrawn; its caller has its answer."""


class _Group(Struct):
    """Work for the thread; with `outcomes` it is executed already and only to be committed."""

    writes: list[_PendingWrite]
    outcomes: list[_Outcome] | None = None


class _TransactionNotBegun(Exception):
    """No transaction could be begun. Retrying the jobs one by one would not help."""


class GroupCommitter:
    """Runs jobs in order on its own connection (in autocommit mode).

    `to_error` converts a database failure. A job may run twice, the first time rolled back, so it must
    not have effects beyond its connection. `patience_ms` is the busy timeout towards writers that do
    not use the write lock. `wait_s` is how long a write submitted with `may_be_withdrawn` waits to begin.
    `check_file` is called before each transaction, and raises OSError where nothing may be written.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        write_lock: WriteLock,
        to_error: Callable[[Exception], StoreUnavailable],
        patience_ms: int,
        wait_s: float | None = None,
        check_file: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._write_lock = write_lock
        self._to_error = to_error
        self._patience_ms = self._busy_timeout_ms = patience_ms
        self._turns = Turns(wait_s)
        self._check_file = check_file
        self._queue: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._pending_by_loop: dict[asyncio.AbstractEventLoop, list[_PendingWrite]] = {}
        self._submitted = self._started = 0
        """Numbers of writes submitted, and taken from the queue, since the start."""
        self._in_progress = 0
        """Number of writes handed to the thread or executing on a loop, not durable yet."""
        self._closed = False
        self.on_commit: Callable[[int], object] = _ignore_size
        """Called in the thread with the size of each group."""
        self._state_lock = threading.Lock()
        self._loop_lock = threading.Lock()
        """Held by a loop that executes writes itself: the thread must not end before it gets them."""
        self._thread = threading.Thread(target=self._run_thread, name="proffer-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job[Result]) -> asyncio.Future[Result]:
        """Queue a job; the future gives what it returns or raises, once durable or rolled back.

        Raises StoreUnavailable, with nothing written, when the database fails, and Busy when too many
        writes are queued. Cancelling the caller does not cancel the job.
        """
        return self._enqueue(job, None, None)

    def submit_to(
        self, batch: BatchHandler[Item, Result], item: Item, *, may_be_withdrawn: bool = False
    ) -> asyncio.Future[Result]:
        """Queue an item for `batch`; the future gives its result or exception, as with `submit`.

        Items of one group are passed to it together, in order of submission. An item that may be
        withdrawn raises `WriteDelayed` when its transaction has not begun in time.
        """
        return self._enqueue(None, batch, item, may_be_withdrawn=may_be_withdrawn)

    def _enqueue(
        self,
        job: Job[Any] | None,
        batch: BatchHandler[Any, Any] | None,
        item: Any,
        *,
        may_be_withdrawn: bool = False,
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._state_lock:  # nothing may be queued after `close`
            if self._closed:
                raise self._to_error(ValueError("the store is closed"))
            if self.pending >= MAX_PENDING_WRITES:
                raise Busy("too many writes wait for the database; try again", code="busy")
            writes = self._pending_by_loop.get(loop)
            if writes is None:
                writes = self._pending_by_loop[loop] = []
                loop.call_soon(self._dispatch, loop)
            turn = self._turns.add(future) if may_be_withdrawn else None
            writes.append(_PendingWrite(job, batch, item, future, loop, turn))
            self._submitted += 1
        return future

    @property
    def pending(self) -> int:
        """Number of writes that wait for the next group."""
        return self._submitted - self._started

    def _dispatch(self, loop: asyncio.AbstractEventLoop, seen: int = 0) -> None:
        """Dispatch a loop's writes: execute here, send to the thread, or wait until it is idle.

        While every iteration of the loop adds writes, they wait for another: larger groups are cheaper.
        """
        with self._loop_lock:
            with self._state_lock:
                writes = self._pending_by_loop.pop(loop, None)
                if writes is None:
                    return
                if any(write.job is not None for write in writes):
                    self._send_to_thread(writes)
                    return
                if self._in_progress:  # called again when these are done
                    self._pending_by_loop[loop] = writes
                    return
                if seen < len(writes) < _MAX_LOOP_GROUP_SIZE:
                    self._pending_by_loop[loop] = writes
                    loop.call_soon(self._dispatch, loop, len(writes))
                    return
                if len(writes) > _MAX_LOOP_GROUP_SIZE:
                    self._pending_by_loop[loop] = writes[_MAX_LOOP_GROUP_SIZE:]
                    del writes[_MAX_LOOP_GROUP_SIZE:]
                self._in_progress += len(writes)
            self._queue.put(_Group(writes, self._run_on_loop(writes)))

    def _send_to_thread(self, writes: list[_PendingWrite]) -> None:
        """Queue these writes for the thread."""
        self._in_progress += len(writes)
        self._queue.put(_Group(writes))

    def _run_on_loop(self, group: Sequence[_PendingWrite]) -> list[_Outcome] | None:
        """Execute items in a transaction left open; return the outcomes, or None if nothing is done."""
        try:
            if not self._write_lock.try_acquire():
                return None
        except OSError:
            return None  # the thread retries and reports it
        try:
            self._check_file()
            self._begin(0)  # the loop must not block
            self._turns.begin(write.turn for write in group)
            return self._execute(group)
        except BaseException as error:
            self._roll_back()
            _notify_rollback(group)
            self._write_lock.release()
            if not isinstance(error, Exception):
                raise
            return None  # the thread retries each singly

    def _begin(self, busy_timeout_ms: int) -> None:
        """Begin a transaction, and wait this long for other writers; the setting stays for the next ones."""
        if busy_timeout_ms != self._busy_timeout_ms:
            self._connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
            self._busy_timeout_ms = busy_timeout_ms
        self._connection.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Finish all submitted writes, then end the thread. Blocks."""
        with self._loop_lock, self._state_lock:
            if not self._closed:
                self._closed = True
                for writes in self._pending_by_loop.values():
                    self._send_to_thread(writes)
                self._pending_by_loop.clear()
                self._queue.put(None)
        self._thread.join()

    def _run_thread(self) -> None:
        open_ended = True
        while open_ended and (group := self._queue.get()) is not None:
            if group.outcomes is None:
                open_ended = self._extend_group(group.writes)
            self._started += len(group.writes)
            self.on_commit(len(group.writes))
            self._deliver(group.writes, self._finish(group))

    def _extend_group(self, writes: list[_PendingWrite]) -> bool:
        """Add the queued groups to these writes; return whether more may come."""
        with suppress(queue.Empty):
            while len(writes) < _MAX_GROUP_SIZE:
                group = self._queue.get(block=False)
                if group is None:
                    return False
                writes += group.writes
        return True

    def _finish(self, group: _Group) -> list[_Outcome]:
        """Commit a group; return the final outcome of each write."""
        if group.outcomes is None:
            return self._commit_or_split(group.writes)
        try:
            self._connection.execute("COMMIT")
        except Exception:  # noqa: BLE001 - roll back what the loop did and redo it here
            self._roll_back()
            _notify_rollback(group.writes)
        else:
            self._turns.note_commit()
            return group.outcomes
        finally:
            self._write_lock.release()
        return self._commit_or_split(group.writes)

    def _commit_or_split(self, group: Sequence[_PendingWrite]) -> list[_Outcome]:
        try:
            return self._commit(group)
        except Exception as error:  # noqa: BLE001 - waiting callers need an answer
            if len(_partition(group)) <= 1 or isinstance(error, _TransactionNotBegun):
                return [_Outcome(error=self._as_unavailable(error)) for _ in group]
        # One job too large for the disk must not fail the small ones that came with it.
        return _run_parts(group, self._commit_or_split)

    def _as_unavailable(self, error: Exception) -> Exception:
        failure = self._to_error(error)
        failure.__cause__ = error
        return failure

    def _commit(self, group: Sequence[_PendingWrite]) -> list[_Outcome]:
        """Run the group as one transaction. Raises when nothing was written."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._write_lock.held())
                self._check_file()
                self._begin(self._patience_ms)
            except (sqlite3.Error, OSError) as error:
                raise _TransactionNotBegun(str(error)) from error
            self._turns.begin(write.turn for write in group)
            try:
                outcomes = self._execute(group)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                _notify_rollback(group)
                raise
            self._turns.note_commit()
        return outcomes

    def _execute(self, group: Sequence[_PendingWrite]) -> list[_Outcome]:
        """Run the jobs and batches of a group; raises only when the database itself fails."""
        return _run_parts(group, self._execute_part)

    def _execute_part(self, part: Sequence[_PendingWrite]) -> list[_Outcome]:
        """Run a job, or all items of a batch; raises only when the database itself fails."""
        first = part[0]
        if first.job is not None:
            return [self._run_job(first.job)]
        batch, items = first.batch, [write.item for write in part]
        assert batch is not None  # it is a job or an item
        outcome = self._run_job(partial(batch, items=items))
        if outcome.error is None:
            return [_Outcome(answer) for answer in outcome.result]
        batch.on_rollback()
        if len(part) == 1:
            return [outcome]
        return [single_outcome for write in part for single_outcome in self._execute_part([write])]

    def _roll_back(self) -> None:
        # A full disk may have ended the transaction already.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _run_job(self, job: Job[Any]) -> _Outcome:
        """Run one job; raises only when the database itself fails."""
        self._connection.execute("SAVEPOINT job")
        try:
            outcome = _Outcome(job(self._connection))
        except sqlite3.IntegrityError as error:
            outcome = _Outcome(error=Conflict(f"refused by the database: {error}", code="taken"))
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - raised to the caller who submitted the job
            outcome = _Outcome(error=error)
        if outcome.error is not None:
            self._connection.execute("ROLLBACK TO job")
        self._connection.execute("RELEASE job")
        return outcome

    def _deliver(self, group: Sequence[_PendingWrite], outcomes: Sequence[_Outcome]) -> None:
        """Resolve the futures with one call per loop. Thread-safe calls are expensive."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], _Outcome]]]
        by_loop = defaultdict(list)
        for write, outcome in zip(group, outcomes, strict=True):
            by_loop[write.loop].append((write.future, outcome))
        with self._state_lock:
            self._in_progress -= len(group)
            postponed_loops = [loop for loop in self._pending_by_loop if loop not in by_loop]
        for loop, settled in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: no caller is left
                loop.call_soon_threadsafe(self._resolve, loop, settled)
        for loop in postponed_loops:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._dispatch, loop)

    def _resolve(
        self,
        loop: asyncio.AbstractEventLoop,
        settled: Sequence[tuple[asyncio.Future[Any], _Outcome]],
    ) -> None:
        for future, outcome in settled:
            if future.done():  # the caller was cancelled
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)
        if loop in self._pending_by_loop:
            loop.call_soon(self._dispatch, loop)  # after the callers have got their results


def _notify_rollback(group: Sequence[_PendingWrite]) -> None:
    """Notify the batch handlers of a rollback."""
    for batch in {write.batch for write in group if write.batch}:
        batch.on_rollback()


def _partition(group: Sequence[_PendingWrite]) -> list[list[int]]:
    """Split a group into parts, as positions: each job, then the items of each batch. Withdrawn ones are left out."""
    jobs = [[position] for position, write in enumerate(group) if write.job is not None]
    batches: dict[BatchHandler[Any, Any] | None, list[int]] = {}
    for position, write in enumerate(group):
        if write.job is None and not write.is_withdrawn:
            batches.setdefault(write.batch, []).append(position)
    return jobs + list(batches.values())


def _run_parts(
    group: Sequence[_PendingWrite], run: Callable[[Sequence[_PendingWrite]], list[_Outcome]]
) -> list[_Outcome]:
    """Run each part of a group; return the outcomes in the order of the group."""
    outcomes: dict[int, _Outcome] = {}
    for part in _partition(group):
        outcomes.update(zip(part, run([group[position] for position in part]), strict=True))
    return [outcomes.get(position, _NO_OUTCOME) for position in range(len(group))]


def _ignore_size(_: int) -> None:
    """Default for `on_commit`."""
