"""Evaluation of stored memberships anew after an update that changed the meaning of rules.

It runs once per container, in the background. A checkpoint holds the version and the progress: it resumes after
a stop, and of several workers one does it, while the others see it proceed.
"""

import msgspec

from proffer.model.customer import EVENT_LIMITS, Checkpoint, EventLimits
from proffer.pql import MEANING_VERSION
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.periodic import PeriodicTask
from proffer.store.ports import ProfileStore

CHECKPOINT = "meaning of memberships"
SECONDS = 5.0
"""Time between two looks; evaluation without progress for that long is resumed by another worker."""
_PAGE = 500


class Progress(msgspec.Struct, frozen=True):
    """Version that memberships are evaluated by, and the last customer evaluated; None when all are."""

    version: int = 1
    after: int | None = None


class MembershipReevaluation:
    """Evaluate the memberships that an earlier version of the language gave."""

    def __init__(
        self, store: ProfileStore, registry: ContainerRegistry, clock: Clock, limits: EventLimits = EVENT_LIMITS
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._limits = limits
        self._finished: set[str] = set()
        self._seen: dict[str, Progress] = {}
        self._task = PeriodicTask(self.look, SECONDS, "evaluating memberships anew")

    def start(self) -> None:
        self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def look(self) -> None:
        """Evaluate the containers that are not up to date and have not changed since the last look."""
        for state in self._registry.all_states():
            container = state.container.id
            if container in self._finished:
                continue
            progress = await self._progress(container)
            if progress == Progress(MEANING_VERSION) or progress.version > MEANING_VERSION:
                self._finished.add(container)
            elif self._seen.get(container) == progress:
                await self._evaluate(state, progress)
            else:  # another worker may be at it
                self._seen[container] = progress

    async def _evaluate(self, state: ContainerState, progress: Progress) -> None:
        """Evaluate all customers, page by page, unless another worker does."""
        container = state.container.id
        qualify = state.customer_schema.qualify(batch=True)
        after = (progress.after or 0) if progress.version == MEANING_VERSION else 0
        last: int | None = None
        while True:
            if qualify is not None:
                last, _ = await self._store.requalify(
                    container, after, _PAGE, now_us=self._clock(), qualify=qualify, limits=self._limits
                )
            if await self._progress(container) != progress:
                return
            progress = self._seen[container] = Progress(MEANING_VERSION, last)
            note = Checkpoint(name=CHECKPOINT, note=msgspec.json.encode(progress))
            await self._store.apply_changes(container, [], now_us=self._clock(), checkpoint=note)
            if last is None:
                self._finished.add(container)
                return
            after = last

    async def _progress(self, container: str) -> Progress:
        checkpoint = await self._store.checkpoint(container, CHECKPOINT)
        return Progress() if checkpoint is None else msgspec.json.decode(checkpoint.note, type=Progress)
