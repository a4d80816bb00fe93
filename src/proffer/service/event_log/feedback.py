"""Feedback on propositions: attributed to recorded decisions, stored and counted (spec 11.2).

Events about an unknown proposition, or an item that was not in it, are stored with the reason and can
be listed.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from proffer.errors import NotFound
from proffer.metrics import FEEDBACK, NO_METRICS, Metrics
from proffer.model.attribution import (
    AttributedFeedback,
    UnattributedReason,
    attribute,
    hinted_decision,
    reported_proposition_ids,
)
from proffer.model.events import DecisionEvent
from proffer.model.feedback import Feedback
from proffer.model.offer import PersonalizedOffer
from proffer.model.parse import parse_entity
from proffer.pql import CompiledRule, Environment, Schema, compile_rule
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.rules.check import CUSTOM_QUERY_ROOTS, custom_query_schema
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.periodic import PeriodicTask
from proffer.service.runtime.spool_queue import SpoolQueue
from proffer.service.runtime.write_batcher import WriteBatcher
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import CapStore, FeedbackStore
from proffer.store.spool import FeedbackSpool

_MAX_CACHED = 256
LATE_INTERVAL_SECONDS = 60
LATE_WINDOW_US = 86_400_000_000
"""How long late attribution is tried: spooled decisions are recorded after an outage."""
_PAGE = 500
_PAGES_PER_RUN = 10
"""Pages of unattributed events that each late-attribution run examines per container."""


class _AttributionStore(CapStore, FeedbackStore, Protocol):
    """Store of decisions and feedback."""


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """Result of one event. `is_duplicate`: it was recorded before and is ignored.

    `is_spooled`: it is spooled until the database is back, and not attributed yet.
    """

    attributed: AttributedFeedback
    is_duplicate: bool
    is_spooled: bool = False

    @property
    def outcome(self) -> str:
        """The outcome as a metric label."""
        if self.is_duplicate:
            return "again"
        return "missed" if self.attributed.unattributed else "attributed"


@dataclass(slots=True)
class _LateCursor:
    """Cursor of a container's late attribution: next `position`; restarts after `since`."""

    since: int = 0
    position: int = 0


