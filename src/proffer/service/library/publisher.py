"""Publisher: compile committed versions into the current snapshot of a container."""

import asyncio
from collections.abc import Iterable

from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.engine.index.incremental import MAX_CHANGES
from proffer.engine.snapshot import Snapshot, empty_snapshot
from proffer.engine.steps import run_to_completion
from proffer.model.ids import UNPUBLISHED_KINDS
from proffer.model.instance import Instance
from proffer.model.parse import Entity, parse_entity
from proffer.service.runtime.scheduler import run_in_background, run_sliced
from proffer.telemetry import log_failure

REINDEX_DELAY_S = 2.0
"""Seconds without a change before patched pools are reindexed; many patches do not wait."""


class Publisher:
    """Hold the current snapshot of one container and its publication time."""

    def __init__(self, container: str) -> None:
        self._builder = SnapshotBuilder(container)
        self.snapshot: Snapshot = empty_snapshot(container)
        self.published_us: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reindexing: asyncio.Task[None] | None = None

    async def publish(self, versions: Iterable[Instance], revision: int, now_us: int) -> None:
        """Publish the catalog after these versions as one complete snapshot.

        The build is time-sliced; until it is complete, requests use the previous snapshot. Must not
        be called concurrently.
        """
        changes = (
            (version.key, None if version.deleted else _parse(version))
            for version in versions
            if version.kind not in UNPUBLISHED_KINDS
        )
        steps = self._builder.apply_in_steps(changes, revision)
        try:
            self.snapshot = await run_sliced(steps)
        except asyncio.CancelledError:
            # A partial build would corrupt the next one, so it is completed first.
            self.snapshot = run_to_completion(steps)
            raise
        finally:
            self.published_us = now_us
        self._schedule_reindex()

    @property
    def unindexed_changes(self) -> int:
        """Largest number of a pool's changed offers not yet in its index."""
        return self._builder.changed_offer_count

    def close(self) -> None:
        """Cancel pending reindexing; patched pools give the same results."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reindexing is not None:
            self._reindexing.cancel()

    def _schedule_reindex(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.unindexed_changes and (self._reindexing is None or self._reindexing.done()):
            delay_s = 0 if self.unindexed_changes > MAX_CHANGES // 2 else REINDEX_DELAY_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._start_reindex)

    def _start_reindex(self) -> None:
        self._reindexing = asyncio.create_task(self._reindex())

    async def _reindex(self) -> None:
        try:
            await run_in_background(self._builder.reindex_in_background())
        except Exception as error:  # noqa: BLE001 - the current snapshot stays in use
            log_failure("reindexing a library failed", error)
        else:
            self._reindexing = None
            self._schedule_reindex()


def _parse(instance: Instance) -> Entity | None:
    # A document that an older release accepted must not block publishing.
    try:
        return parse_entity(instance)
    except Exception as error:  # noqa: BLE001 - any error means that it cannot be parsed
        log_failure(f"`{instance.id}` cannot be parsed and is ignored", error)
        return None
