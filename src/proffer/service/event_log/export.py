"""Incremental export of recorded decisions and feedback: the two event datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from proffer.model.events import DecisionEvent
from proffer.service.event_log.rows import (
    DECISIONS,
    FEEDBACK,
    Versions,
    decision_row,
    feedback_row,
)
from proffer.service.exports.files import as_json
from proffer.service.exports.run import Batch, Exported, ExportJob, Source, run
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.ports import CapStore, FeedbackStore

DECISION_EVENTS, FEEDBACK_EVENTS = "decisions", "feedback"
KINDS = (DECISION_EVENTS, FEEDBACK_EVENTS)

_FEEDBACK_TOGETHER = 2_000


class _Records(CapStore, FeedbackStore, Protocol):
    """Store of decisions and feedback."""


class EventExport:
    """Export recorded events to files."""

    def __init__(self, store: _Records) -> None:
        self._store = store

    async def run(
        self,
        access: AuthorizedContainer,
        kind: str,
        out: Path,
        *,
        state: Path | None = None,
        since_us: int | None = None,
    ) -> Exported:
        """Export the events of one kind that no earlier run with this state exported, in stored order.

        Without a state: all events, or those since a time. See `exports/run.py` for interrupted runs.
        """
        about = {"container": access.id, "events": kind}
        if since_us is not None:
            about["since"] = str(since_us)
        decisions = kind == DECISION_EVENTS
        job = ExportJob(
            out=out, columns=DECISIONS if decisions else FEEDBACK, about=about, state=state
        )
        source = self._decisions if decisions else self._feedback
        return await run(job, source(access.state, since_us or 0))

    async def row(self, access: AuthorizedContainer, event: DecisionEvent) -> Mapping[str, Any]:
        """Return one decision as the JSON value of its dataset line."""
        state = access.state
        versions = Versions(state.container)
        for entity_id in _named(event):
            instance = state.catalog.by_id(entity_id)
            if instance is None:  # deleted since: read the complete history
                versions.learn(await state.since(0))
                break
            versions.learn(await state.history(instance.instance_id))
        row: Mapping[str, Any] = as_json(DECISIONS, decision_row(event, versions))
        return row

    def _decisions(self, state: ContainerState, since_us: int) -> Source:
        versions = Versions(state.container)

        async def batches(after: int, limit: int) -> Sequence[Batch]:
            packs = await self._store.decision_events(state.container.id, after, limit)
            newest = max((one.revision for _, events in packs for one in events), default=0)
            if newest > versions.revision:
                versions.learn(await state.since(versions.revision))
            return [
                (
                    number,
                    [decision_row(one, versions) for one in events if one.decided_us >= since_us],
                )
                for number, events in packs
            ]

        return batches

    def _feedback(self, state: ContainerState, since_us: int) -> Source:
        versions = Versions(state.container)

        async def batches(after: int, limit: int) -> Sequence[Batch]:
            del limit  # here each event is a batch of its own
            found = await self._store.feedback_events(state.container.id, after, _FEEDBACK_TOGETHER)
            return [
                (number, [feedback_row(one, versions)] if one.received_us >= since_us else [])
                for number, one in found
            ]

        return batches


def _named(event: DecisionEvent) -> list[str]:
    """Return the ids of all objects in a decision event, each once."""
    named: dict[str, None] = {}
    for answer in event.answers:
        if answer is not None:
            given = answer.selections if answer.fallback is None else (answer.fallback,)
            ids = (answer.decision, answer.placement, *(one.offer for one in given))
            named.update(dict.fromkeys(ids))
    return list(named)
