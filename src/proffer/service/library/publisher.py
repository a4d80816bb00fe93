"""From committed versions to the snapshot in force. The engine's only door to the catalogue."""

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
"""Seconds without a change after which what has been patched is made anew; many patches do not wait for it."""


class Publisher:
    """Holds the snapshot in force for one container, and the moment it came into force."""

    def __init__(self, container: str) -> None:
        self._builder = Builder(container)
        self.snapshot: Snapshot = empty(container)
        self.published_us: int | None = None
        self._later: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def publish(self, versions: Iterable[Instance], revision: int, now_us: int) -> None:
        """Put the catalogue as it is after these versions into force, whole, at once.

        Requests get their turns while it is built; until it is done they are answered from what was in
        force before. One call at a time.
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
            # What is half built would be in the way of the next: it is brought to its end first.
            self.snapshot = at_once(steps)
            raise
        finally:
            self.published_us = now_us
        self._renew_later()

    @property
    def patches(self) -> int:
        """How many changed offers are asked one by one until they are in an index, where that is most."""
        return self._builder.patches

    def close(self) -> None:
        """Leave what has been patched as it is: it says the same."""
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
        except Exception as error:  # noqa: BLE001 - what is in force serves on
            failure("the index of a library was not made anew", error)
        else:
            self._renewing = None
            self._renew_later()


def _read(instance: Instance) -> Entity | None:
    # What an older version let in must not keep everything after it from coming into force.
    try:
        return read(instance)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it
        failure(f"`{instance.id}` cannot be read and is out of play", error)
        return None
