"""Attribution of feedback: find the delivered offers by proposition, scope and item."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from proffer.model.capping import CapEvent, CapLimit
from proffer.model.events import (
    DecisionEvent,
    ScopeAnswer,
    decision_time_ms,
    edge_proposition_id,
    read_item_token,
)
from proffer.model.feedback import (
    CAP_EVENT_BY_KIND,
    Feedback,
    FeedbackKind,
    PropositionReport,
    read_scope,
)
from proffer.model.identity import IdentityKey


class UnattributedReason(StrEnum):
    """Reason why a feedback report could not be attributed."""

    UNKNOWN = "unknown-proposition"
    FORGOTTEN = "forgotten-proposition"
    SCOPE = "other-scope"
    ITEM = "other-item"
    TOKEN = "other-token"  # noqa: S105 - not a password


@dataclass(frozen=True, slots=True)
class DeliveredOffer:
    """An offer or fallback that a decision event delivered, and its scope."""

    event: str
    decision: str
    placement: str
    offer: str


@dataclass(frozen=True, slots=True)
class UnattributedReport:
    """A report that could not be attributed. `item` is an id or token; None: a whole proposition."""

    proposition: str
    item: str | None
    reason: UnattributedReason


@dataclass(frozen=True, slots=True)
class CounterIncrement:
    """A possible counter increment: an offer in a placement, for the owner of these identities.

    `at_us` is the time that decides which period is counted.
    """

    offer: str
    placement: str
    identities: tuple[IdentityKey, ...]
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributedFeedback:
    """Feedback with its attribution. `cap_events`: cap events it counts as; `rules`: custom rules it matches."""

    feedback: Feedback
    received_us: int
    delivered_offers: tuple[DeliveredOffer, ...] = ()
    unattributed: tuple[UnattributedReport, ...] = ()
    increments: tuple[CounterIncrement, ...] = ()
    cap_events: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()

    def counts_for(self, limit: CapLimit) -> bool:
        """Return whether this feedback counts for the limit. The placement is not checked."""
        if not self.cap_events.isdisjoint(limit.events - {CapEvent.CUSTOM}):
            return True
        if CapEvent.CUSTOM not in limit.events:
            return False
        return CapEvent.CUSTOM in self.cap_events if limit.custom_rule is None else limit.custom_rule in self.rules


def attribute(
    feedback: Feedback,
    events_by_id: Mapping[str, DecisionEvent],
    *,
    received_us: int,
    oldest_ms: int | None = None,
) -> AttributedFeedback:
    """Attribute feedback. `events_by_id`: recorded decision events by reported proposition id.

    A proposition older than `oldest_ms`, the oldest recorded decision, counts as deleted. Each offer of
    each scope is counted once, however often the feedback names it. An item without a scope belongs to
    the first scope that delivered it. A token names the offer of one scope.
    """
    event_by_delivery: dict[DeliveredOffer, DecisionEvent] = {}
    unattributed: dict[UnattributedReport, None] = {}
    for report in feedback.propositions:
        event = events_by_id.get(report.id)
        if event is None:
            unattributed[UnattributedReport(report.id, None, _unattributed_reason(report, oldest_ms))] = None
            continue
        for token in report.tokens:
            token_delivery = _delivery_of(event, report, token)
            if token_delivery is None:
                unattributed[UnattributedReport(report.id, token, UnattributedReason.TOKEN)] = None
            else:
                event_by_delivery[token_delivery] = event
        if report.tokens and not report.items:
            continue
        answers = _reported_answers(event, report)
        if not answers:
            unattributed[UnattributedReport(report.id, None, UnattributedReason.SCOPE)] = None
            continue
        if report.items is None:
            event_by_delivery.update((delivery, event) for answer in answers for delivery in _deliveries(event, answer))
            continue
        for item in report.items:
            deliveries = (delivery for answer in answers for delivery in _deliveries(event, answer))
            item_delivery = next((delivery for delivery in deliveries if delivery.offer == item), None)
            if item_delivery is None:
                unattributed[UnattributedReport(report.id, item, UnattributedReason.ITEM)] = None
            else:
                event_by_delivery[item_delivery] = event
    kind = feedback.kind
    cap_events = {CAP_EVENT_BY_KIND[kind]} if kind in CAP_EVENT_BY_KIND else set()
    if kind is FeedbackKind.CUSTOM:
        cap_events.add(CapEvent.CUSTOM)
    return AttributedFeedback(
        feedback=feedback,
        received_us=received_us,
        delivered_offers=tuple(event_by_delivery),
        unattributed=tuple(unattributed),
        increments=tuple(
            CounterIncrement(
                delivery.offer,
                delivery.placement,
                event.identities,
                # Client clocks may be wrong: clamp between the decision and the receipt.
                min(max(feedback.at_us, event.decided_us), max(received_us, event.decided_us)),
            )
            for delivery, event in event_by_delivery.items()
        ),
        cap_events=frozenset(cap_events),
    )


def reported_proposition_ids(events: Sequence[Feedback]) -> list[str]:
    """Return the distinct proposition ids that these events report on."""
    return list(dict.fromkeys(report.id for event in events for report in event.propositions))


def hinted_decision(report: PropositionReport) -> str | None:
    """Return the decision id of the report's tokens; None if there is no valid token."""
    if report.hint is None:
        tokens = (token for text in report.tokens if (token := read_item_token(text)) is not None)
        return next((token.decision for token in tokens if report.id in token.propositions), None)
    decision, _, index = report.hint.rpartition(".")
    if decision_time_ms(decision) is None or not (index.isascii() and index.isdigit() and len(index) < 4):
        return None
    is_edge_id = edge_proposition_id(decision, int(index)) == report.id
    return decision if is_edge_id or decision == report.id else None


def _unattributed_reason(report: PropositionReport, oldest_ms: int | None) -> UnattributedReason:
    moment = decision_time_ms(hinted_decision(report) or report.id)
    is_forgotten = moment is not None and oldest_ms is not None and moment < oldest_ms
    return UnattributedReason.FORGOTTEN if is_forgotten else UnattributedReason.UNKNOWN


def _reported_answers(event: DecisionEvent, report: PropositionReport) -> list[ScopeAnswer]:
    """Return the scopes that a report is about: by edge proposition id, by its scope, else all."""
    answers = [answer for answer in event.answers if answer is not None]
    if report.id != event.id:
        return [
            answer
            for index, answer in enumerate(event.answers)
            if answer is not None and edge_proposition_id(event.id, index) == report.id
        ]
    scope = read_scope(report.scope) if report.scope is not None else None
    if scope is None:
        return answers
    return [
        answer
        for answer in answers
        if scope.decision in {None, answer.decision} and scope.placement in {None, answer.placement}
    ]


def _delivery_of(event: DecisionEvent, report: PropositionReport, text: str) -> DeliveredOffer | None:
    """Return the delivered offer that a token names; None if the reported proposition has none."""
    token = read_item_token(text)
    if token is None or token.decision != event.id or report.id not in token.propositions:
        return None
    answer = event.answers[token.scope] if token.scope < len(event.answers) else None
    if answer is None or token.item >= len(answer.delivered):
        return None
    return DeliveredOffer(event.id, answer.decision, answer.placement, answer.delivered[token.item].offer)


def _deliveries(event: DecisionEvent, answer: ScopeAnswer) -> Iterator[DeliveredOffer]:
    for selection in answer.delivered:
        yield DeliveredOffer(event.id, answer.decision, answer.placement, selection.offer)
