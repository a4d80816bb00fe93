"""Parse ingested XDM entities to customer changes: profile records or experience events.

Declared fields are checked for their types; other members are kept. All violations of an entity
are listed, nothing is dropped silently.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from proffer.errors import Invalid, Violation
from proffer.model.customer import EVENT_LIMITS, Change, EventLimits, ExperienceEvent, ProfileRecord
from proffer.model.documents import limit_violation
from proffer.model.feedback import Feedback, normalize_event, read_feedback
from proffer.model.field_types import RecordTypes
from proffer.model.identity import (
    MAX_MAP_IDENTITIES,
    IdentityField,
    IdentityKey,
    Namespaces,
    declared_identities,
    read_identity_map,
    too_many_identities,
)
from proffer.model.profile import without_prefixes
from proffer.validation import (
    AnyShape,
    DateTimeShape,
    Member,
    ObjectShape,
    Shape,
    TextShape,
    parse_timestamp_us,
    validate,
)

MAX_RECORD_BYTES = 256 * 1024
MAX_DATASET = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestMessage:
    """One ingested entity. `is_event` None: decide by its content."""

    entity: Mapping[str, Any]
    dataset: str = ""
    id: str | None = None
    is_event: bool | None = None
    schema: str = ""


EVENT_SHAPE: Shape = ObjectShape(
    {
        "_id": Member(TextShape(min=1, max=1024), required=True),
        "timestamp": Member(DateTimeShape(), required=True),
    }
)
"""Required fields of an XDM ExperienceEvent."""

_PREFIX, _NUL = b'"xdm:', b"\\u0000"
_ADDRESS_MARKERS = (b'"@id"', b'"https://ns.adobe.com/')
_NOT_ATTRIBUTES = frozenset({"identityMap", "_id"})


def parse_change(
    message: IngestMessage,
    namespaces: Namespaces,
    types: RecordTypes,
    now_us: int,
    limits: EventLimits = EVENT_LIMITS,
) -> Change:
    """Parse a message to a change. Raises `Invalid` with all violations.

    If `is_event` is None, an entity with a `timestamp` is an event.
    """
    entity = message.entity
    text = msgspec.json.encode(entity)
    if _PREFIX in text:
        entity = without_prefixes(entity)
    is_event = "timestamp" in entity if message.is_event is None else message.is_event
    if is_event and any(marker in text for marker in _ADDRESS_MARKERS):
        entity = normalize_event(entity)
    violations = _entity_violations(entity, text, types, is_event=is_event)
    violations += _limit_violations(message, len(text), limits.max_event_bytes if is_event else MAX_RECORD_BYTES)
    identities, identity_violations = read_identity_map(entity.get("identityMap", {}), namespaces)
    violations += identity_violations
    fields = namespaces.fields(message.schema)
    if fields:
        primary_keys, secondary_keys, field_violations = declared_identities(entity, fields, namespaces)
        identities = list(dict.fromkeys([*primary_keys, *identities, *secondary_keys]))
        identity_violations = identity_violations + field_violations
        violations += field_violations
        if len(identities) > MAX_MAP_IDENTITIES:
            violations.append(too_many_identities("$"))
    if not identities and not identity_violations:
        violations.append(_no_identity_violation(fields))
    if violations:
        raise Invalid.of(violations)
    if is_event:
        return ExperienceEvent(
            identities=tuple(identities),
            id=entity["_id"],
            stamped_us=parse_timestamp_us(entity["timestamp"]),
            document=entity,
        )
    return build_record(message, entity, tuple(identities), now_us)


def read_message(
    message: IngestMessage,
    namespaces: Namespaces,
    types: RecordTypes,
    now_us: int,
    limits: EventLimits = EVENT_LIMITS,
) -> tuple[Change | None, Feedback | None]:
    """Parse a message to a change and feedback. Feedback may come without identities.

    Raises `Invalid` with all violations.
    """
    try:
        change = parse_change(message, namespaces, types, now_us, limits)
    except Invalid as error:
        if [violation.code for violation in error.violations] != [_NO_IDENTITY]:
            raise
        feedback = _feedback_without_identity(message, limits)
        if feedback is None:
            raise
        return None, feedback
    return change, _feedback_of(change)


def _feedback_of(change: Change) -> Feedback | None:
    """Return the feedback in a change, or None. Raises `Invalid` if it is malformed."""
    if not isinstance(change, ExperienceEvent):
        return None
    return read_feedback(
        change.document,
        event_id=change.id,
        at_us=change.stamped_us,
        identities=change.identities,
    )


def _feedback_without_identity(message: IngestMessage, limits: EventLimits) -> Feedback | None:
    """Return the feedback of an event without identities; its propositions determine the customer.

    None for anything else, and for an event with other violations.
    """
    entity = normalize_event(without_prefixes(message.entity))
    identity_map = entity.get("identityMap")
    is_unusable = message.is_event is False or identity_map or validate(EVENT_SHAPE, entity)
    if is_unusable or _limit_violations(message, len(msgspec.json.encode(entity)), limits.max_event_bytes):
        return None
    return read_feedback(entity, event_id=entity["_id"], at_us=parse_timestamp_us(entity["timestamp"]))


def _entity_violations(
    entity: Mapping[str, Any], text: bytes, types: RecordTypes, *, is_event: bool
) -> list[Violation]:
    violations: list[Violation] = []
    if is_event:
        violations = validate(EVENT_SHAPE, entity)
    elif _NUL in text:
        violations = validate(AnyShape(), entity)
    paths = {violation.path for violation in violations}
    declared = (types.event if is_event else types.profile).violations(entity)
    return violations + [violation for violation in declared if violation.path not in paths]


def build_record(
    message: IngestMessage,
    entity: Mapping[str, Any],
    identities: tuple[IdentityKey, ...],
    now_us: int,
) -> ProfileRecord:
    """Build the profile record of a normalised, valid entity."""
    record_id = message.id or entity.get("_id")
    return ProfileRecord(
        identities=identities,
        dataset=message.dataset,
        stamped_us=_record_time_us(entity, now_us),
        attributes={name: value for name, value in entity.items() if name not in _NOT_ATTRIBUTES},
        digest=_record_digest(str(record_id), message) if record_id else None,
    )


def _record_time_us(entity: Mapping[str, Any], now_us: int) -> int:
    """Return the record's last update time from its source, at most now; else now."""
    audit = entity.get("extSourceSystemAudit")
    last_updated = audit.get("lastUpdatedDate") if isinstance(audit, Mapping) else None
    if isinstance(last_updated, str):
        try:
            return min(parse_timestamp_us(last_updated), now_us)
        except ValueError:
            return now_us
    return now_us


def _record_digest(record_id: str, message: IngestMessage) -> bytes:
    content = msgspec.json.encode([record_id, message.dataset, dict(message.entity)])
    return hashlib.blake2b(content, digest_size=16).digest()


def _limit_violations(message: IngestMessage, size: int, max_bytes: int) -> list[Violation]:
    violations: list[Violation] = []
    if size > max_bytes:
        violations.append(limit_violation("$", f"{size:,} bytes", f"{max_bytes:,} bytes"))
    if len(message.dataset) > MAX_DATASET:
        violations.append(
            limit_violation(
                "$.header.datasetId",
                f"{len(message.dataset):,} characters",
                f"{MAX_DATASET} characters",
            )
        )
    return violations


def _no_identity_violation(fields: Sequence[IdentityField]) -> Violation:
    declared = " or ".join(f"`{'.'.join(field.path)}`" for field in fields[:5])
    return Violation(
        code="no-identity",
        message="no identity found",
        path="$.identityMap",
        help='add an identity map, as in `{"Email": [{"id": "ada@example.org"}]}`, or '
        + (f"set {declared}" if declared else "declare an identity field in its schema"),
    )


_NO_IDENTITY = _no_identity_violation(()).code
"""Code of the violation that no identity is given."""
