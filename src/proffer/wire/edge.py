"""The documents of the edge: interact, collect, identity and consent, field for field (edge 1 to 9).

Requests are read as types; where one does not fit, the shapes beside them say everything that is wrong
with it. What a page says of itself (`xdm`, `data`) is kept as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from proffer.validation import (
    Anything,
    Boolean,
    ListOf,
    MapOf,
    Member,
    Null,
    Object,
    OneOf,
    Shape,
    Text,
)
from proffer.wire.codec import encode

MAX_BODY = 64 * 1024
"""Bytes of a request's body (edge 1)."""
MAX_SCOPES = 30
"""Decision scopes in one request (edge 1)."""
MAX_EVENTS = 100
MAX_SEPARATOR = 16

CONTENT_TYPES = frozenset({"application/json", "text/plain", "text/javascript"})
JSON_TYPE = "application/json;charset=utf-8"

DECISIONS = "personalization:decisions"
IDENTITY = "identity:result"
STATE = "state:store"

CONTENT_COMPONENT = "https://ns.adobe.com/experience/offer-management/content-component-"


# Requests.


class PersonalizationDoc(Struct):
    scopes: list[str] | None = field(name="decisionScopes", default=None)


class FetchDoc(Struct):
    fetch: list[str] | None = None


class QueryDoc(Struct):
    personalization: PersonalizationDoc | None = None
    identity: FetchDoc | None = None


class EntryDoc(Struct):
    """One thing that a client keeps for us: a cookie, or the same where there are no cookies."""

    key: str
    value: str


class StateDoc(Struct):
    domain: str | None = None
    cookies_enabled: bool | None = field(name="cookiesEnabled", default=None)
    entries: list[EntryDoc] | None = None


class StreamingDoc(Struct):
    enabled: bool | None = None
    record_separator: str | None = field(name="recordSeparator", default=None)
    line_feed: str | None = field(name="lineFeed", default=None)


class KonductorDoc(Struct):
    streaming: StreamingDoc | None = None


class MetaDoc(Struct):
    state: StateDoc | None = None
    konductor: KonductorDoc | None = field(name="konductorConfig", default=None)
    overrides: Any = field(name="configOverrides", default=None)


class EventDoc(Struct):
    xdm: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    query: QueryDoc | None = None


class RequestDoc(Struct, kw_only=True):
    """What every request may say, whatever else it does."""

    query: QueryDoc | None = None
    meta: MetaDoc | None = None
    xdm: dict[str, Any] | None = None
    identity_map: dict[str, Any] | None = field(name="identityMap", default=None)


class EventsDoc(RequestDoc, kw_only=True):
    """Interact and collect."""

    events: Annotated[list[EventDoc], Meta(min_length=1, max_length=MAX_EVENTS)]


class OneEventDoc(RequestDoc, kw_only=True):
    """Interact of the second version: one event."""

    event: EventDoc


class ConsentDoc(Struct):
    standard: Annotated[str, Meta(min_length=1)]
    version: Annotated[str, Meta(min_length=1)]
    value: Any
    gdpr_applies: bool | None = field(name="gdprApplies", default=None)


class ConsentsDoc(RequestDoc, kw_only=True):
    """Set-consent."""

    consent: Annotated[list[ConsentDoc], Meta(min_length=1)]


# The same once more, for saying everything that is wrong with one.


def _optional(shape: Shape) -> Member:
    return Member(OneOf([shape, Null()]))


_OBJECT = _optional(MapOf(Anything()))
_TEXT = _optional(Text())
_FLAG = _optional(Boolean())
_QUERY = _optional(
    Object(
        {
            "personalization": _optional(Object({"decisionScopes": _optional(ListOf(Text()))})),
            "identity": _optional(Object({"fetch": _optional(ListOf(Text()))})),
        }
    )
)
_ENTRY = Object({"key": Member(Text(), required=True), "value": Member(Text(), required=True)})
_META = _optional(
    Object(
        {
            "state": _optional(
                Object(
                    {
                        "domain": _TEXT,
                        "cookiesEnabled": _FLAG,
                        "entries": _optional(ListOf(_ENTRY)),
                    }
                )
            ),
            "konductorConfig": _optional(
                Object(
                    {
                        "streaming": _optional(
                            Object({"enabled": _FLAG, "recordSeparator": _TEXT, "lineFeed": _TEXT})
                        )
                    }
                )
            ),
        }
    )
)
_EVENT = Object({"xdm": _OBJECT, "data": _OBJECT, "query": _QUERY})
_COMMON = {"query": _QUERY, "meta": _META, "xdm": _OBJECT, "identityMap": _OBJECT}

