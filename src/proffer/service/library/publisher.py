"""Publisher: compile committed versions into the current snapshot of a container."""

import asyncio
from collections.abc import Iterable

from proffer.engine.compile.compiler import Builder
from proffer.engine.index.incremental import MOST
from proffer.engine.snapshot import Snapshot, empty
from proffer.model.ids import UNPUBLISHED
from proffer.model.instance import Instance
from proffer.model.parse import Entity, read
from proffer.service.runtime.scheduler import at_once, in_the_background, in_turns
from proffer.telemetry import failure

RENEW_AFTER_S = 2.0
"""Seconds without a change before patched pools are reindexed; many patches do not wait."""


class Publisher:
    """Hold the current snapshot of one container and the time it was published."""

    def __init__(self, container: str) -> None:
        self._builder = Builder(container)
        self.snapshot: Snapshot = empty(container)
        self.published_us: int | None = None
        self._later: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def publish(self, versions: Iterable[Instance], revision: int, now_us: int) -> None:
        """Publish the catalog after these versions as one complete snapshot.

        The build is time-sliced; until it is complete, requests use the previous snapshot. Must not
        be called concurrently.
        """
        changes = (
            (one.key, None if one.deleted else _read(one))
            for one in versions
            if one.kind not in UNPUBLISHED
        )
        steps = self._builder.steps(changes, revision)
        try:
            self.snapshot = await in_turns(steps)
        except asyncio.CancelledError:
            # A partial build would corrupt the next one, so it is completed first.
            self.snapshot = at_once(steps)
            raise
        finally:
            self.published_us = now_us
        self._renew_later()

    @property
    def patches(self) -> int:
        """Largest number of changed offers of a pool that are not yet in its index."""
        return self._builder.patches

    def close(self) -> None:
        """Cancel pending reindexing; patched pools give the same results."""
        if self._later is not None:
            self._later.cancel()
        if self._renewing is not None:
            self._renewing.cancel()

    def _renew_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self.patches and (self._renewing is None or self._renewing.done()):
            soon = 0 if self.patches > MOST // 2 else RENEW_AFTER_S
            self._later = asyncio.get_running_loop().call_later(soon, self._renew)

    def _renew(self) -> None:
        self._renewing = asyncio.create_task(self._renewed())

    async def _renewed(self) -> None:
        try:
            await in_the_background(self._builder.renewal())
        except Exception as error:  # noqa: BLE001 - the current snapshot stays in use
            failure("the index of a library was not made anew", error)
        else:
            self._renewing = None
            self._renew_later()


def _read(instance: Instance) -> Entity | None:
    # A document that an older release accepted must not block publishing.
    try:
        return read(instance)
    except Exception as error:  # noqa: BLE001 - any error means that it cannot be parsed
        failure(f"`{instance.id}` cannot be read and is out of play", error)
        return None
