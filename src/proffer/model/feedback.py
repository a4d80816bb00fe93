"""Feedback on propositions, reported by experience events (spec 11.2).

An event reports on propositions by id, scope and item, with plain names
(`_experience.decisioning.propositions`, also `proposition`) or with full URIs
(`https://ns.adobe.com/experience/decisioning/propositions`, with `xdm:` on every name). Whether it is an
impression or a click is in `eventType`, in `propositionEventType`, or in both.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec

from proffer.errors import Invalid, Violation
from proffer.model.capping import CapEvent
from proffer.model.customer import Attributes
from proffer.model.events import read_item_token
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind, canonical, kind_of
from proffer.model.long_names import ADDRESS
from proffer.validation import json_path, near_name

MAX_REPORTED_ITEMS = 1000
"""Maximum number of propositions and items, together, in one event."""

_PLAIN, _DECISIONING = "_experience", "decisioning"
_ROOT = f"$.{_PLAIN}.{_DECISIONING}"
_ENVELOPE = {"@id": "_id"}


class FeedbackKind(StrEnum):
    """What happened: displayed, clicked, dismissed, or anything else (custom)."""

    DISPLAY = "display"
    INTERACT = "interact"
    DISMISS = "dismiss"
    CUSTOM = "custom"


CAP_EVENT_BY_KIND: Mapping[FeedbackKind, CapEvent] = {
    FeedbackKind.DISPLAY: CapEvent.IMPRESSION,
    FeedbackKind.INTERACT: CapEvent.CLICK,
}
"""Cap event of each kind. Other kinds count only by a custom rule."""

KIND_BY_EVENT_TYPE: Mapping[str, FeedbackKind] = {
    "decisioning.propositionDisplay": FeedbackKind.DISPLAY,
    "decisioning.propositionInteract": FeedbackKind.INTERACT,
    "decisioning.propositionDismiss": FeedbackKind.DISMISS,
}
"""Kind by event type. Any other event type is a custom event."""

_KIND_BY_MARK = {kind.value: kind for kind in FeedbackKind if kind is not FeedbackKind.CUSTOM}


@dataclass(frozen=True, slots=True)
class PropositionReport:
    """A report on one proposition; `id` is empty if the client sent none, and then nothing is attributed.

    `items` None: all its offers, unless there are tracking `tokens` of some. `scope` is as sent, None if
    absent. `hint` is the token from the proposition's `scopeDetails`, if the client sent it back.
    """

    id: str
    scope: str | None = None
    items: tuple[str, ...] | None = None
    hint: str | None = None
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One feedback event. `id` is unique: applying the same event twice changes nothing.

    `document` is the event as sent, normalised by `normalize_event`; custom rules are evaluated on it.
    """

    id: str
    kind: FeedbackKind
    at_us: int
    propositions: tuple[PropositionReport, ...]
    identities: tuple[IdentityKey, ...] = ()
    document: Attributes


@dataclass(frozen=True, slots=True)
class FeedbackScope:
    """Decision and placement of a scope text; None if not given."""

    decision: str | None
    placement: str | None


