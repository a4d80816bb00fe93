"""Parse ingested XDM entities to customer changes: profile records or experience events.

Fields of the XDM core are checked for their types; unknown members are kept. All violations of an entity
are listed, nothing is dropped silently.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from proffer.errors import Finding, Invalid
from proffer.model.customer import EVENT_LIMITS, Change, Event, EventLimits, Record
from proffer.model.feedback import Feedback, plain_event, read_feedback
from proffer.model.identity import (
    MAX_ASKED,
    IdentityField,
    IdentityKey,
    Namespaces,
    declared_identities,
    read_identity_map,
    too_many,
)
from proffer.model.profile import without_prefixes
from proffer.validation import (
    Anything,
    DateTime,
    Integer,
    ListOf,
    MapOf,
    Member,
    Null,
    Object,
    OneOf,
    Shape,
    Text,
    parse_moment,
    walk,
)

MAX_RECORD_BYTES = 256 * 1024
MAX_DATASET = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One ingested entity. `is_event` None: decide by its content."""

    entity: Mapping[str, Any]
    dataset: str = ""
    id: str | None = None
    is_event: bool | None = None
    schema: str = ""


def _or_null(shape: Shape) -> Member:
    return Member(OneOf([shape, Null()]))


_TEXT = _or_null(Text())
_OBJECT = _or_null(MapOf(Anything()))


def _texts(*names: str) -> dict[str, Member]:
    return dict.fromkeys(names, _TEXT)


_ADDRESS = _or_null(
    Object(
        _texts("city", "country", "countryCode", "postalCode", "state", "stateProvince", "street1")
    )
)
_EMAIL = _or_null(Object(_texts("address", "label", "type", "status")))
_PHONE = _or_null(Object(_texts("number", "extension", "status")))
_NAME = _or_null(Object(_texts("firstName", "middleName", "lastName", "fullName", "courtesyTitle")))
_PERSON = _or_null(
    Object(
        {
            "name": _NAME,
            "birthYear": _or_null(Integer()),
            **_texts("birthDate", "birthDayAndMonth", "gender", "nationality", "maritalStatus"),
        }
    )
)
PROFILE_SHAPE: Shape = Object(
    {
        "person": _PERSON,
        "homeAddress": _ADDRESS,
        "workAddress": _ADDRESS,
        "mailingAddress": _ADDRESS,
        "billingAddress": _ADDRESS,
        "personalEmail": _EMAIL,
        "workEmail": _EMAIL,
        "homePhone": _PHONE,
        "mobilePhone": _PHONE,
        "workPhone": _PHONE,
        "consents": _OBJECT,
        "segmentMembership": _OBJECT,
        "preferredLanguage": _TEXT,
        "timeZone": _TEXT,
    }
)
"""Shape of the common fields of the XDM Individual Profile."""

EVENT_SHAPE: Shape = Object(
    {
        "_id": Member(Text(min=1, max=1024), required=True),
        "timestamp": Member(DateTime(), required=True),
        "eventType": _TEXT,
        "producedBy": _TEXT,
        "commerce": _OBJECT,
        "web": _OBJECT,
        "environment": _OBJECT,
        "placeContext": _OBJECT,
        "productListItems": _or_null(ListOf(MapOf(Anything()))),
    }
)
"""Shape of the common fields of the XDM ExperienceEvent."""


class _Name(Struct):
    firstName: str | None = None  # noqa: N815 - XDM's own names
    middleName: str | None = None  # noqa: N815
    lastName: str | None = None  # noqa: N815
    fullName: str | None = None  # noqa: N815
    courtesyTitle: str | None = None  # noqa: N815


class _Person(Struct):
    name: _Name | None = None
    birthYear: int | None = None  # noqa: N815
    birthDate: str | None = None  # noqa: N815
    birthDayAndMonth: str | None = None  # noqa: N815
    gender: str | None = None
    nationality: str | None = None
    maritalStatus: str | None = None  # noqa: N815


class _Address(Struct):
    city: str | None = None
    country: str | None = None
    countryCode: str | None = None  # noqa: N815
    postalCode: str | None = None  # noqa: N815
    state: str | None = None
    stateProvince: str | None = None  # noqa: N815
    street1: str | None = None


class _Email(Struct):
    address: str | None = None
    label: str | None = None
    type: str | None = None
    status: str | None = None


class _Phone(Struct):
    number: str | None = None
    extension: str | None = None
    status: str | None = None


class _Profile(Struct):
    """`PROFILE_SHAPE` as types, for a fast check of valid profiles."""

    person: _Person | None = None
    homeAddress: _Address | None = None  # noqa: N815
    workAddress: _Address | None = None  # noqa: N815
    mailingAddress: _Address | None = None  # noqa: N815
    billingAddress: _Address | None = None  # noqa: N815
    personalEmail: _Email | None = None  # noqa: N815
    workEmail: _Email | None = None  # noqa: N815
    homePhone: _Phone | None = None  # noqa: N815
    mobilePhone: _Phone | None = None  # noqa: N815
    workPhone: _Phone | None = None  # noqa: N815
    consents: dict[str, Any] | None = None
    segmentMembership: dict[str, Any] | None = None  # noqa: N815
    preferredLanguage: str | None = None  # noqa: N815
    timeZone: str | None = None  # noqa: N815


_PREFIX, _NUL = b'"xdm:', b"\\u0000"
_ADDRESSES = (b'"@id"', b'"https://ns.adobe.com/')
_NOT_ATTRIBUTES = frozenset({"identityMap", "_id"})


