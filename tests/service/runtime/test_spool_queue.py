"""Queues over a spool: one event that cannot be recorded does not hold up the others."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from proffer.service.runtime.spool_queue import SpoolQueue
from proffer.store.errors import StoreUnavailable
from store.test_spool import TextSpool


async def test_an_event_that_cannot_be_recorded_is_kept_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its file is kept, logged and reported; all others are recorded, and it is tried once only."""
    recorded: list[bytes] = []

    async def put(events: Sequence[bytes]) -> None:
        if b"bad" in events:
            raise ValueError("it cannot be stored")
        recorded.extend(events)

    queue = SpoolQueue(TextSpool(tmp_path, 1_000_000), put)
    await queue.add([b"first", b"bad", b"last"])
    assert queue.reason() == "36 bytes of texts wait to be recorded"
    with caplog.at_level(logging.WARNING, "proffer"):
        await queue.drain()
    assert recorded == [b"first", b"last"]
    assert not queue.pending
    (kept,) = tmp_path.iterdir()
    assert f"`{kept}`" in caplog.text
    assert queue.damaged_files() == 1
    assert queue.reason() is not None
    assert f"1 spool file of texts is damaged (`{kept}`)" in (queue.reason() or "")


async def test_events_stay_while_the_database_is_away(tmp_path: Path) -> None:
    """And are recorded when it is back."""
    recorded: list[bytes] = []
    away = True

    async def put(events: Sequence[bytes]) -> None:
        if away:
            raise StoreUnavailable("it is away")
        recorded.extend(events)

    queue = SpoolQueue(TextSpool(tmp_path, 1_000_000), put)
    await queue.add([b"first"])
    with pytest.raises(StoreUnavailable):
        await queue.drain()
    assert queue.pending
    away = False
    await queue.drain()
    assert recorded == [b"first"]
    assert (queue.reason(), list(tmp_path.iterdir())) == (None, [])


async def test_a_drain_that_is_cancelled_waits_for_the_write_in_progress(tmp_path: Path) -> None:
    """Until it has ended, no other process can take the file and record the events a second time."""
    recorded: list[bytes] = []
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def put_slowly(events: Sequence[bytes]) -> None:
        has_begun.set()
        await may_end.wait()
        recorded.extend(events)

    async def put(events: Sequence[bytes]) -> None:
        recorded.extend(event for event in events if event not in recorded)

    queue = SpoolQueue(TextSpool(tmp_path, 1_000_000), put_slowly)
    await queue.add([b"first"])
    drain = asyncio.create_task(queue.drain())
    await has_begun.wait()
    drain.cancel()
    await asyncio.wait([drain], timeout=0.05)
    other = SpoolQueue(TextSpool(tmp_path, 1_000_000), put)
    await other.drain()
    assert (drain.done(), recorded) == (False, [])
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await drain
    await other.drain()
    assert recorded == [b"first"]