def normalize_event(entity: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event with plain names. The `xdm:` prefixes must be removed already."""
    addressed_names = [name for name in entity if name.startswith(ADDRESS)]
    if not addressed_names and "@id" not in entity:
        return entity
    plain = {_ENVELOPE.get(name, name): entity[name] for name in entity if name not in addressed_names}
    if not addressed_names:
        return plain
    experience = plain.get(_PLAIN)
    experience = dict(experience) if isinstance(experience, Mapping) else {}
    decisioning = experience.get(_DECISIONING)
    decisioning = dict(decisioning) if isinstance(decisioning, Mapping) else {}
    for name in addressed_names:
        member = name.removeprefix(ADDRESS).strip("/")
        if member:
            decisioning.setdefault(member, entity[name])
        elif isinstance(entity[name], Mapping):
            decisioning = {**entity[name], **decisioning}
    plain[_PLAIN] = {**experience, _DECISIONING: decisioning}
    return plain


def read_feedback(
    entity: Mapping[str, Any],
    *,
    event_id: str,
    at_us: int,
    identities: Sequence[IdentityKey] = (),
    at: str = "$",
) -> Feedback | None:
    """Return the feedback of an event with plain names; None if it reports on no proposition.

    Raises `Invalid` with all violations if the report is malformed; `at` is the JSON path of the event
    in the request.
    """
    decisioning = _decisioning(entity)
    if decisioning is None:
        return None
    violations: list[Violation] = []
    reports = _with_action_tokens(list(_read_propositions(decisioning, violations)), decisioning)
    if sum(1 + len(report.items or ()) + len(report.tokens) for report in reports) > MAX_REPORTED_ITEMS:
        violations.append(_too_many_violation())
    marks = decisioning.get("propositionEventType")
    if marks is not None and not isinstance(marks, Mapping):
        violations.append(_type_violation(f"{_ROOT}.propositionEventType", "this is not an object"))
    if violations:
        raise Invalid.of(violations).with_root(at)
    if not reports:
        return None
    return Feedback(
        id=event_id,
        kind=_feedback_kind(entity.get("eventType"), marks),
        at_us=at_us,
        propositions=tuple(reports),
        identities=tuple(identities),
        document=entity,
    )


def near_event_type(event_type: Any) -> str | None:
    """Return the event type of propositions that is within two edits of this unknown one; else None."""
    if not isinstance(event_type, str) or event_type in KIND_BY_EVENT_TYPE:
        return None
    return near_name(event_type, KIND_BY_EVENT_TYPE)


def read_scope(text: str) -> FeedbackScope | None:
    """Parse a scope: base64 of JSON in any form, or `decision/placement`; None for other text."""
    head, slash, tail = text.partition("/")
    if slash and kind_of(head) is EntityKind.DECISION:
        return FeedbackScope(canonical(head), canonical(tail) or None)
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        members = msgspec.json.decode(plain)
    except (binascii.Error, ValueError):
        return None
    if not isinstance(members, Mapping):
        return None
    decision, placement = (
        next((members[name] for name in names if isinstance(members.get(name), str)), None)
        for names in (
            ("xdm:activityId", "activityId"),
            ("xdm:placementId", "placementId"),
        )
    )
    return FeedbackScope(canonical(decision) if decision else None, canonical(placement) if placement else None)


def _decisioning(entity: Mapping[str, Any]) -> Mapping[str, Any] | None:
    experience = entity.get(_PLAIN)
    decisioning = experience.get(_DECISIONING) if isinstance(experience, Mapping) else None
    return decisioning if isinstance(decisioning, Mapping) else None


def _feedback_kind(event_type: Any, marks: Mapping[str, Any] | None) -> FeedbackKind:
    """Return the kind. Marks that are all zero, or an unknown type, mean custom (spec 11.2)."""
    set_marks = [name for name, mark in (marks or {}).items() if mark]
    if marks and not set_marks:
        return FeedbackKind.CUSTOM
    if event_type is not None:  # clients may omit the marks, so the type decides
        return KIND_BY_EVENT_TYPE.get(str(event_type), FeedbackKind.CUSTOM)
    if len(set_marks) == 1:
        return _KIND_BY_MARK.get(set_marks[0], FeedbackKind.CUSTOM)
    return FeedbackKind.CUSTOM


def _read_propositions(decisioning: Mapping[str, Any], violations: list[Violation]) -> Iterator[PropositionReport]:
    seen: set[str] = set()
    for name in ("propositions", "proposition"):
        raw_propositions = decisioning.get(name)
        root = f"{_ROOT}.{name}"
        if raw_propositions is None:
            continue
        if isinstance(raw_propositions, Mapping):
            entries = [(root, raw_propositions)]
        elif isinstance(raw_propositions, list | tuple):
            entries = [(f"{root}[{index}]", proposition) for index, proposition in enumerate(raw_propositions)]
        else:
            violations.append(_type_violation(root, "expected a list of propositions"))
            continue
        for location, entry in entries:
            report = _read_report(entry, location, violations)
            if report is not None:
                seen.add(report.id)
                yield report
    # Apps add this to their own events about an offer: all offers of the proposition.
    proposition_id = decisioning.get("propositionID")
    if proposition_id is not None and not _is_text(proposition_id):
        violations.append(_type_violation(f"{_ROOT}.propositionID", "expected non-empty text"))
    elif proposition_id is not None and proposition_id not in seen:
        yield PropositionReport(proposition_id)


def _read_report(entry: Any, location: str, violations: list[Violation]) -> PropositionReport | None:
    if not isinstance(entry, Mapping):
        violations.append(_type_violation(location, "expected a proposition: an object with an `id`"))
        return None
    key, scope = entry.get("id", ""), entry.get("scope")
    if not isinstance(key, str) or (key and not _is_text(key)):
        violations.append(_type_violation(f"{location}.id", "expected the id of the proposition, as text"))
        return None
    if scope is not None and not isinstance(scope, str):
        violations.append(_type_violation(f"{location}.scope", "expected text"))
        scope = None
    items, tokens = _read_items(entry.get("items"), f"{location}.items", violations)
    return PropositionReport(key, scope or None, items, _read_hint(entry), tokens)


def _read_items(
    items: Any, location: str, violations: list[Violation]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the distinct ids and tokens of items; an item with tokens of ours is named by these.

    The ids are None if there are none, which means all.
    """
    if items is None:
        return None, ()
    if not isinstance(items, list | tuple):
        violations.append(_type_violation(location, "expected a list of items"))
        return None, ()
    item_ids: dict[str, None] = {}
    tokens: dict[str, None] = {}
    for index, item in enumerate(items):
        item_tokens = [token for token in _read_tokens(item, "characteristics") if read_item_token(token) is not None]
        key = item.get("id") if isinstance(item, Mapping) else None
        if item_tokens:
            tokens.update(dict.fromkeys(item_tokens))
        elif _is_text(key):
            item_ids[canonical(str(key))] = None
        else:
            violations.append(_type_violation(f"{location}[{index}].id", "the id of the item is missing"))
    return tuple(item_ids) or None, tuple(tokens)


def _with_action_tokens(
    reports: Sequence[PropositionReport], decisioning: Mapping[str, Any]
) -> list[PropositionReport]:
    """Return the reports with the tokens of the event's `propositionAction`.

    A token names its item in the reported proposition to which it belongs, instead of what the proposition
    lists, or in a report of its own. Other texts are tokens of every proposition without items.
    """
    texts = dict.fromkeys(_read_tokens(decisioning, "propositionAction"))
    if not texts:
        return list(reports)
    reported = {report.id for report in reports}
    unknown: list[str] = []
    by_proposition: dict[str, list[str]] = {}
    by_unreported_decision: dict[str, list[str]] = {}
    for text in texts:
        token = read_item_token(text)
        if token is None:
            unknown.append(text)
            continue
        for proposition in token.propositions:
            by_proposition.setdefault(proposition, []).append(text)
        if reported.isdisjoint(token.propositions):
            by_unreported_decision.setdefault(token.decision, []).append(text)
    unknown_tokens = tuple(unknown)

    def with_tokens(report: PropositionReport) -> PropositionReport:
        matches = by_proposition.get(report.id)
        if matches is not None:
            return replace(report, items=None, tokens=tuple(matches))
        return replace(report, tokens=unknown_tokens) if report.items is None and not report.tokens else report

    other_reports = [PropositionReport(key, tokens=tuple(tokens)) for key, tokens in by_unreported_decision.items()]
    return [*map(with_tokens, reports), *other_reports]


def _read_tokens(holder: Any, name: str) -> list[str]:
    """Return the `tokens` in a member of an object: a list of texts, or one text with commas."""
    inner = holder.get(name) if isinstance(holder, Mapping) else None
    tokens = inner.get("tokens") if isinstance(inner, Mapping) else None
    if isinstance(tokens, str):
        tokens = tokens.split(",")
    if not isinstance(tokens, list | tuple):
        return []
    return [token.strip() for token in tokens if isinstance(token, str) and _is_text(token.strip())]


def _read_hint(entry: Mapping[str, Any]) -> str | None:
    inner: Any = entry
    for name in ("scopeDetails", "characteristics", "eventToken"):
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return inner if _is_text(inner) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1024 and "\0" not in value


def _too_many_violation() -> Violation:
    return Violation(
        code="limit",
        message=f"the event reports on more than {MAX_REPORTED_ITEMS:,} propositions and items",
        path=_ROOT + json_path("propositions")[1:],
        help="send several events",
    )


def _type_violation(location: str, message: str) -> Violation:
    return Violation(
        code="type",
        message=message,
        path=location,
        help='report as in `{"propositions": [{"id": "…", "scope": "…", "items": [{"id": "…"}]}]}`',
    )