class FeedbackService:
    """Use cases of feedback."""

    def __init__(
        self,
        store: _AttributionStore,
        registry: ContainerRegistry,
        clock: Clock,
        metrics: Metrics = NO_METRICS,
        spool: FeedbackSpool | None = None,
    ) -> None:
        self._store = store
        self.spool_queue = None if spool is None else SpoolQueue(spool, self._record_spooled)
        registry.on_poll(self.replay_spool)
        self._metrics = metrics
        self._registry = registry
        self._clock = clock
        self._cursors: dict[str, _LateCursor] = {}
        self._late_task = PeriodicTask(self.attribute_late, LATE_INTERVAL_SECONDS, "attributing late feedback")
        self._batchers: dict[str, WriteBatcher[Feedback, FeedbackResult]] = {}
        self._rules: OrderedDict[tuple[str, str, int, Schema], Mapping[str, CompiledRule]] = OrderedDict()

    async def record(self, access: AuthorizedContainer, events: Sequence[Feedback]) -> Sequence[FeedbackResult]:
        """Store these events and count them for all later decisions.

        Concurrent calls are written together. During an outage, and when the database is busy for too
        long, the events are spooled; raises `StoreUnavailable` if that is not possible.
        """
        if not events:
            return []
        state, container = access.state, access.id
        batcher = self._batchers.get(container)
        if batcher is None:
            batcher = self._batchers[container] = WriteBatcher(partial(self._record_batch, state))
        if self.spool_queue is None:
            return await batcher.submit(events)
        database_status = self._registry.database_status
        if database_status.outage is None:
            with suppress(StoreUnavailable):
                return await database_status.in_time(batcher.submit(events))
        now_us = self._clock()
        pending = [AttributedFeedback(feedback=event, received_us=now_us) for event in events]
        await self.spool_queue.add([(container, attributed) for attributed in pending])
        return [FeedbackResult(attributed, is_duplicate=False, is_spooled=True) for attributed in pending]

    async def replay_spool(self) -> None:
        """Record the spooled events; runs after the spooled decisions were recorded."""
        if self.spool_queue is None or self._registry.database_status.outage is not None:
            return
        with suppress(StoreUnavailable):  # unavailable again: repeated later; recorded events count once
            await self.spool_queue.drain()

    async def _record_spooled(self, events: Sequence[tuple[str, AttributedFeedback]]) -> None:
        states = {state.container.id: state for state in self._registry.all_states()}
        for container in dict.fromkeys(key for key, _ in events):
            if container not in states:
                raise NotFound(f"there is no container `{container}`", code="container-not-found")
            await self._attribute_and_store(states[container], [event for key, event in events if key == container])

    async def _record_batch(self, state: ContainerState, events: Sequence[Feedback]) -> list[FeedbackResult]:
        now_us = self._clock()
        pending = [AttributedFeedback(feedback=event, received_us=now_us) for event in events]
        return await self._attribute_and_store(state, pending)

    async def _attribute_and_store(
        self, state: ContainerState, pending: Sequence[AttributedFeedback]
    ) -> list[FeedbackResult]:
        """Attribute, store and count these received events."""
        container = state.container.id
        events = [event.feedback for event in pending]
        decisions = await self._decisions(container, events)
        oldest_ms = None
        if len(decisions) < len(reported_proposition_ids(events)):
            oldest_ms = await self._store.oldest_decision_ms(container)
        attributed = [
            self._with_rules(
                state,
                attribute(event.feedback, decisions, received_us=event.received_us, oldest_ms=oldest_ms),
            )
            for event in pending
        ]
        new_flags = await self._store.add_feedback(container, attributed)
        results = [FeedbackResult(event, not new) for event, new in zip(attributed, new_flags, strict=True)]
        if self._metrics.enabled:
            for result in results:
                self._metrics.count(FEEDBACK, (result.attributed.feedback.kind.value, result.outcome))
        return results

    async def unattributed(
        self, access: AuthorizedContainer, *, after: int = 0, limit: int
    ) -> tuple[list[tuple[int, AttributedFeedback]], int | None]:
        """Return a page of unattributed events, oldest first, and the next `after`."""
        events = await self._store.feedback_events(access.id, after, limit + 1, unattributed_only=True)
        page = list(events[:limit])
        return page, page[-1][0] if len(events) > limit else None

    def start(self) -> None:
        """Run late attribution periodically until `stop`."""
        self._late_task.start()

    async def stop(self) -> None:
        await self._late_task.stop()

    async def close(self) -> None:
        """Close the spool; its events stay for the next process."""
        if self.spool_queue is not None:
            await self.spool_queue.close()

    async def attribute_late(self) -> int:
        """Attribute events of the last day whose decisions were recorded late; return how many."""
        await self._store.index_edge_ids()
        now_us = self._clock()
        return sum([await self._attribute_late(state, now_us) for state in self._registry.all_states()])

    async def _attribute_late(self, state: ContainerState, now_us: int) -> int:
        """Examine some unattributed events, round-robin. Thus invalid ones do not block others."""
        container = state.container.id
        cursor = self._cursors.setdefault(container, _LateCursor())
        count = 0
        for _ in range(_PAGES_PER_RUN):
            page = await self._store.feedback_events(container, cursor.position, _PAGE, unattributed_only=True)
            if not page:
                cursor.position = cursor.since
                break
            cursor.position = page[-1][0]
            pending = [
                numbered_event for numbered_event in page if now_us - numbered_event[1].received_us < LATE_WINDOW_US
            ]
            if not pending:  # these and all earlier events are too old
                cursor.since = cursor.position
                continue
            unknown = [
                numbered_event
                for numbered_event in pending
                if any(m.reason is UnattributedReason.UNKNOWN for m in numbered_event[1].unattributed)
            ]
            decisions = await self._decisions(container, [event.feedback for _, event in unknown])
            late = [
                (number, updated)
                for number, event in unknown
                if (updated := self._reattribute(state, event, decisions)) is not None
            ]
            if late:
                count += await self._store.attribute_late(container, late)
        return count

    def _reattribute(
        self,
        state: ContainerState,
        event: AttributedFeedback,
        decisions: Mapping[str, DecisionEvent],
    ) -> AttributedFeedback | None:
        """Return the event with more attributions than before, or None."""
        updated = attribute(event.feedback, decisions, received_us=event.received_us)
        if len(updated.delivered_offers) <= len(event.delivered_offers):
            return None
        return self._with_rules(state, updated)

    async def _decisions(self, container: str, events: Iterable[Feedback]) -> dict[str, DecisionEvent]:
        """Return the recorded decisions of these events, by reported proposition id."""
        decision_keys = {
            reported.id: hinted_decision(reported) or reported.id for event in events for reported in event.propositions
        }
        decisions = await self._store.decisions_of(container, list(dict.fromkeys(decision_keys.values())))
        return {
            key: decisions[decision_key] for key, decision_key in decision_keys.items() if decision_key in decisions
        }

    def _with_rules(self, state: ContainerState, event: AttributedFeedback) -> AttributedFeedback:
        """Return the event with its offers' custom cap rules that it fulfils."""
        rules: dict[str, CompiledRule] = {}
        for offer in {increment.offer for increment in event.increments}:
            rules.update(self._custom_rules(state, offer))
        if not rules:
            return event
        environment = Environment(
            None,
            event.received_us,
            events=event.feedback.document,
            variables={"body": {"xdmEntity": event.feedback.document}},
        )
        fulfilled = frozenset(text for text, rule in rules.items() if rule.holds(environment))
        return replace(event, rules=fulfilled)

    def _custom_rules(self, state: ContainerState, offer: str) -> Mapping[str, CompiledRule]:
        """Return the compiled rules of an offer's custom caps by text. Broken ones are left out (R33)."""
        instance = state.catalog.by_id(offer)
        if instance is None:
            return {}
        types = state.customer_schema.field_types
        key = (state.container.id, instance.key, instance.etag, types)
        rules = self._rules.get(key)
        if rules is None:
            entity = parse_entity(instance)
            caps = entity.caps if isinstance(entity, PersonalizedOffer) else ()
            rules = {}
            for text in {limit.custom_rule for limit in caps if limit.custom_rule is not None}:
                schema = custom_query_schema(types)
                rule = compile_rule(text, roots=CUSTOM_QUERY_ROOTS, name="customQuery", schema=schema)
                if isinstance(rule, CompiledRule):
                    rules[text] = rule
            self._rules[key] = rules
            if len(self._rules) > _MAX_CACHED:
                self._rules.popitem(last=False)
        return rules
