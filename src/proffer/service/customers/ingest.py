"""Streaming ingestion of customer records and events: validated, linked, merged and durable."""

from collections.abc import Sequence
from typing import TypeAlias

from proffer.errors import ProfferError
from proffer.model.customer import EVENT_LIMITS, Change, ChangeResult, EventLimits
from proffer.model.feedback import Feedback
from proffer.model.ingest_parse import IngestMessage, read_message
from proffer.service.event_log.feedback import FeedbackService
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.write_batcher import WriteBatcher, change_batcher
from proffer.store.ports import ProfileStore

_CLEANUP_INTERVAL_US = 3_600_000_000
_DIGEST_TTL_US = 7 * 86_400_000_000
"""How long record ids are kept to detect repeated messages."""

MessageOrError: TypeAlias = IngestMessage | ProfferError
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
        self._last_cleanup_us = clock()
        self._batchers: dict[str, WriteBatcher[Change, ChangeResult]] = {}

    async def ingest(
        self, access: AuthorizedContainer, messages: Sequence[MessageOrError]
    ) -> list[ProfferError | None]:
        """Store messages; return per message None once it is durable, else the refusal."""
        state = access.state
        schema = state.customer_schema
        now_us = self._clock()
        refusals: list[ProfferError | None] = []
        changes: list[tuple[int, Change]] = []
        feedback: dict[int, Feedback] = {}
        for index, message in enumerate(messages):
            refusals.append(None)
            try:
                if isinstance(message, ProfferError):
                    raise message
                change, reported = read_message(message, schema.namespaces, schema.record_types, now_us, self._limits)
            except ProfferError as refusal:
                refusals[index] = refusal
                continue
            if change is not None:
                changes.append((index, change))
            if reported is not None:
                feedback[index] = reported
        if changes:
            results = await self._batcher(state).submit([change for _, change in changes])
            for (index, _), result in zip(changes, results, strict=True):
                refusals[index] = result.refusal
        # After a crash the client sends again; records and feedback each ignore duplicates.
        await self._feedback.record(access, [report for index, report in feedback.items() if refusals[index] is None])
        await self._clean_up(now_us)
        return refusals

    def _batcher(self, state: ContainerState) -> WriteBatcher[Change, ChangeResult]:
        container = state.container.id
        batcher = self._batchers.get(container)
        if batcher is None:
            batcher = self._batchers[container] = change_batcher(
                self._store, container, self._clock, state.customer_schema.qualify, self._limits
            )
        return batcher

    async def _clean_up(self, now_us: int) -> None:
        """Delete expired record ids, at most once per interval."""
        if now_us - self._last_cleanup_us > _CLEANUP_INTERVAL_US:
            self._last_cleanup_us = now_us
            await self._store.purge_digests(now_us - _DIGEST_TTL_US)
