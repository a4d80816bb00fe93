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
from proffer.store.errors import StoreUnavailable
from proffer.store.sqlite.write_lock import Turns

Result = TypeVar("Result")
Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)
Job: TypeAlias = Callable[[sqlite3.Connection], Result]

MOST_WAITING = 8_192
"""Maximum number of queued writes, which bounds memory; further ones raise Busy at once."""
_LARGEST_GROUP = 512
"""Bounds the latency of the first write of a group under load."""
_LARGEST_ON_THE_LOOP = 64
"""Bounds the time the event loop is blocked to one or two milliseconds."""


class Batch(Protocol[Item_contra, Answer_co]):
    """Executes all items of a group with few statements, after its jobs; in thread or loop."""

    def __call__(
        self, connection: sqlite3.Connection, items: Sequence[Item_contra]
    ) -> Sequence[Answer_co]:
        """Return a result for each item. If it raises, all are rolled back and retried singly."""
        ...

    def undone(self) -> None:
        """Drop cached database state: a transaction was rolled back."""
        ...


class _Waiting(Struct, frozen=True):
    """A queued job or batch item, with the future of its caller."""

    job: Job[Any] | None
    batch: Batch[Any, Any] | None
    item: Any
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class _Outcome(Struct, frozen=True):
    """Result of a job or item, or its exception."""

    result: Any = None
    error: Exception | None = None


class _Group(Struct):
    """Work for the thread; with `outcomes` it is executed already and only to be committed."""

    waiting: list[_Waiting]
    outcomes: list[_Outcome] | None = None


class _NotBegun(Exception):
    """No transaction could be begun, so retrying the jobs one by one would not help."""


