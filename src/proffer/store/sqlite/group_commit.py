"""Group commit: what comes in while something is being made durable is made durable together, by one commit.

A commit costs a wait for the disk, whatever is in it, so jobs that arrive together share one. Jobs
are functions of a connection and know nothing of each other: each runs in a savepoint of its own, and
what one of them raises is its own affair. Nobody hears of a result before it is on the disk.

Jobs run in a thread. Every statement gives up the interpreter and waits to get it back, from the very
event loop that has more to write; so what comes in great numbers does not come as jobs. It is handed in as
items of a `Batch`, which does all those of a group with few statements, and where nothing else is being
written the event loop does those itself at the end of its turn: the thread has but to commit.
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
"""So that a disk that stands still costs a bounded amount of memory: what comes beyond it is refused at once."""
_LARGEST_GROUP = 512
"""So that under a flood the first to come does not wait for the last."""
_LARGEST_ON_THE_LOOP = 64
"""So that the event loop does not stand still for more than a millisecond or two."""


class Batch(Protocol[Item_contra, Answer_co]):
    """Does many alike things with few statements, after the jobs of the same group; in a thread or on the loop."""

    def __call__(
        self, connection: sqlite3.Connection, items: Sequence[Item_contra]
    ) -> Sequence[Answer_co]:
        """An answer for each item. What it raises undoes them all, and each is tried alone."""
        ...

    def undone(self) -> None:
        """Forget what was learned of the database: a transaction was rolled back."""
        ...


class _Waiting(Struct, frozen=True):
    """A job, or an item of a batch, and whoever waits for it."""

    job: Job[Any] | None
    batch: Batch[Any, Any] | None
    item: Any
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class _Outcome(Struct, frozen=True):
    """What became of a job: its result, or what it raised."""

    result: Any = None
    error: Exception | None = None


class _Group(Struct):
    """What the thread is given: to do and to commit, or done already, in an open transaction, and to be committed."""

    waiting: list[_Waiting]
    outcomes: list[_Outcome] | None = None


class _NotBegun(Exception):
    """The writer was not let in, so running the jobs one by one would not help."""


class GroupWriter:
    """Runs jobs in order, on a connection (in autocommit mode) nobody else uses meanwhile.

    `trouble` puts a failure of the database into words. A job may run twice, the first time without
    any effect, so it must not act on anything but its connection. `patience_ms` is how long the connection
    waits for others who write without taking turns.
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
        """How many came in since the beginning, and how many of them are being written or have been."""
        self._under_way = 0
        """How many the thread has been given, or the loop is at, and are not durable yet."""
        self._closed = False
        self.told: Callable[[int], object] = _nobody
        """Called in the thread with the size of each group."""
        self._gate = threading.Lock()
        self._doing = threading.Lock()
        """Held by a loop that does things itself: the thread must not end before it has been given them."""
        self._thread = threading.Thread(target=self._work, name="proffer-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job[Result]) -> asyncio.Future[Result]:
        """What `job` returns or raises, once its effects are durable or undone.

        Raises StoreUnavailable, with nothing written, when the database fails, and Busy when too many
        wait already. A caller who is cancelled while waiting does not take the job back.
        """
        return self._put(job, None, None)

    def submit_to(self, batch: Batch[Item, Result], item: Item) -> asyncio.Future[Result]:
        """What `batch` answers for this item, or raises, once it is durable or undone; as `submit` else.

        Items of one group are given to it together, in the order in which they came.
        """
        return self._put(None, batch, item)

    def _put(
        self, job: Job[Any] | None, batch: Batch[Any, Any] | None, item: Any
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._gate:  # nothing may queue behind the end
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
        """How many jobs wait for the next group."""
        return self._given - self._taken

    def _hand_over(self, loop: asyncio.AbstractEventLoop, seen: int = 0) -> None:
        """See to what this loop has gathered: do it here, or give it to the thread, or leave it till that is free.

        While every turn brings more of it, it is left for another turn: a larger group costs each less.
        """
        with self._doing:
            with self._gate:
                gathered = self._gathered.pop(loop, None)
                if gathered is None:
                    return
                if any(one.job is not None for one in gathered):
                    self._give(gathered)
                    return
                if self._under_way:  # when that is done this is called again
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
        """Have the thread do these."""
        self._under_way += len(gathered)
        self._queue.put(_Group(gathered))

    def _done_here(self, group: Sequence[_Waiting]) -> list[_Outcome] | None:
        """What became of these items, in a transaction that is left open; None with nothing done."""
        try:
            if not self._turns.try_take():
                return None
        except OSError:
            return None  # the thread finds the words
        connection = self._connection
        try:
            connection.execute("PRAGMA busy_timeout = 0")  # the loop waits for nobody
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
            return None  # the thread tries each alone

    def close(self) -> None:
        """Finish everything submitted, then end the thread. Blocks."""
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
        """Take what waits behind these as well; whether more may come. None of it is done already."""
        with suppress(queue.Empty):
            while len(waiting) < _LARGEST_GROUP:
                group = self._queue.get(block=False)
                if group is None:
                    return False
                waiting += group.waiting
        return True

    def _settle(self, group: _Group) -> list[_Outcome]:
        """What became of each job and item of the group, for good."""
        if group.outcomes is None:
            return self._settled(group.waiting)
        try:
            self._connection.execute("COMMIT")
        except Exception:  # noqa: BLE001 - whatever it is: what the loop did is undone, and done here
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
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
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
        """Run the group as one transaction. Raises when none of it was written."""
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
        except Exception as error:  # noqa: BLE001 - a refusal belongs to whoever submitted the job
            outcome = _Outcome(error=error)
        if outcome.error is not None:
            self._connection.execute("ROLLBACK TO job")
        self._connection.execute("RELEASE job")
        return outcome

    def _deliver(self, group: Sequence[_Waiting], outcomes: Sequence[_Outcome]) -> None:
        """Wake everyone who waits; one call for each loop, since a call from a thread is dear."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], _Outcome]]]
        by_loop = defaultdict(list)
        for waiting, outcome in zip(group, outcomes, strict=True):
            by_loop[waiting.loop].append((waiting.future, outcome))
        with self._gate:
            self._under_way -= len(group)
            held_back = [loop for loop in self._gathered if loop not in by_loop]
        for loop, settled in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
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
            if future.done():  # its caller was cancelled
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)
        if loop in self._gathered:
            loop.call_soon(self._hand_over, loop)  # after those who wait have had their answers


def _undo(group: Sequence[_Waiting]) -> None:
    """Tell the batches that what they learned of the database is not so."""
    for batch in {id(one.batch): one.batch for one in group if one.batch}.values():
        batch.undone()


def _parts(group: Sequence[_Waiting]) -> list[list[int]]:
    """What is done together: each job for itself, then the items of each batch; as places in the group."""
    jobs = [[place] for place, waiting in enumerate(group) if waiting.job is not None]
    batches: dict[int, list[int]] = {}
    for place, waiting in enumerate(group):
        if waiting.job is None:
            batches.setdefault(id(waiting.batch), []).append(place)
    return jobs + list(batches.values())


def _nobody(_: int) -> None:
    """Where nobody wants to know the sizes of groups."""
