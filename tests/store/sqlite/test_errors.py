"""When the database fails, callers are told why, nothing is half-written, and afterwards all goes on."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from proffer.store.errors import StoreUnavailable
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.store_contract import a_container, a_token, a_version

BIG = {"xdm:name": "big", "text": "x" * 1_000_000}


@asynccontextmanager
async def sqlite_store(path: Path) -> AsyncIterator[SqliteStore]:
    """Open a store that has one container and waits 0.2 s for others."""
    store = await SqliteStore.open(path, busy_timeout_s=0.2)
    await store.ensure_container(a_container())
    try:
        yield store
    finally:
        await store.close()


async def check_only_tokens_were_kept(store: SqliteStore, count: int) -> None:
    """Nothing is in the library but what is written now, and the tokens are there."""
    assert await store.live("c1") == (0, ())
    assert count == len(await store.tokens())
    await store.commit("c1", 0, [a_version(1, document=BIG)])
    assert (1, (a_version(1, document=BIG),)) == await store.live("c1")


async def test_a_full_disk_fails_only_what_does_not_fit(tmp_path: Path) -> None:
    """The large write is refused whole, small ones of the same moment are kept, and later all fits."""

    def leave_pages(connection: sqlite3.Connection, count: int = 20) -> None:
        (used,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {used + count}")

    async with sqlite_store(tmp_path / "proffer.db") as store:
        await store.submit(leave_pages)
        tokens = [store.add_token(a_token(f"t{number}")) for number in range(8)]
        large = store.commit("c1", 0, [a_version(1), a_version(2, "two", document=BIG)])
        results = await asyncio.gather(*tokens[:4], large, *tokens[4:], return_exceptions=True)

        assert results[:4] + results[5:] == [None] * 8
        with pytest.raises(StoreUnavailable, match=r"proffer.db.*full"):
            raise results[4] or AssertionError
        await store.submit(lambda connection: leave_pages(connection, 10_000))
        await check_only_tokens_were_kept(store, 8)


async def test_a_read_only_database_is_read(tmp_path: Path) -> None:
    """Writing says why it cannot be; reading goes on, and so does writing when it may."""

    def write_protect(store: SqliteStore, value: int) -> None:
        store._writer._connection.execute(f"PRAGMA query_only = {value}")

    async with sqlite_store(tmp_path / "proffer.db") as store:
        write_protect(store, 1)
        with pytest.raises(StoreUnavailable, match="readonly"):
            await store.add_token(a_token())
        assert [a_container()] == list(await store.containers())
        write_protect(store, 0)
        await check_only_tokens_were_kept(store, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="to root no file is read-only")
async def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    """A database whose file may not be written to is not written to."""
    async with sqlite_store(tmp_path / "proffer.db"):
        pass
    (tmp_path / "proffer.db").chmod(0o400)
    with pytest.raises(StoreUnavailable):
        async with sqlite_store(tmp_path / "proffer.db"):
            pass


async def test_a_lock_held_too_long_is_not_waited_for(tmp_path: Path) -> None:
    """A program that never lets go of the database fails writes, all of them at once, but no reads."""
    async with sqlite_store(tmp_path / "proffer.db") as store:
        with closing(sqlite3.connect(tmp_path / "proffer.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writes = [store.add_token(a_token(f"t{number}")) for number in range(30)]
            results = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), timeout=2)
            assert {StoreUnavailable} == {type(each) for each in results}
            assert [a_container()] == list(await store.containers())
        await check_only_tokens_were_kept(store, 0)


async def test_a_turn_not_had_in_time_is_given_up(tmp_path: Path) -> None:
    """A process that stops while it has the turn to write does not stop the others for ever."""
    async with sqlite_store(tmp_path / "proffer.db") as store:
        with (tmp_path / "proffer.db-lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(StoreUnavailable, match=r"other processes have been writing to it for 0.2 s"):
                await store.add_token(a_token())
        await check_only_tokens_were_kept(store, 0)


async def test_a_damaged_database_is_reported(tmp_path: Path) -> None:
    """Pages full of nonsense raise StoreUnavailable, wherever they are met."""
    path = tmp_path / "proffer.db"
    async with sqlite_store(path) as store:
        await store.commit("c1", 0, [a_version(1, document=BIG)])
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x5a" * (len(content) - 4096))
    with pytest.raises(StoreUnavailable, match="malformed"):
        async with sqlite_store(path) as store:
            await store.live("c1")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (
            lambda path: path.write_bytes(b"this is a letter, not a database" * 200),
            "not a database",
        ),
        (lambda path: path.mkdir(), "unable to open"),
        (lambda path: path.parent.rmdir(), "No such file"),
    ],
    ids=["a letter", "a folder", "nowhere"],
)
def test_what_cannot_be_opened_says_why(tmp_path: Path, prepare: Callable[[Path], object], reason: str) -> None:
    """A path that leads to no database is named, with the reason."""
    path = tmp_path / "folder" / "proffer.db"
    path.parent.mkdir()
    prepare(path)

    with pytest.raises(StoreUnavailable, match=rf"proffer.db.*{reason}"):
        asyncio.run(SqliteStore.open(path))
