"""A store with injected faults that records its commits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from proffer.model.capping import OfferCaps
from proffer.model.instance import Instance
from proffer.store.memory.store import MemoryStore

Fault = Callable[[str, int, Sequence[Instance]], Awaitable[None]]
"""Called with the arguments of a commit; may raise, wait or do something else."""


class FaultyStore(MemoryStore):
    """Runs the next of `faults` before a commit, or, with `after`, once it is done."""

    def __init__(self, *faults: Fault, after: bool = False) -> None:
        super().__init__()
        self.faults = list(faults)
        self.after = after
        self.sizes: list[int] = []

    async def commit(
        self,
        container_id: str,
        based_on: int,
        versions: Sequence[Instance],
        caps: Sequence[OfferCaps] | None = None,
    ) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and not self.after:
            await fault(container_id, based_on, versions)
        await asyncio.sleep(0)  # as in a real store, other tasks run meanwhile
        await super().commit(container_id, based_on, versions, caps)
        self.sizes.append(len(versions))
        if fault is not None and self.after:
            await fault(container_id, based_on, versions)


def failing(error: Exception) -> Fault:
    async def fault(*_: object) -> None:
        raise error

    return fault