class GroupWriter:
    """Runs jobs in order on its own connection (in autocommit mode).

    `to_error` converts a database failure. A job may run twice, the first time rolled back, so it must
    not have effects beyond its connection. `patience_ms` is the busy timeout towards writers that do
    not use the write lock.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        turns: Turns,
        trouble: Callable[[Exception], StoreUnavailable],
        patience_ms: int,
    ) -> None:
        self._connection = connection
        self._turns = turns
        self._trouble = trouble
        self._patience_ms = patience_ms
        self._queue: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._given = self._taken = 0
        """Numbers of writes submitted, and taken from the queue, since the start."""
        self._under_way = 0
        """Number of writes handed to the thread or executing on a loop, not durable yet."""
        self._closed = False
        self.told: Callable[[int], object] = _nobody
        """Called in the thread with the size of each group."""
        self._gate = threading.Lock()
        self._doing = threading.Lock()
        """Held by a loop that executes writes itself: the thread must not end before it gets them."""
        self._thread = threading.Thread(target=self._work, name="proffer-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job[Result]) -> asyncio.Future[Result]:
        """Queue a job; the future gives what it returns or raises, once durable or rolled back.

        Raises StoreUnavailable, with nothing written, when the database fails, and Busy when too many
        writes are queued. Cancelling the caller does not cancel the job.
        """
        return self._put(job, None, None)

    def submit_to(self, batch: Batch[Item, Result], item: Item) -> asyncio.Future[Result]:
        """Queue an item for `batch`; the future gives its result or exception, as with `submit`.

        Items of one group are passed to it together, in order of submission.
        """
        return self._put(None, batch, item)

    def _put(
        self, job: Job[Any] | None, batch: Batch[Any, Any] | None, item: Any
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._gate:  # nothing may be queued after `close`
            if self._closed:
                raise self._trouble(ValueError("the store is closed"))
            if self.waiting >= MOST_WAITING:
                raise Busy("too many writes wait for the database; try again", code="busy")
            gathered = self._gathered.get(loop)
            if gathered is None:
                gathered = self._gathered[loop] = []
                loop.call_soon(self._hand_over, loop)
            gathered.append(_Waiting(job, batch, item, future, loop))
            self._given += 1
        return future

    @property
    def waiting(self) -> int:
        """Number of writes that wait for the next group."""
        return self._given - self._taken

    def _hand_over(self, loop: asyncio.AbstractEventLoop, seen: int = 0) -> None:
        """Dispatch a loop's writes: execute here, send to the thread, or wait until it is idle.

        While every iteration of the loop adds writes, they wait for another: larger groups are cheaper.
        """
        with self._doing:
            with self._gate:
                gathered = self._gathered.pop(loop, None)
                if gathered is None:
                    return
                if any(one.job is not None for one in gathered):
                    self._give(gathered)
                    return
                if self._under_way:  # called again when these are done
                    self._gathered[loop] = gathered
                    return
                if seen < len(gathered) < _LARGEST_ON_THE_LOOP:
                    self._gathered[loop] = gathered
                    loop.call_soon(self._hand_over, loop, len(gathered))
                    return
                if len(gathered) > _LARGEST_ON_THE_LOOP:
                    self._gathered[loop] = gathered[_LARGEST_ON_THE_LOOP:]
                    del gathered[_LARGEST_ON_THE_LOOP:]
                self._under_way += len(gathered)
            self._queue.put(_Group(gathered, self._done_here(gathered)))

    def _give(self, gathered: list[_Waiting]) -> None:
        """Queue these writes for the thread."""
        self._under_way += len(gathered)
        self._queue.put(_Group(gathered))

    def _done_here(self, group: Sequence[_Waiting]) -> list[_Outcome] | None:
        """Execute items in a transaction left open; return the outcomes, or None if nothing is done."""
        try:
            if not self._turns.try_take():
                return None
        except OSError:
            return None  # the thread retries and reports it
        connection = self._connection
        try:
            connection.execute("PRAGMA busy_timeout = 0")  # the loop must not block
            try:
                connection.execute("BEGIN IMMEDIATE")
            finally:
                connection.execute(f"PRAGMA busy_timeout = {self._patience_ms}")
            return self._done(group)
        except BaseException as error:
            self._roll_back()
            _undo(group)
            self._turns.give_back()
            if not isinstance(error, Exception):
                raise
            return None  # the thread retries each singly

    def close(self) -> None:
        """Finish all submitted writes, then end the thread. Blocks."""
        with self._doing, self._gate:
            if not self._closed:
                self._closed = True
                for gathered in self._gathered.values():
                    self._give(gathered)
                self._gathered.clear()
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        open_ended = True
        while open_ended and (group := self._queue.get()) is not None:
            if group.outcomes is None:
                open_ended = self._take_more(group.waiting)
            self._taken += len(group.waiting)
            self.told(len(group.waiting))
            self._deliver(group.waiting, self._settle(group))

    def _take_more(self, waiting: list[_Waiting]) -> bool:
        """Add the queued groups to these writes; return whether more may come."""
        with suppress(queue.Empty):
            while len(waiting) < _LARGEST_GROUP:
                group = self._queue.get(block=False)
                if group is None:
                    return False
                waiting += group.waiting
        return True

    def _settle(self, group: _Group) -> list[_Outcome]:
        """Commit a group; return the final outcome of each write."""
        if group.outcomes is None:
            return self._settled(group.waiting)
        try:
            self._connection.execute("COMMIT")
        except Exception:  # noqa: BLE001 - roll back what the loop did and redo it here
            self._roll_back()
            _undo(group.waiting)
        else:
            return group.outcomes
        finally:
            self._turns.give_back()
        return self._settled(group.waiting)

    def _settled(self, group: Sequence[_Waiting]) -> list[_Outcome]:
        parts = _parts(group)
        try:
            return self._commit(group)
        except Exception as error:  # noqa: BLE001 - waiting callers need an answer
            if len(parts) == 1 or isinstance(error, _NotBegun):
                return [_Outcome(error=self._failure(error)) for _ in group]
        # One job too large for the disk must not fail the small ones that came with it.
        outcomes: dict[int, _Outcome] = {}
        for part in parts:
            settled = self._settled([group[place] for place in part])
            outcomes.update(zip(part, settled, strict=True))
        return [outcomes[place] for place in range(len(group))]

    def _failure(self, error: Exception) -> Exception:
        failure = self._trouble(error)
        failure.__cause__ = error
        return failure

    def _commit(self, group: Sequence[_Waiting]) -> list[_Outcome]:
        """Run the group as one transaction. Raises when nothing was written."""
        with ExitStack() as held:
            try:
                held.enter_context(self._turns.taken())
                self._connection.execute("BEGIN IMMEDIATE")
            except (sqlite3.Error, OSError) as error:
                raise _NotBegun(str(error)) from error
            try:
                outcomes = self._done(group)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                _undo(group)
                raise
        return outcomes

    def _done(self, group: Sequence[_Waiting]) -> list[_Outcome]:
        """Run the jobs and batches of a group; raises only when the database itself fails."""
        outcomes: dict[int, _Outcome] = {}
        for part in _parts(group):
            done = self._do([group[place] for place in part])
            outcomes.update(zip(part, done, strict=True))
        return [outcomes[place] for place in range(len(group))]

    def _do(self, part: Sequence[_Waiting]) -> list[_Outcome]:
        """Run a job, or all items of a batch; raises only when the database itself fails."""
        first = part[0]
        if first.job is not None:
            return [self._run(first.job)]
        batch, items = first.batch, [waiting.item for waiting in part]
        assert batch is not None  # it is a job or an item
        together = self._run(partial(batch, items=items))
        if together.error is None:
            return [_Outcome(answer) for answer in together.result]
        batch.undone()
        if len(part) == 1:
            return [together]
        return [done for waiting in part for done in self._do([waiting])]

    def _roll_back(self) -> None:
        # A full disk may have ended the transaction already.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _run(self, job: Job[Any]) -> _Outcome:
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

    def _deliver(self, group: Sequence[_Waiting], outcomes: Sequence[_Outcome]) -> None:
        """Resolve the futures with one call per loop, since thread-safe calls are expensive."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], _Outcome]]]
        by_loop = defaultdict(list)
        for waiting, outcome in zip(group, outcomes, strict=True):
            by_loop[waiting.loop].append((waiting.future, outcome))
        with self._gate:
            self._under_way -= len(group)
            held_back = [loop for loop in self._gathered if loop not in by_loop]
        for loop, settled in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: no caller is left
                loop.call_soon_threadsafe(self._resolve, loop, settled)
        for loop in held_back:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._hand_over, loop)

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
        if loop in self._gathered:
            loop.call_soon(self._hand_over, loop)  # after the callers have got their results


def _undo(group: Sequence[_Waiting]) -> None:
    """Notify the batch handlers of a rollback."""
    for batch in {id(one.batch): one.batch for one in group if one.batch}.values():
        batch.undone()


def _parts(group: Sequence[_Waiting]) -> list[list[int]]:
    """Split a group into parts, as positions: each job, then the items of each batch."""
    jobs = [[place] for place, waiting in enumerate(group) if waiting.job is not None]
    batches: dict[int, list[int]] = {}
    for place, waiting in enumerate(group):
        if waiting.job is None:
            batches.setdefault(id(waiting.batch), []).append(place)
    return jobs + list(batches.values())


def _nobody(_: int) -> None:
    """Default for `on_commit`."""
