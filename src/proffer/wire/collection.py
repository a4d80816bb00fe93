"""Documents of streaming ingestion: messages with a header and a body."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, ValidationError, convert

from proffer.validation import Anything, ListOf, MapOf, Member, Null, Object, OneOf, Shape, Text

PROFILE = "_xdm.context.profile"
EVENT = "_xdm.context.experienceevent"
_PROFILE_URI = "https://ns.adobe.com/xdm/context/profile"
_EVENT_URI = "https://ns.adobe.com/xdm/context/experienceevent"

MAX_MESSAGES = 10_000

_SCHEMA = Object({"id": Member(Text(min=1), required=True), "contentType": Member(Text())})
_NAMED = Object({"name": Member(Text(min=1), required=True)})
_WHICH = {"schemaRef": Member(_SCHEMA), "xdmSchema": Member(_NAMED)}
_EITHER = [("schemaRef", "xdmSchema")]

MESSAGE: Shape = Object(
    {
        "header": Member(
            Object(
                {
                    **_WHICH,
                    "imsOrgId": Member(Text()),
                    "datasetId": Member(OneOf([Text(), Null()])),
                    "msgId": Member(Text()),
                },
                at_least_one_of=_EITHER,
            ),
            required=True,
        ),
        "body": Member(
            Object(
                {
                    "xdmMeta": Member(Object(_WHICH, at_least_one_of=_EITHER), required=True),
                    "xdmEntity": Member(MapOf(Anything()), required=True),
                }
            ),
            required=True,
        ),
    }
)
BATCH: Shape = Object({"messages": Member(ListOf(Anything(), 1, MAX_MESSAGES), required=True)})


class _Named(Struct):
    name: str


class _Reference(Struct):
    id: str
    contentType: str = ""  # noqa: N815 - the wire's own names


class _Meta(Struct):
    schemaRef: _Reference  # noqa: N815


class _Header(_Meta):
    imsOrgId: str = ""  # noqa: N815
    datasetId: str | None = None  # noqa: N815
    msgId: str = ""  # noqa: N815
    xdmSchema: _Named | None = None  # noqa: N815


class _Body(Struct):
    xdmMeta: _Meta  # noqa: N815
    xdmEntity: dict[str, Any]  # noqa: N815


class _Message(Struct):
    """`MESSAGE` once more, as types, in the form that nearly all have."""

    header: _Header
    body: _Body


def is_message(value: Any) -> bool:
    """Return True only for a valid envelope. Fast check for the common form; False may be a valid one."""
    try:
        said = convert(value, _Message)
    except ValidationError:
        return False
    return bool(said.header.schemaRef.id) and "\0" not in str(value["header"])


def schema_of(part: Mapping[str, Any]) -> str:
    """Return the schema id that a header or `xdmMeta` names; empty if none."""
    named: Any = part.get("schemaRef") or {}
    given = named.get("id")
    if given is None:
        given = (part.get("xdmSchema") or {}).get("name", "")
    return str(given)


def is_event_schema(schema: str) -> bool | None:
    """Return whether a schema is the event schema; None for a custom schema, whose class is unknown."""
    plain = schema.partition(";")[0].rstrip("/").lower()
    if plain in {EVENT, _EVENT_URI}:
        return True
    if plain in {PROFILE, _PROFILE_URI}:
        return False
    return None
