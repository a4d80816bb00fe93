"""Group commit: jobs share a commit and nothing else."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from proffer.errors import Conflict
from proffer.store.errors import StoreUnavailable
from proffer.store.sqlite.errors import to_store_error
from proffer.store.sqlite.group_commit import GroupCommitter
from proffer.store.sqlite.write_lock import WriteLock


def add(connection: sqlite3.Connection, *, number: int) -> int:
    connection.execute("INSERT INTO numbers VALUES (?)", (number,))
    return number


def every(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


@asynccontextmanager
async def group_writer(tmp_path: Path) -> AsyncIterator[tuple[GroupCommitter, list[str]]]:
    """Open a writer on a table of unique numbers; the list collects the statements it runs."""
    path = tmp_path / "numbers.db"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE numbers (n INTEGER UNIQUE)")
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    turns = WriteLock(path, 1)
    writer = GroupCommitter(connection, turns, partial(to_store_error, path), patience_ms=2_000)
    try:
        yield writer, statements
    finally:
        await asyncio.to_thread(writer.close)
        turns.close()
        connection.close()


async def held(writer: GroupCommitter) -> threading.Event:
    """Keep the writer busy until the event is set, so that what is submitted now becomes one group."""
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(5)

    writer.submit(wait)
    await begun.wait()
    return go


async def test_jobs_that_wait_together_share_one_commit(tmp_path: Path) -> None:
    """A hundred jobs submitted while the writer is busy cost one commit."""
    async with group_writer(tmp_path) as (writer, statements):
        go = await held(writer)
        jobs = [writer.submit(partial(add, number=number)) for number in range(100)]
        go.set()
        assert list(range(100)) == await asyncio.gather(*jobs)
        assert statements.count("COMMIT") == 2  # the holder's, and theirs


async def test_what_comes_in_one_turn_of_the_loop_is_handed_over_together(tmp_path: Path) -> None:
    """Though the writer has nothing else to do, it is woken once."""
    async with group_writer(tmp_path) as (writer, statements):
        jobs = [writer.submit(partial(add, number=number)) for number in range(10)]
        assert writer.pending == 10
        await asyncio.gather(*jobs)
        assert (writer.pending, statements.count("COMMIT")) == (0, 1)


async def test_a_refused_job_undoes_only_itself(tmp_path: Path) -> None:
    """What it wrote before it raised is gone, its caller gets what it raised, the others are kept."""

    def refuse(connection: sqlite3.Connection) -> None:
        add(connection, number=2)
        raise KeyError("refused")

    async with group_writer(tmp_path) as (writer, _):
        go = await held(writer)
        jobs: list[asyncio.Future[int | None]] = [
            writer.submit(partial(add, number=1)),
            writer.submit(refuse),
            writer.submit(partial(add, number=3)),
        ]
        go.set()
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert [int, KeyError, int] == [type(each) for each in results]
        assert await writer.submit(every) == [1, 3]


async def test_a_broken_constraint_is_a_conflict(tmp_path: Path) -> None:
    """Jobs of one group see each other's work, and the second of two equal numbers is refused."""
    async with group_writer(tmp_path) as (writer, _):
        twins = [writer.submit(partial(add, number=1)) for _ in range(2)]
        assert await twins[0] == 1
        with pytest.raises(Conflict, match="UNIQUE"):
            await twins[1]


