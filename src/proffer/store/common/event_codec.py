"""Encoding of decision events; the events of a commit are compressed together in packs.

An event is a MessagePack list in a fixed order, as are its answers and their selections. Members of later
versions are appended to the event alone, those of answers and selections too: servers of earlier versions
on the same database skip them there. The last ones are missing if empty, and in events of earlier versions.
A pack is a compressed list of events, each with the subject it was counted for; its first byte is the
format version.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import msgspec

from proffer.model.capping import CapKey
from proffer.model.events import (
    DecisionEvent,
    LearnedRanking,
    ScopeAnswer,
    Selection,
    decision_time_ms,
    edge_proposition_id,
)
from proffer.model.identity import IdentityKey
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.store.common.messagepack import decode, encode

EncodedEvent: TypeAlias = bytes
_FORMAT = b"\x01"
_ID_PREFIX_BYTES = 48
"""The id of an encoded event lies within its first bytes, this many."""
_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_SCOPES = 30
"""Maximum number of scopes of a decision."""
PACK_SPAN_MS = 60_000
"""Maximum time span of the decisions in a pack, in ms."""


_DEFAULTS: list[Any] = ["", 1, (), (), None, ()]
"""Defaults of the members that events of earlier versions lack."""
_DETAIL_DEFAULTS: list[Any] = [(), (), (), None, None]
"""Defaults of the details of an answer: criteria, dropped, tokens, learned, arm."""
_LEARNED_FIELDS = LearnedRanking.__struct_fields__


class EventHeader(msgspec.Struct, array_like=True, gc=False):
    """Leading fields of an encoded event: what the index of edge proposition ids needs."""

    id: str
    container: msgspec.Raw
    decided_us: msgspec.Raw
    revision: msgspec.Raw
    surface: str
    request: msgspec.Raw
    answers: list[msgspec.Raw]


_decode_headers = msgspec.msgpack.Decoder(list[tuple[EventHeader, msgspec.Raw]]).decode
_decode_pack = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, int | tuple[str, str] | None]]).decode


def encode_event(event: DecisionEvent) -> EncodedEvent:
    """Encode an event without its subject. The subject is known only when the event is counted."""
    details = [() if answer is None else _detail_row(answer) for answer in event.answers]
    added_fields = [
        event.unavailable_data,
        event.meaning,
        details if any(details) else (),
        _counter_rows(event.thresholds),
        event.trust,
        event.policies,
    ]
    return encode(
        (
            event.id,
            event.container,
            event.decided_us,
            event.revision,
            event.surface,
            event.request,  # as a list
            [None if answer is None else _answer_row(answer) for answer in event.answers],
            event.identities,
            event.request_id,
            event.customer_found,
            event.attributes,
            event.events,
            _counter_rows(event.usage),
            event.redacted,
            *_without_defaults(added_fields, _DEFAULTS),
        )
    )


def decode_event(text: bytes | msgspec.Raw, subject: Any = None) -> DecisionEvent:
    (
        key,
        container,
        decided_us,
        revision,
        surface,
        (scopes, across_decisions, across_placements, languages, context, event),
        answers,
        identities,
        request_id,
        customer_found,
        attributes,
        events,
        usage,
        redacted,
        *added_fields,
    ) = decode(text)
    added_fields += _DEFAULTS[len(added_fields) :]
    unavailable_data, meaning, details, thresholds, trust, policies = added_fields
    return DecisionEvent(
        id=key,
        container=container,
        decided_us=decided_us,
        revision=revision,
        surface=surface,
        request=DecisionRequest(
            scopes=tuple(ScopeRequest(*fields) for fields in scopes),
            across_decisions=across_decisions,
            across_placements=across_placements,
            languages=tuple(languages),
            context=context,
            event=event,
        ),
        answers=tuple(
            None if fields is None else _to_answer(detail, *fields)
            for fields, detail in zip_longest(answers, details, fillvalue=())
        ),
        identities=tuple(IdentityKey(*fields) for fields in identities),
        request_id=request_id,
        customer_found=customer_found,
        attributes=attributes,
        events=tuple(events),
        usage=_counts(usage),
        subject=IdentityKey(*subject) if isinstance(subject, tuple) else subject,
        redacted=redacted,
        unavailable_data=unavailable_data,
        meaning=meaning,
        thresholds=_counts(thresholds),
        trust=trust,
        policies=tuple(policies),
    )


def _answer_row(answer: ScopeAnswer) -> tuple[Any, ...]:
    return (
        answer.decision,
        answer.decision_etag,
        answer.placement,
        answer.placement_etag,
        [_selection_row(selection) for selection in answer.selections],
        None if answer.fallback is None else _selection_row(answer.fallback),
    )


def _selection_row(selection: Selection) -> tuple[Any, ...]:
    return (
        selection.offer,
        selection.etag,
        selection.rank,
        selection.score,
        selection.formula,
        selection.component,
    )


def _detail_row(answer: ScopeAnswer) -> Sequence[Any]:
    """Return the details of an answer, without the last ones if they are empty."""
    criteria = [selection.criterion for selection in answer.selections]
    if criteria.count(None) == len(criteria):
        criteria = []
    tokens = [selection.token for selection in answer.delivered]
    if answer.learned is None and answer.arm is None and tokens.count(None) == len(tokens):
        if answer.dropped:
            return (criteria, answer.dropped)
        return (criteria,) if criteria else ()  # nearly all answers
    return _without_defaults([criteria, answer.dropped, tokens, answer.learned, answer.arm], _DETAIL_DEFAULTS)


def _without_defaults(fields: list[Any], defaults: Sequence[Any]) -> list[Any]:
    """Return the fields up to the last one that differs from its default."""
    count = len(fields)
    while count and (fields[count - 1] == defaults[count - 1] or fields[count - 1] == []):
        count -= 1
    return fields[:count]


def _counter_rows(counts: Mapping[CapKey, int]) -> list[tuple[str, str, str, int]]:
    return [(*key, count) for key, count in counts.items()]


def _counts(rows: Iterable[tuple[str, str, str, int]]) -> dict[CapKey, int]:
    return {(offer, name, placement): count for offer, name, placement, count in rows}


def _to_answer(
    detail: Sequence[Any],
    decision: str,
    decision_etag: int,
    placement: str,
    placement_etag: int,
    selections: Sequence[Any],
    fallback: Any,
) -> ScopeAnswer:
    criteria, dropped, tokens, learned, arm = [*detail, *_DETAIL_DEFAULTS[len(detail) :]]
    return ScopeAnswer(
        decision=decision,
        decision_etag=decision_etag,
        placement=placement,
        placement_etag=placement_etag,
        selections=tuple(
            _to_selection(fields, criterion, token)
            for fields, criterion, token in zip(
                selections, _filled(criteria, selections), _filled(tokens, selections), strict=True
            )
        ),
        fallback=None if fallback is None else _to_selection(fallback, None, tokens[0] if tokens else None),
        dropped=tuple(dropped),
        learned=None if learned is None else LearnedRanking(**dict(zip(_LEARNED_FIELDS, learned, strict=True))),
        arm=None if arm is None else (arm[0], arm[1]),
    )


def _filled(values: Sequence[Any], selections: Sequence[Any]) -> Sequence[Any]:
    """Return a value for each selection: None if there are none."""
    return values if len(values) == len(selections) else [None] * len(selections)


def _to_selection(fields: Sequence[Any], criterion: int | None, token: str | None) -> Selection:
    offer, etag, rank, score, formula, component = fields
    return Selection(
        offer=offer,
        etag=etag,
        rank=rank,
        score=score,
        formula=formula,
        component=component,
        criterion=criterion,
        token=token,
    )


def encode_pack(events: Iterable[tuple[EncodedEvent, int | IdentityKey | None]]) -> bytes:
    """Encode events with their subjects as the body of one row."""
    pairs = [(msgspec.Raw(event), subject) for event, subject in events]
    return _FORMAT + zlib.compress(encode(pairs), 1)


def decode_pack(text: bytes) -> list[DecisionEvent]:
    """Return the events of a pack, in order."""
    return [decode_event(event, subject) for event, subject in _decode_pack(_decompress(text))]


def decode_headers(text: bytes) -> list[EventHeader]:
    """Return the headers of the events of a pack, in order."""
    return [head for head, _ in _decode_headers(_decompress(text))]


def _decompress(text: bytes) -> bytes:
    if text[:1] != _FORMAT:
        raise ValueError("this pack of decision events was written by a newer Proffer")
    return zlib.decompress(text[1:])


class PackReader:
    """Finds single events in a pack; decodes only those found."""

    __slots__ = ("_events",)

    def __init__(self, text: bytes) -> None:
        self._events = [
            (bytes(memoryview(event)[:_ID_PREFIX_BYTES]), event, subject)
            for event, subject in _decode_pack(_decompress(text))
        ]

    def find(self, event_id: str) -> DecisionEvent | None:
        """Return the event with this id, if it is in the pack."""
        key = event_id.encode()
        for head, event, subject in self._events:
            if key in head:
                decision = decode_event(event, subject)
                if decision.id == event_id:
                    return decision
        return None

    def find_edge(self, edge_id: str) -> DecisionEvent | None:
        """Return the event with a scope that has this edge proposition id."""
        for index in range(MAX_SCOPES):  # scope 0 first: most decisions have one scope
            for head, event, subject in self._events:
                match = _ID.search(head)
                if match and edge_proposition_id(match[0].decode(), index) == edge_id:
                    decision = decode_event(event, subject)
                    return decision if index < len(decision.answers) else None
        return None


def group_into_packs(
    events: Iterable[tuple[str, str, EncodedEvent, int | IdentityKey | None]],
) -> Iterator[tuple[str, int, int, int, bytes]]:
    """Group events (container, id, bytes, subject) into packs.

    Yields container, first and last time of the ids in ms, count, and the pack. The ids of a pack lie
    within `PACK_SPAN_MS`, whatever clocks do, so that a decision is found by the time in its id.
    """
    groups: dict[tuple[str, int], list[tuple[int, EncodedEvent, int | IdentityKey | None]]] = {}
    for container, key, event, subject in events:
        moment = decision_time_ms(key) or 0
        groups.setdefault((container, moment // PACK_SPAN_MS), []).append((moment, event, subject))
    for (container, _), group in groups.items():
        moments = [moment for moment, _, _ in group]
        body = encode_pack((event, subject) for _, event, subject in group)
        yield container, min(moments), max(moments), len(group), body
