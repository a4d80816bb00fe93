"""Feedback on propositions: attributed to recorded decisions, stored and counted (spec 11.2).

Events about an unknown proposition, or an item that was not in it, are stored with the reason and can
be listed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Protocol

from proffer.metrics import FEEDBACK, NO_METERS, Meters
from proffer.model.attribution import Attributed, Why, attribute, hinted, wanted_ids
from proffer.model.events import DecisionEvent
from proffer.model.feedback import Feedback
from proffer.model.offer import PersonalizedOffer
from proffer.model.parse import read
from proffer.pql import CompiledRule, Environment, compile_rule
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.rules.check import CUSTOM_QUERY_ROOTS
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.periodic import Repeating
from proffer.service.runtime.write_batcher import Gathering
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import CapStore, FeedbackStore
from proffer.store.spool import FeedbackSpool, SpoolFull

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_REMEMBERED = 256
LATE_SECONDS = 60
LATE_US = 86_400_000_000
"""How long late attribution is tried: spooled decisions are recorded after an outage."""
_PAGE = 500
_PAGES = 10
"""Pages of unattributed events that each late-attribution run examines per container."""


class _Records(CapStore, FeedbackStore, Protocol):
    """Store of decisions and feedback."""


@dataclass(frozen=True, slots=True)
class Received:
    """Result of one event. `is_duplicate`: it was recorded before and is ignored.

    `is_spooled`: it is spooled until the database is back, and not attributed yet.
    """

    attributed: Attributed
    again: bool
    waiting: bool = False

    @property
    def outcome(self) -> str:
        """The outcome as a metric label."""
        if self.again:
            return "again"
        return "missed" if self.attributed.missed else "attributed"


@dataclass(slots=True)
class _Waits:
    """Cursor of a container's late attribution: next `position`; restarts after `since`."""

    since: int = 0
    at: int = 0