async def test_a_job_that_breaks_the_database_fails_alone(tmp_path: Path) -> None:
    """When a group fails its jobs run again one by one, and only the culprit is told."""

    def end_everything(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        connection.execute("SELECT * FROM nowhere")

    async with group_writer(tmp_path) as (writer, _):
        go = await held(writer)
        before = writer.submit(partial(add, number=1))
        culprit = writer.submit(end_everything)
        after = writer.submit(partial(add, number=2))
        go.set()
        with pytest.raises(StoreUnavailable, match="no such table"):
            await culprit
        assert [await before, await after] == [1, 2]
        assert await writer.submit(every) == [1, 2]


async def test_a_caller_who_left_harms_nobody(tmp_path: Path) -> None:
    """The job of a cancelled caller is done all the same, and the others get their answers."""
    async with group_writer(tmp_path) as (writer, _):
        go = await held(writer)
        gone, stays = (writer.submit(partial(add, number=number)) for number in (1, 2))
        gone.cancel()
        go.set()
        assert await stays == 2
        assert await writer.submit(every) == [1, 2]


async def test_closing_runs_what_waits_and_takes_no_more(tmp_path: Path) -> None:
    """Everything submitted before is answered, anything after is refused at once."""
    async with group_writer(tmp_path) as (writer, _):
        go = await held(writer)
        jobs = [writer.submit(partial(add, number=number)) for number in range(1000)]
        closing = asyncio.create_task(asyncio.to_thread(writer.close))
        await asyncio.sleep(0.02)
        with pytest.raises(StoreUnavailable, match="closed"):
            writer.submit(every)
        go.set()
        await closing
        assert list(range(1000)) == await asyncio.gather(*jobs)


class Adding:
    """A batch that writes numbers, and remembers what it was given together and how often it was undone."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.threads: list[str] = []
        self.undos = 0

    def __call__(self, connection: sqlite3.Connection, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        self.threads.append(threading.current_thread().name)
        numbers = [(number,) for number in items]
        connection.executemany("INSERT INTO numbers VALUES (?)", numbers)
        if 13 in items:
            raise KeyError(13)
        return [number * 2 for number in items]

    def on_rollback(self) -> None:
        self.undos += 1


async def test_items_of_one_batch_are_done_together_after_the_jobs(tmp_path: Path) -> None:
    """In the order in which they came, each with its own answer, in one commit with everything else."""
    async with group_writer(tmp_path) as (writer, statements):
        one, other = Adding(), Adding()
        go = await held(writer)
        first = [writer.submit_to(one, number) for number in (1, 2)]
        job = writer.submit(every)
        rest = [writer.submit_to(other, 3), writer.submit_to(one, 4)]
        assert writer.pending == 5
        go.set()
        assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8]
        assert await job == []
        assert (one.groups, other.groups) == ([[1, 2, 4]], [[3]])
        assert (statements.count("COMMIT"), writer.pending) == (2, 0)


async def test_an_item_that_spoils_a_batch_fails_alone(tmp_path: Path) -> None:
    """The others are done one by one, and the batch forgets what it had learned."""
    async with group_writer(tmp_path) as (writer, _):
        batch = Adding()
        go = await held(writer)
        items = [writer.submit_to(batch, number) for number in (1, 13, 2)]
        go.set()
        found = await asyncio.gather(*items, return_exceptions=True)
        assert [type(one) for one in found] == [int, KeyError, int]
        assert batch.undos
        assert await writer.submit(every) == [1, 2]


async def test_a_batch_survives_a_job_that_breaks_the_database(tmp_path: Path) -> None:
    """It hears that it was undone, and is done again."""

    def end_everything(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        connection.execute("SELECT * FROM nowhere")

    async with group_writer(tmp_path) as (writer, _):
        batch = Adding()
        go = await held(writer)
        culprit = writer.submit(end_everything)
        items = [writer.submit_to(batch, number) for number in (1, 2)]
        go.set()
        with pytest.raises(StoreUnavailable):
            await culprit
        assert await asyncio.gather(*items) == [2, 4]
        assert batch.undos == 1
        assert await writer.submit(every) == [1, 2]


async def test_items_that_come_alone_are_done_by_the_loop(tmp_path: Path) -> None:
    """At the end of its turn, all in one commit, which the thread sees to."""
    async with group_writer(tmp_path) as (writer, statements):
        batch = Adding()
        items = [writer.submit_to(batch, number) for number in (1, 2, 3)]
        assert await asyncio.gather(*items) == [2, 4, 6]
        assert (batch.groups, batch.threads) == ([[1, 2, 3]], [threading.main_thread().name])
        assert (statements.count("COMMIT"), writer.pending) == (1, 0)


async def test_items_wait_for_what_is_being_written_and_then_go_together(tmp_path: Path) -> None:
    """However many turns of the loop they came in, and no more than so many at once."""
    async with group_writer(tmp_path) as (writer, statements):
        batch = Adding()
        go = await held(writer)
        items = []
        for number in range(20, 120):
            items.append(writer.submit_to(batch, number))
            await asyncio.sleep(0)
        go.set()
        assert await asyncio.gather(*items) == [number * 2 for number in range(20, 120)]
        assert [len(group) for group in batch.groups] == [64, 36]
        assert set(batch.threads) == {threading.main_thread().name}
        assert statements.count("COMMIT") == 3


async def test_what_every_turn_brings_more_of_is_left_for_another(tmp_path: Path) -> None:
    """Items of turns that follow each other are one group, and the first turn without any ends it."""
    async with group_writer(tmp_path) as (writer, _):
        batch = Adding()
        items = []
        for number in range(20, 30):
            items.append(writer.submit_to(batch, number))
            await asyncio.sleep(0)
        await asyncio.gather(*items)
        items = [writer.submit_to(batch, 1)]
        for _turn in range(3):
            await asyncio.sleep(0)
        items.append(writer.submit_to(batch, 2))
        await asyncio.gather(*items)
        assert batch.groups == [list(range(20, 30)), [1], [2]]


async def test_the_loop_waits_for_no_other_process(tmp_path: Path) -> None:
    """Whether that takes turns or has simply locked the database, the thread waits and does the items."""
    async with group_writer(tmp_path) as (writer, _):
        path = tmp_path / "numbers.db"
        others = WriteLock(path, 1)
        rude = sqlite3.connect(path, isolation_level=None)
        batch = Adding()
        with others.held():
            first = writer.submit_to(batch, 1)
            await asyncio.sleep(0.01)
            assert not first.done()
        assert await first == 2
        rude.execute("BEGIN IMMEDIATE")
        second = writer.submit_to(batch, 2)
        await asyncio.sleep(0.01)
        assert not second.done()
        rude.execute("ROLLBACK")
        assert await second == 4
        assert await writer.submit_to(batch, 3) == 6
        assert batch.threads == ["proffer-writer", "proffer-writer", threading.main_thread().name]
        rude.close()
        others.close()


async def test_an_item_that_spoils_what_the_loop_does_fails_alone(tmp_path: Path) -> None:
    """The others are kept."""
    async with group_writer(tmp_path) as (writer, _):
        batch = Adding()
        items = [writer.submit_to(batch, number) for number in (1, 13, 2)]
        found = await asyncio.gather(*items, return_exceptions=True)
        assert [type(one) for one in found] == [int, KeyError, int]
        assert await writer.submit(every) == [1, 2]


async def test_what_cannot_be_committed_does_not_harm_what_came_with_it(tmp_path: Path) -> None:
    """The whole group is undone, and each batch is tried for itself."""

    class Promising(Adding):
        """Writes what the database takes, and refuses when it is to be committed."""

        def __call__(self, connection: sqlite3.Connection, items: Sequence[int]) -> list[int]:
            connection.executemany("INSERT INTO debts VALUES (?)", [(one,) for one in items])
            return list(items)

    def prepare(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE debts (n INTEGER REFERENCES numbers (n) DEFERRABLE INITIALLY DEFERRED)")

    async with group_writer(tmp_path) as (writer, statements):
        await writer.submit(prepare)
        # Not within a transaction, where it has no effect.
        writer._connection.execute("PRAGMA foreign_keys = ON")
        good, bad = Adding(), Promising()
        kept, lost = writer.submit_to(good, 1), writer.submit_to(bad, 5)
        assert await kept == 2
        with pytest.raises(StoreUnavailable):
            await lost
        assert good.undos >= 1
        assert await writer.submit(every) == [1]
        assert "ROLLBACK" in statements


async def test_closing_takes_what_waits_for_a_commit(tmp_path: Path) -> None:
    """Items that were held back until the thread is free are done before the end."""
    async with group_writer(tmp_path) as (writer, _):
        batch = Adding()
        go = await held(writer)
        items = [writer.submit_to(batch, number) for number in (1, 2)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(writer.close))
        await asyncio.sleep(0.02)
        go.set()
        await closing
        assert await asyncio.gather(*items) == [2, 4]