EVENTS_SHAPE: Shape = Object(
    {"events": Member(ListOf(_EVENT, 1, MAX_EVENTS), required=True), **_COMMON}
)
EVENT_SHAPE: Shape = Object({"event": Member(_EVENT, required=True), **_COMMON})
ACQUIRE_SHAPE: Shape = Object(_COMMON)
CONSENT_SHAPE: Shape = Object(
    {
        "consent": Member(
            ListOf(
                Object(
                    {
                        "standard": Member(Text(min=1), required=True),
                        "version": Member(Text(min=1), required=True),
                        "value": Member(Anything(), required=True),
                        "gdprApplies": _FLAG,
                    }
                ),
                1,
            ),
            required=True,
        ),
        **_COMMON,
    }
)


# Answers.


class ItemDataDoc(Struct, omit_defaults=True):
    """What an item shows. `content` or `deliveryURL`, never both: clients look for the first of them."""

    id: str
    format: str | UnsetType = UNSET
    language: list[str] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    delivery_url: str | UnsetType = field(name="deliveryURL", default=UNSET)
    link_url: str | UnsetType = field(name="linkURL", default=UNSET)
    characteristics: dict[str, str] | UnsetType = UNSET


class ItemDoc(Struct, omit_defaults=True):
    id: str
    etag: str
    schema: str
    data: ItemDataDoc
    name: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    score: float | UnsetType = UNSET


class AboutDoc(Struct, omit_defaults=True):
    """A decision, or a placement with its channel and the kind of content it takes."""

    id: str
    etag: str
    name: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    component_type: str | UnsetType = field(name="componentType", default=UNSET)


# A proposition, as `api/edge/fragments.py` joins it: `id`, `scope`, `activity`, `placement`, `scopeDetails` (all
# that display events send back: where it is not empty, Android sends nothing else, so decision and placement
# stand in it too), `items`, and `trace`, which is ours; clients hand members that they do not know to the page.


def answer(
    request_id: str,
    handle: Sequence[bytes],
    errors: Sequence[Mapping[str, Any]],
    warnings: Sequence[Mapping[str, Any]],
) -> bytes:
    """The whole document: `requestId`, `handle`, and `errors` and `warnings` where there are any."""
    parts = [b'{"requestId":', encode(request_id), b',"handle":[', b",".join(handle), b"]"]
    if errors:
        parts += (b',"errors":', encode(errors))
    if warnings:
        parts += (b',"warnings":', encode(warnings))
    parts.append(b"}")
    return b"".join(parts)


def decisions(propositions: Sequence[bytes], event: int) -> bytes:
    """The handle of what an event asked for, of propositions that are encoded."""
    return (
        b'{"type":"%b","eventIndex":%d,"payload":[' % (_DECISIONS, event)
        + b",".join(propositions)
        + b"]}"
    )


def identity(ecid: str) -> bytes:
    """The handle that tells who the browser is; an ECID is digits."""
    return _IDENTITY % ecid.encode()


def state(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The handle of what the client is to keep."""
    return encode({"type": STATE, "payload": entries})


def stored(key: str, value: str, max_age: int) -> dict[str, Any]:
    """One entry of `state:store`. Clients without cookies drop entries that do not say how long they last."""
    return {"key": key, "value": value, "maxAge": max_age, "attrs": {"SameSite": "None"}}


_DECISIONS = DECISIONS.encode()
_IDENTITY = (
    b'{"type":"' + IDENTITY.encode() + b'","payload":[{"id":"%b","namespace":{"code":"ECID"}}]}'
)
