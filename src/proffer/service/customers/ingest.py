"""Streaming ingestion of customer records and events: validated, linked, merged and durable."""

from collections.abc import Sequence
from typing import TypeAlias

from proffer.errors import ProfferError
from proffer.model.customer import EVENT_LIMITS, Change, EventLimits, Taken
from proffer.model.feedback import Feedback
from proffer.model.ingest_parse import Message, read_message
from proffer.service.event_log.feedback import FeedbackService
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.write_batcher import Gathering, of_changes
from proffer.store.ports import ProfileStore

_FORGET_EVERY_US = 3_600_000_000
_REMEMBERED_US = 7 * 86_400_000_000
"""How long record ids are kept to detect repeated messages."""

Checked: TypeAlias = Message | ProfferError
"""A message, or why it could not be parsed."""


class IngestService:
    """Use case of streaming ingestion. Events about propositions are also recorded as feedback."""

    def __init__(
        self,
        store: ProfileStore,
        clock: Clock,
        feedback: FeedbackService,
        limits: EventLimits = EVENT_LIMITS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._feedback = feedback
        self._limits = limits
        self._forgot_us = clock()
        self._gatherings: dict[str, Gathering[Change, Taken]] = {}

    async def take_in(
        self, access: AuthorizedContainer, messages: Sequence[Checked]
    ) -> list[ProfferError | None]:
        """Store messages; return per message None once it is durable, else the refusal."""
        state = access.state
        now_us = self._clock()
        refused: list[ProfferError | None] = []
        changes: list[tuple[int, Change]] = []
        feedback: dict[int, Feedback] = {}
        for place, message in enumerate(messages):
            refused.append(None)
            try:
                if isinstance(message, ProfferError):
                    raise message
                change, reported = read_message(
                    message, state.customers.namespaces, now_us, self._limits
                )
            except ProfferError as refusal:
                refused[place] = refusal
                continue
            if change is not None:
                changes.append((place, change))
            if reported is not None:
                feedback[place] = reported
        if changes:
            gathered = await self._gathering(state).take_in([change for _, change in changes])
            for (place, _), taken in zip(changes, gathered, strict=True):
                refused[place] = taken.refusal
        # After a crash the client sends again; records and feedback each ignore duplicates.
        await self._feedback.take(
            access, [one for place, one in feedback.items() if refused[place] is None]
        )
        await self._forget(now_us)
        return refused

    def _gathering(self, state: ContainerState) -> Gathering[Change, Taken]:
        container = state.container.id
        found = self._gatherings.get(container)
        if found is None:
            found = self._gatherings[container] = of_changes(
                self._store, container, self._clock, state.customers.qualify, self._limits
            )
        return found

    async def _forget(self, now_us: int) -> None:
        """Delete expired record ids, at most once per interval."""
        if now_us - self._forgot_us > _FORGET_EVERY_US:
            self._forgot_us = now_us
            await self._store.forget_digests(now_us - _REMEMBERED_US)
