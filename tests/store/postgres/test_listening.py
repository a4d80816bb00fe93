"""Waiting for another server's changes."""

import asyncio
from typing import Any, cast

from proffer.store.postgres.listening import Listener


class Away:
    """A database that never answers."""

    async def connect(self) -> Any:
        await asyncio.Event().wait()


def test_who_waits_can_be_stopped_as_something_is_heard() -> None:
    """At whatever moment of it: a server that is told to stop must not wait for ever."""

    async def story(turns: int) -> bool:
        listener = Listener(cast("Any", Away()))

        async def watch() -> None:
            while True:
                await listener.wait()

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0.01)
        listener._heard.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        watcher.cancel()
        done, _ = await asyncio.wait([watcher], timeout=1)
        watcher.cancel()
        await listener.close()
        return bool(done)

    assert all(asyncio.run(story(turns)) for turns in range(4))