def change_of(
    message: Message, namespaces: Namespaces, now_us: int, limits: EventLimits = EVENT_LIMITS
) -> Change:
    """Parse a message to a change. Raises `Invalid` with all violations.

    If `is_event` is None, an entity with a `timestamp` is an event.
    """
    entity = message.entity
    text = msgspec.json.encode(entity)
    if _PREFIX in text:
        entity = without_prefixes(entity)
    is_event = "timestamp" in entity if message.is_event is None else message.is_event
    if is_event and any(one in text for one in _ADDRESSES):
        entity = plain_event(entity)
    found = [] if _fits(entity, text, is_event) else _mistakes(entity, is_event)
    found += _limits(message, len(text), limits.bytes_each if is_event else MAX_RECORD_BYTES)
    identities, wrong = read_identity_map(entity.get("identityMap", {}), namespaces)
    found += wrong
    fields = namespaces.fields(message.schema)
    if fields:
        first, rest, more = declared_identities(entity, fields, namespaces)
        identities = list(dict.fromkeys([*first, *identities, *rest]))
        wrong = wrong + more
        found += more
        if len(identities) > MAX_ASKED:
            found.append(too_many("$"))
    if not identities and not wrong:
        found.append(_nobody(fields))
    if found:
        raise Invalid.of(found)
    if is_event:
        return Event(
            identities=tuple(identities),
            id=entity["_id"],
            stamped_us=parse_moment(entity["timestamp"]),
            document=entity,
        )
    return record_of(message, entity, tuple(identities), now_us)


def read_message(
    message: Message, namespaces: Namespaces, now_us: int, limits: EventLimits = EVENT_LIMITS
) -> tuple[Change | None, Feedback | None]:
    """Parse a message to a change and feedback. Feedback may come without identities.

    Raises `Invalid` with all violations.
    """
    try:
        change = change_of(message, namespaces, now_us, limits)
    except Invalid as refusal:
        if [one.code for one in refusal.findings] != [_NO_IDENTITY]:
            raise
        reported = _feedback_of_nobody(message, limits)
        if reported is None:
            raise
        return None, reported
    return change, _feedback_of(change)


def _feedback_of(change: Change) -> Feedback | None:
    """Return the feedback in a change, or None. Raises `Invalid` if it is malformed."""
    if not isinstance(change, Event):
        return None
    return read_feedback(
        change.document,
        event_id=change.id,
        at_us=change.stamped_us,
        identities=change.identities,
    )


def _feedback_of_nobody(message: Message, limits: EventLimits) -> Feedback | None:
    """Return the feedback of an event without identities; its propositions determine the customer.

    None for anything else, and for an event with other violations.
    """
    entity = plain_event(without_prefixes(message.entity))
    named = entity.get("identityMap")
    wrong = message.is_event is False or named or _mistakes(entity, True)
    if wrong or _limits(message, len(msgspec.json.encode(entity)), limits.bytes_each):
        return None
    return read_feedback(entity, event_id=entity["_id"], at_us=parse_moment(entity["timestamp"]))


def _fits(entity: Mapping[str, Any], text: bytes, is_event: bool) -> bool:
    """Return True only for a valid profile entity. Fast check; False may still be valid."""
    if is_event or _NUL in text:
        return False
    try:
        msgspec.convert(entity, _Profile)
    except msgspec.ValidationError:
        return False
    return True


def _mistakes(entity: Mapping[str, Any], is_event: bool) -> list[Finding]:
    return walk(EVENT_SHAPE if is_event else PROFILE_SHAPE, entity)


def record_of(
    message: Message, entity: Mapping[str, Any], identities: tuple[IdentityKey, ...], now_us: int
) -> Record:
    """Build the profile record of a normalised, valid entity."""
    known_as = message.id or entity.get("_id")
    return Record(
        identities=identities,
        dataset=message.dataset,
        stamped_us=_stamped(entity, now_us),
        attributes={name: value for name, value in entity.items() if name not in _NOT_ATTRIBUTES},
        digest=_digest(str(known_as), message) if known_as else None,
    )


def _stamped(entity: Mapping[str, Any], now_us: int) -> int:
    """Return the record's last update time from its source, at most now; else now."""
    audit = entity.get("extSourceSystemAudit")
    said = audit.get("lastUpdatedDate") if isinstance(audit, Mapping) else None
    if isinstance(said, str):
        try:
            return min(parse_moment(said), now_us)
        except ValueError:
            return now_us
    return now_us


def _digest(known_as: str, message: Message) -> bytes:
    content = msgspec.json.encode([known_as, message.dataset, dict(message.entity)])
    return hashlib.blake2b(content, digest_size=16).digest()


def _limits(message: Message, size: int, most: int) -> list[Finding]:
    found: list[Finding] = []
    if size > most:
        found.append(_limit("$", f"{size:,} bytes", f"{most:,} bytes"))
    if len(message.dataset) > MAX_DATASET:
        found.append(_limit("$.header.datasetId", "this", f"{MAX_DATASET} characters"))
    return found


def _limit(path: str, found: str, allowed: str) -> Finding:
    return Finding(
        code="limit",
        message=f"{found} is more than the limit of {allowed}",
        path=path,
        help=f"stay within {allowed}",
    )


def _nobody(fields: Sequence[IdentityField]) -> Finding:
    declared = " or ".join(f"`{'.'.join(one.path)}`" for one in fields[:5])
    return Finding(
        code="no-identity",
        message="no identity says whose this is",
        path="$.identityMap",
        help='add an identity map, as in `{"Email": [{"id": "ada@example.org"}]}`, or '
        + (f"fill {declared}" if declared else "declare in its schema which field is an identity"),
    )


_NO_IDENTITY = _nobody(()).code
"""Code of the violation that no identity is given."""