class FeedbackService:
    """Use cases of feedback."""

    def __init__(
        self,
        store: _Records,
        registry: ContainerRegistry,
        clock: Clock,
        meters: Meters = NO_METERS,
        spool: FeedbackSpool | None = None,
    ) -> None:
        self._store = store
        self._spool = spool
        self._spooled = spool is not None
        """Whether the spool may hold events, possibly from an earlier process."""
        self._draining = False
        registry.on_poll(self.back)
        self._meters = meters
        self._registry = registry
        self._clock = clock
        self._waits: dict[str, _Waits] = {}
        self._late = Repeating(self.attribute_late, LATE_SECONDS, "attributing late feedback")
        self._gatherings: dict[str, Gathering[Feedback, Received]] = {}
        self._rules: OrderedDict[tuple[str, str, int], Mapping[str, CompiledRule]] = OrderedDict()

    async def take(
        self, access: AuthorizedContainer, events: Sequence[Feedback]
    ) -> Sequence[Received]:
        """Store these events and count them for all later decisions.

        Concurrent calls are written together. During an outage the events are spooled.
        """
        if not events:
            return []
        state, container = access.state, access.id
        gathering = self._gatherings.get(container)
        if gathering is None:
            gathering = self._gatherings[container] = Gathering(partial(self._settle, state))
        if self._spool is not None and self._registry.standing.away is not None:
            return await self._keep(state, events)
        try:
            return await gathering.take_in(events)
        except StoreUnavailable:
            if self._spool is None:
                raise
            return await self._keep(state, events)

    async def _keep(self, state: ContainerState, events: Sequence[Feedback]) -> Sequence[Received]:
        """Spool events until the database is back; raises `StoreUnavailable` if the spool is full."""
        assert self._spool is not None
        now_us, container = self._clock(), state.container.id
        waiting = [Attributed(feedback=event, received_us=now_us) for event in events]
        try:
            await asyncio.gather(*(self._spool.keep((container, one)) for one in waiting))
        except SpoolFull as error:
            raise StoreUnavailable(
                f"the database is away, and no more feedback can wait for it: {error}",
                code="spool-full",
            ) from error
        self._spooled = True
        return [Received(one, again=False, waiting=True) for one in waiting]

    async def back(self) -> None:
        """Record the spooled events; runs after the spooled decisions were recorded."""
        if not self._spooled or self._draining or self._registry.standing.away is not None:
            return
        self._draining = True
        try:
            await self._drain()
        except StoreUnavailable:
            return  # unavailable again: repeated later; recorded events count once
        finally:
            self._draining = False

    async def _drain(self) -> None:
        assert self._spool is not None
        if not self._spool.is_empty():
            await self._spool.seal()
            states = {state.container.id: state for state in self._registry.every()}
            for path, events in self._spool.left():
                while some := list(islice(events, _PAGE)):
                    for container in dict.fromkeys(key for key, _ in some):
                        if container in states:
                            mine = [event for key, event in some if key == container]
                            await self._take(states[container], mine)
                self._spool.forget(path)
        self._spooled = not self._spool.is_empty()

    async def _settle(self, state: ContainerState, events: Sequence[Feedback]) -> list[Received]:
        now_us = self._clock()
        waiting = [Attributed(feedback=event, received_us=now_us) for event in events]
        return await self._take(state, waiting)

    async def _take(self, state: ContainerState, waiting: Sequence[Attributed]) -> list[Received]:
        """Attribute, store and count these received events."""
        container = state.container.id
        events = [one.feedback for one in waiting]
        found = await self._decisions(container, events)
        oldest_ms = None
        if len(found) < len(wanted_ids(events)):
            oldest_ms = await self._store.oldest_decision_ms(container)
        attributed = [
            self._with_rules(
                state,
                attribute(one.feedback, found, received_us=one.received_us, oldest_ms=oldest_ms),
            )
            for one in waiting
        ]
        fresh = await self._store.take_feedback(container, attributed)
        received = [Received(one, not new) for one, new in zip(attributed, fresh, strict=True)]
        if self._meters.on:
            for result in received:
                self._meters.count(
                    FEEDBACK, (result.attributed.feedback.kind.value, result.outcome)
                )
        return received

    async def unattributed(
        self, access: AuthorizedContainer, *, after: int = 0, limit: int
    ) -> tuple[list[tuple[int, Attributed]], int | None]:
        """Return a page of unattributed events, oldest first, and the next `after`."""
        found = await self._store.feedback_events(access.id, after, limit + 1, missed=True)
        page = list(found[:limit])
        return page, page[-1][0] if len(found) > limit else None

    def start(self) -> None:
        """Run late attribution periodically until `stop`."""
        self._late.start()

    async def stop(self) -> None:
        await self._late.stop()

    async def close(self) -> None:
        """Close the spool; its events stay for the next process."""
        if self._spool is not None:
            await self._spool.close()

    async def attribute_late(self) -> int:
        """Attribute events of the last day whose decisions were recorded late; return how many."""
        await self._store.index_edge_ids()
        now_us = self._clock()
        return sum([await self._attribute_late(state, now_us) for state in self._registry.every()])

    async def _attribute_late(self, state: ContainerState, now_us: int) -> int:
        """Examine some unattributed events, round-robin, so that invalid ones do not block others."""
        container = state.container.id
        waits = self._waits.setdefault(container, _Waits())
        count = 0
        for _ in range(_PAGES):
            page = await self._store.feedback_events(container, waits.at, _PAGE, missed=True)
            if not page:
                waits.at = waits.since
                break
            waits.at = page[-1][0]
            waiting = [one for one in page if now_us - one[1].received_us < LATE_US]
            if not waiting:  # these and all earlier events are too old
                waits.since = waits.at
                continue
            unknown = [one for one in waiting if any(m.why is Why.UNKNOWN for m in one[1].missed)]
            found = await self._decisions(container, [event.feedback for _, event in unknown])
            late = [
                (number, more)
                for number, event in unknown
                if (more := self._again(state, event, found)) is not None
            ]
            if late:
                count += await self._store.attribute_late(container, late)
        return count

    def _again(
        self, state: ContainerState, event: Attributed, found: Mapping[str, DecisionEvent]
    ) -> Attributed | None:
        """Return the event with more attributions than before, or None."""
        more = attribute(event.feedback, found, received_us=event.received_us)
        if len(more.delivered) <= len(event.delivered):
            return None
        return self._with_rules(state, more)

    async def _decisions(
        self, container: str, events: Iterable[Feedback]
    ) -> dict[str, DecisionEvent]:
        """Return the recorded decisions of these events, by reported proposition id."""
        asked = {
            reported.id: hinted(reported) or reported.id
            for event in events
            for reported in event.propositions
        }
        kept = await self._store.decisions_of(container, list(dict.fromkeys(asked.values())))
        return {key: kept[wanted] for key, wanted in asked.items() if wanted in kept}

    def _with_rules(self, state: ContainerState, event: Attributed) -> Attributed:
        """Return the event with the custom cap rules of its offers that it fulfils."""
        rules: dict[str, CompiledRule] = {}
        for offer in {move.offer for move in event.moves}:
            rules.update(self._rules_of(state, offer))
        if not rules:
            return event
        environment = Environment(
            None,
            _EPOCH + timedelta(microseconds=event.received_us),
            events=event.feedback.document,
            variables={"body": {"xdmEntity": event.feedback.document}},
        )
        held = frozenset(text for text, rule in rules.items() if rule.holds(environment))
        return replace(event, rules=held)

    def _rules_of(self, state: ContainerState, offer: str) -> Mapping[str, CompiledRule]:
        """Return the compiled rules of an offer's custom caps by text, without broken ones (R33)."""
        instance = state.catalog.by_id(offer)
        if instance is None:
            return {}
        key = (state.container.id, instance.key, instance.etag)
        known = self._rules.get(key)
        if known is None:
            entity = read(instance)
            caps = entity.caps if isinstance(entity, PersonalizedOffer) else ()
            known = {}
            for text in {limit.custom for limit in caps if limit.custom is not None}:
                rule = compile_rule(text, roots=CUSTOM_QUERY_ROOTS, name="customQuery")
                if isinstance(rule, CompiledRule):
                    known[text] = rule
            self._rules[key] = known
            if len(self._rules) > _MOST_REMEMBERED:
                self._rules.popitem(last=False)
        return known
