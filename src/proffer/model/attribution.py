"""Attribution of feedback: find the delivered offers by proposition, scope and item."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from proffer.model.capping import CapEvent, CapLimit
from proffer.model.events import DecisionEvent, ScopeAnswer, edge_proposition_id, moment_ms
from proffer.model.feedback import COUNTED_AS, Feedback, FeedbackKind, Reported, read_scope
from proffer.model.identity import IdentityKey


class Why(StrEnum):
    """Reason why a feedback report could not be attributed."""

    UNKNOWN = "unknown-proposition"
    FORGOTTEN = "forgotten-proposition"
    SCOPE = "other-scope"
    ITEM = "other-item"


@dataclass(frozen=True, slots=True)
class Delivered:
    """An offer or fallback offer that a decision event delivered, and its scope."""

    event: str
    decision: str
    placement: str
    offer: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A report that could not be attributed. `item` is None if it is about a whole proposition."""

    proposition: str
    item: str | None
    why: Why


@dataclass(frozen=True, slots=True)
class Move:
    """A possible counter increment: an offer in a placement, for the owner of these identities.

    `at_us` is the time that decides which period is counted.
    """

    offer: str
    placement: str
    identities: tuple[IdentityKey, ...]
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """Feedback with its attribution. `cap_events`: cap events it counts as; `rules`: custom rules it matches."""

    feedback: Feedback
    received_us: int
    delivered: tuple[Delivered, ...] = ()
    missed: tuple[Missed, ...] = ()
    moves: tuple[Move, ...] = ()
    events: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()

    def counts_for(self, limit: CapLimit) -> bool:
        """Return whether this feedback counts for the limit. The placement is not checked."""
        if not self.events.isdisjoint(limit.events - {CapEvent.CUSTOM}):
            return True
        if CapEvent.CUSTOM not in limit.events:
            return False
        return (
            CapEvent.CUSTOM in self.events if limit.custom is None else limit.custom in self.rules
        )


def attribute(
    feedback: Feedback,
    found: Mapping[str, DecisionEvent],
    *,
    received_us: int,
    oldest_ms: int | None = None,
) -> Attributed:
    """Attribute feedback. `events_by_id`: recorded decision events by reported proposition id.

    A proposition older than `oldest_ms`, the oldest recorded decision, counts as deleted. Each offer of
    each scope is counted once, however often the feedback names it. An item without a scope belongs to
    the first scope that delivered it.
    """
    delivered: dict[Delivered, DecisionEvent] = {}
    missed: dict[Missed, None] = {}
    for reported in feedback.propositions:
        event = found.get(reported.id)
        if event is None:
            missed[Missed(reported.id, None, _unknown(reported, oldest_ms))] = None
            continue
        answers = _answers(event, reported)
        if not answers:
            missed[Missed(reported.id, None, Why.SCOPE)] = None
            continue
        if reported.items is None:
            delivered.update((one, event) for answer in answers for one in _all(event, answer))
            continue
        for item in reported.items:
            every = (one for answer in answers for one in _all(event, answer))
            given = next((one for one in every if one.offer == item), None)
            if given is None:
                missed[Missed(reported.id, item, Why.ITEM)] = None
            else:
                delivered[given] = event
    kind = feedback.kind
    events = {COUNTED_AS[kind]} if kind in COUNTED_AS else set()
    if kind is FeedbackKind.CUSTOM:
        events.add(CapEvent.CUSTOM)
    return Attributed(
        feedback=feedback,
        received_us=received_us,
        delivered=tuple(delivered),
        missed=tuple(missed),
        moves=tuple(
            Move(
                one.offer,
                one.placement,
                event.identities,
                # Client clocks may be wrong: clamp between the decision and the receipt.
                min(max(feedback.at_us, event.decided_us), max(received_us, event.decided_us)),
            )
            for one, event in delivered.items()
        ),
        events=frozenset(events),
    )


def wanted_ids(events: Sequence[Feedback]) -> list[str]:
    """Return the distinct proposition ids that these events report on."""
    return list(dict.fromkeys(one.id for event in events for one in event.propositions))


def hinted(reported: Reported) -> str | None:
    """Return the decision id of the report's token; None if there is no valid token."""
    if reported.hint is None:
        return None
    decision, _, index = reported.hint.rpartition(".")
    if moment_ms(decision) is None or not (index.isascii() and index.isdigit() and len(index) < 4):
        return None
    true = edge_proposition_id(decision, int(index)) == reported.id
    return decision if true or decision == reported.id else None


def _unknown(reported: Reported, oldest_ms: int | None) -> Why:
    moment = moment_ms(hinted(reported) or reported.id)
    forgotten = moment is not None and oldest_ms is not None and moment < oldest_ms
    return Why.FORGOTTEN if forgotten else Why.UNKNOWN


def _answers(event: DecisionEvent, reported: Reported) -> list[ScopeAnswer]:
    """Return the scopes that a report is about: by edge proposition id, by its scope, else all."""
    given = [one for one in event.answers if one is not None]
    if reported.id != event.id:
        return [
            one
            for index, one in enumerate(event.answers)
            if one is not None and edge_proposition_id(event.id, index) == reported.id
        ]
    scope = read_scope(reported.scope) if reported.scope is not None else None
    if scope is None:
        return given
    return [
        one
        for one in given
        if scope.decision in {None, one.decision} and scope.placement in {None, one.placement}
    ]


def _all(event: DecisionEvent, answer: ScopeAnswer) -> Iterator[Delivered]:
    given = answer.selections if answer.fallback is None else (answer.fallback,)
    for selection in given:
        yield Delivered(event.id, answer.decision, answer.placement, selection.offer)
