"""Documents of the edge: interact, collect, identity and consent (edge 1 to 9).

Requests are decoded to types; if that fails, the shapes report every violation. The page's own data
(`xdm`, `data`) is passed through unchanged.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from proffer.validation import (
    AnyShape,
    BooleanShape,
    ListShape,
    MapShape,
    Member,
    NullShape,
    ObjectShape,
    OneOfShape,
    Shape,
    TextShape,
)
from proffer.wire.codec import encode

MAX_BODY = 64 * 1024
"""Maximum bytes of a request body (edge 1)."""
MAX_SCOPES = 30
"""Maximum decision scopes of a request (edge 1)."""
MAX_EVENTS = 100
MAX_SEPARATOR = 16

CONTENT_TYPES = frozenset({"application/json", "text/plain", "text/javascript"})
JSON_TYPE = "application/json;charset=utf-8"

DECISIONS = "personalization:decisions"
IDENTITY = "identity:result"
LOCATION = "locationHint:result"
STATE = "state:store"

LOCATION_HINT = "prf1"
"""The region of this server. Mobile SDKs put it in the path of later requests: `/ee/prf1/v1/interact`."""
_HINT_SECONDS = 1800


# Requests.


class PersonalizationDoc(Struct):
    scopes: list[str] | None = field(name="decisionScopes", default=None)


class FetchDoc(Struct):
    fetch: list[str] | None = None


class QueryDoc(Struct):
    personalization: PersonalizationDoc | None = None
    identity: FetchDoc | None = None


class EntryDoc(Struct):
    """An entry of client-side state. A cookie, or the same where there are no cookies."""

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
    """Members common to all requests."""

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


# Shapes of the same requests, to report every violation.


def _optional(shape: Shape) -> Member:
    return Member(OneOfShape([shape, NullShape()]))


_OBJECT = _optional(MapShape(AnyShape()))
_TEXT = _optional(TextShape())
_FLAG = _optional(BooleanShape())
_QUERY = _optional(
    ObjectShape(
        {
            "personalization": _optional(ObjectShape({"decisionScopes": _optional(ListShape(TextShape()))})),
            "identity": _optional(ObjectShape({"fetch": _optional(ListShape(TextShape()))})),
        }
    )
)
_ENTRY = ObjectShape({"key": Member(TextShape(), required=True), "value": Member(TextShape(), required=True)})
_META = _optional(
    ObjectShape(
        {
            "state": _optional(
                ObjectShape(
                    {
                        "domain": _TEXT,
                        "cookiesEnabled": _FLAG,
                        "entries": _optional(ListShape(_ENTRY)),
                    }
                )
            ),
            "konductorConfig": _optional(
                ObjectShape(
                    {
                        "streaming": _optional(
                            ObjectShape({"enabled": _FLAG, "recordSeparator": _TEXT, "lineFeed": _TEXT})
                        )
                    }
                )
            ),
        }
    )
)
_EVENT = ObjectShape({"xdm": _OBJECT, "data": _OBJECT, "query": _QUERY})
_COMMON = {"query": _QUERY, "meta": _META, "xdm": _OBJECT, "identityMap": _OBJECT}

EVENTS_SHAPE: Shape = ObjectShape({"events": Member(ListShape(_EVENT, 1, MAX_EVENTS), required=True), **_COMMON})
EVENT_SHAPE: Shape = ObjectShape({"event": Member(_EVENT, required=True), **_COMMON})
ACQUIRE_SHAPE: Shape = ObjectShape(_COMMON)
CONSENT_SHAPE: Shape = ObjectShape(
    {
        "consent": Member(
            ListShape(
                ObjectShape(
                    {
                        "standard": Member(TextShape(min=1), required=True),
                        "version": Member(TextShape(min=1), required=True),
                        "value": Member(AnyShape(), required=True),
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


# Responses.


class ItemDataDoc(Struct, omit_defaults=True):
    """The content of an item. `content` or `deliveryURL`, never both: clients look for the first of them."""

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


class AboutDoc(Struct, omit_defaults=True):
    """A decision, or a placement with its channel and kind of content."""

    id: str
    etag: str
    name: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    component_type: str | UnsetType = field(name="componentType", default=UNSET)


# `api/edge/fragments.py` builds a proposition of `id`, `scope`, `activity`, `placement`, `scopeDetails`, `items`,
# each item with its token in `characteristics.tokens` (the documented sample page reads it there; other clients pass
# unknown members to the page), and our own `trace`. Display events send back `scopeDetails`; if it
# is not empty, Android sends nothing else, so it contains decision and placement too.


def response_body(
    request_id: str,
    handle: Sequence[bytes],
    errors: Sequence[Mapping[str, Any]],
    warnings: Sequence[Mapping[str, Any]],
) -> bytes:
    """Return the response body: `requestId`, `handle`, and `errors` and `warnings` if any."""
    parts = [b'{"requestId":', encode(request_id), b',"handle":[', b",".join(handle), b"]"]
    if errors:
        parts += (b',"errors":', encode(errors))
    if warnings:
        parts += (b',"warnings":', encode(warnings))
    parts.append(b"}")
    return b"".join(parts)


def decisions_handle(propositions: Sequence[bytes], event: int) -> bytes:
    """Return the handle of an event's decisions. `propositions` are encoded already."""
    return b'{"type":"%b","eventIndex":%d,"payload":[' % (_DECISIONS, event) + b",".join(propositions) + b"]}"


def identity_handle(ecid: str) -> bytes:
    """Return the handle with the ECID. It needs no escaping as it is digits."""
    return _IDENTITY % ecid.encode()


def state_handle(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the handle with the state entries for the client to store."""
    return encode({"type": STATE, "payload": entries})


def state_entry(key: str, value: str, max_age: int) -> dict[str, Any]:
    """Return one entry of `state:store`. Clients without cookies drop entries without `maxAge`."""
    return {"key": key, "value": value, "maxAge": max_age, "attrs": {"SameSite": "None"}}


LOCATION_HANDLE = encode(
    {
        "type": LOCATION,
        "payload": [{"scope": "EdgeNetwork", "hint": LOCATION_HINT, "ttlSeconds": _HINT_SECONDS}],
    }
)
"""The handle with the location hint, which every answer with handles contains."""
_DECISIONS = DECISIONS.encode()
_IDENTITY = b'{"type":"' + IDENTITY.encode() + b'","payload":[{"id":"%b","namespace":{"code":"ECID"}}]}'
