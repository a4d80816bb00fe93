"""Tasks that one server at a time does: the holder of a lease in the store."""

import asyncio
import os
import socket
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from proffer.errors import ProfferError
from proffer.model.lease import Lease
from proffer.service.runtime.clock import Clock
from proffer.store.ports import LeaseStore

LEASE_SECONDS = 60
"""Time after which another server may take over from one that stopped renewing."""
_RENEW_SECONDS = LEASE_SECONDS / 4


class ExclusiveTask:
    """Run work in at most one process at a time; the lease `name` decides which.

    The holder renews its lease while it works. If it cannot, the work is cancelled before the lease ends.
    """

    def __init__(self, store: LeaseStore, clock: Clock, name: str) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    async def run(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Run `work` if no other process holds the lease; return whether it was run to its end."""
        lease = await self._take(await self._store.lease(self._name))
        if lease is None:
            return False
        task = asyncio.ensure_future(work())
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_RENEW_SECONDS)
                if not task.done():
                    with suppress(ProfferError):  # the store is unavailable for now; the lease still holds
                        lease = await self._take(lease)
                    if lease is None or lease.until_us - self._clock() < _RENEW_SECONDS * 1_000_000:
                        return False
            await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if lease is not None:
                with suppress(ProfferError):
                    await self._store.put_lease(replace(lease, owner="", until_us=0))
        return True

    async def _take(self, lease: Lease) -> Lease | None:
        """Take or renew the lease; None if another process has it."""
        now_us = self._clock()
        if not lease.is_free_for(self._owner, now_us):
            return None
        return await self._store.put_lease(
            replace(lease, owner=self._owner, until_us=now_us + LEASE_SECONDS * 1_000_000)
        )
