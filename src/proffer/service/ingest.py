"""Taking in what others know of customers: checked, linked and merged, durable before the answer."""

from collections.abc import Sequence
from typing import TypeAlias

from proffer.auth.policy import require
from proffer.auth.principal import Permission, Principal
from proffer.errors import ProfferError
from proffer.model.customer import EVENT_LIMITS, Change, EventLimits
from proffer.model.records import Message, change_of
from proffer.service.clock import Clock
from proffer.service.gathering import Gathering
from proffer.service.libraries import Libraries
from proffer.service.library import Library
from proffer.store.ports import ProfileStore

_FORGET_EVERY_US = 3_600_000_000
_REMEMBERED_US = 7 * 86_400_000_000
"""How long a record's id is remembered: whoever sends one again does so within days."""

Checked: TypeAlias = Message | ProfferError
"""A message, or why what was sent is none."""


class IngestService:
    """The use case of streaming ingestion."""

    def __init__(
        self,
        store: ProfileStore,
        libraries: Libraries,
        clock: Clock,
        limits: EventLimits = EVENT_LIMITS,
    ) -> None:
        self._store = store
        self._libraries = libraries
        self._clock = clock
        self._limits = limits
        self._forgot_us = clock()
        self._gatherings: dict[str, Gathering] = {}

    async def take_in(
        self, by: Principal, container: str, messages: Sequence[Checked]
    ) -> list[ProfferError | None]:
        """What became of each message: None where it is durable, else why it was refused."""
        require(by, Permission.PROFILES_WRITE)
        library = self._libraries.find(by, container)
        rules = library.customers
        now_us = self._clock()
        refused: list[ProfferError | None] = []
        changes: list[Change] = []
        for message in messages:
            try:
                if isinstance(message, ProfferError):
                    raise message
                changes.append(change_of(message, rules.namespaces, now_us, self._limits))
            except ProfferError as refusal:
                refused.append(refusal)
            else:
                refused.append(None)
        if changes:
            taken = iter(await self._gathering(library).take_in(changes))
            refused = [one if one is not None else next(taken).refusal for one in refused]
        await self._forget(now_us)
        return refused

    def _gathering(self, library: Library) -> Gathering:
        container = library.container.id
        found = self._gatherings.get(container)
        if found is None:
            found = self._gatherings[container] = Gathering(
                self._store, container, self._clock, library.customers.qualify, self._limits
            )
        return found

    async def _forget(self, now_us: int) -> None:
        """Once in a while, forget the ids of records that came in long ago."""
        if now_us - self._forgot_us > _FORGET_EVERY_US:
            self._forgot_us = now_us
            await self._store.forget_digests(now_us - _REMEMBERED_US)
