"""Incremental export of recorded decisions and feedback: the two event datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from proffer.model.events import DecisionEvent
from proffer.model.ids import canonical
from proffer.service.event_log.rows import (
    DECISIONS,
    FEEDBACK,
    VersionIndex,
    decision_row,
    feedback_row,
)
from proffer.service.exports.files import json_row
from proffer.service.exports.run import BatchSource, ExportJob, ExportResult, RowBatch, run_export
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.ports import CapStore, FeedbackStore

DECISION_EVENTS, FEEDBACK_EVENTS = "decisions", "feedback"
KINDS = (DECISION_EVENTS, FEEDBACK_EVENTS)

_FEEDBACK_BATCH = 2_000


class _EventStore(CapStore, FeedbackStore, Protocol):
    """Store of decisions and feedback."""


class EventExport:
    """Export recorded events to files."""

    def __init__(self, store: _EventStore) -> None:
        self._store = store

    async def run(
        self,
        access: AuthorizedContainer,
        kind: str,
        out: Path,
        *,
        state: Path | None = None,
        since_us: int | None = None,
    ) -> ExportResult:
        """Export the new events of one kind, in stored order.

        New are events that no earlier run with this state exported. Without a state: all events, or those
        since a time. See `exports/run.py` for interrupted runs.
        """
        about = {"container": access.id, "events": kind}
        if since_us is not None:
            about["since"] = str(since_us)
        decisions = kind == DECISION_EVENTS
        job = ExportJob(out=out, columns=DECISIONS if decisions else FEEDBACK, about=about, state=state)
        source = self._decisions if decisions else self._feedback
        return await run_export(job, source(access.state, since_us or 0))

    async def row(self, access: AuthorizedContainer, event: DecisionEvent) -> Mapping[str, Any]:
        """Return one decision as the JSON value of its dataset line."""
        state = access.state
        versions = VersionIndex(state.container)
        for entity_id in _object_ids(event):
            instance = state.catalog.by_id(entity_id)
            if instance is None or instance.revision > event.revision:  # deleted or changed since
                instance = await state.version_at(event.revision, canonical(entity_id))
            if instance is not None:
                versions.add([instance])
        row: Mapping[str, Any] = json_row(DECISIONS, decision_row(event, versions))
        return row

    def _decisions(self, state: ContainerState, since_us: int) -> BatchSource:
        versions = VersionIndex(state.container)

        async def batches(after: int, limit: int) -> Sequence[RowBatch]:
            packs = await self._store.decision_events(state.container.id, after, limit)
            newest = max((event.revision for _, events in packs for event in events), default=0)
            if newest > versions.revision:
                versions.add(await state.since(versions.revision))
            return [
                (
                    number,
                    [decision_row(event, versions) for event in events if event.decided_us >= since_us],
                )
                for number, events in packs
            ]

        return batches

    def _feedback(self, state: ContainerState, since_us: int) -> BatchSource:
        versions = VersionIndex(state.container)

        async def batches(after: int, limit: int) -> Sequence[RowBatch]:
            del limit  # here each event is a batch of its own
            events = await self._store.feedback_events(state.container.id, after, _FEEDBACK_BATCH)
            return [
                (number, [feedback_row(event, versions)] if event.received_us >= since_us else [])
                for number, event in events
            ]

        return batches


def _object_ids(event: DecisionEvent) -> list[str]:
    """Return the ids of all objects in a decision event, each once."""
    object_ids: dict[str, None] = {}
    for answer in event.answers:
        if answer is not None:
            ids = (
                answer.decision,
                answer.placement,
                *(selection.offer for selection in answer.delivered),
            )
            object_ids.update(dict.fromkeys(ids))
    return list(object_ids)
