"""Documents of streaming ingestion: messages with a header and a body."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, ValidationError, convert

from proffer.validation import (
    AnyShape,
    ListShape,
    MapShape,
    Member,
    NullShape,
    ObjectShape,
    OneOfShape,
    Shape,
    TextShape,
)

PROFILE = "_xdm.context.profile"
EVENT = "_xdm.context.experienceevent"
_PROFILE_URI = "https://ns.adobe.com/xdm/context/profile"
_EVENT_URI = "https://ns.adobe.com/xdm/context/experienceevent"

MAX_MESSAGES = 10_000

_SCHEMA = ObjectShape({"id": Member(TextShape(min=1), required=True), "contentType": Member(TextShape())})
_NAMED_SCHEMA = ObjectShape({"name": Member(TextShape(min=1), required=True)})
_SCHEMA_MEMBERS = {"schemaRef": Member(_SCHEMA), "xdmSchema": Member(_NAMED_SCHEMA)}
_SCHEMA_ALTERNATIVES = [("schemaRef", "xdmSchema")]

MESSAGE: Shape = ObjectShape(
    {
        "header": Member(
            ObjectShape(
                {
                    **_SCHEMA_MEMBERS,
                    "imsOrgId": Member(TextShape()),
                    "datasetId": Member(OneOfShape([TextShape(), NullShape()])),
                    "msgId": Member(TextShape()),
                },
                at_least_one_of=_SCHEMA_ALTERNATIVES,
            ),
            required=True,
        ),
        "body": Member(
            ObjectShape(
                {
                    "xdmMeta": Member(
                        ObjectShape(_SCHEMA_MEMBERS, at_least_one_of=_SCHEMA_ALTERNATIVES),
                        required=True,
                    ),
                    "xdmEntity": Member(MapShape(AnyShape()), required=True),
                }
            ),
            required=True,
        ),
    }
)
BATCH: Shape = ObjectShape({"messages": Member(ListShape(AnyShape(), 1, MAX_MESSAGES), required=True)})


class _NamedSchema(Struct):
    name: str


class _SchemaRef(Struct):
    id: str
    contentType: str = ""  # noqa: N815 - the wire's own names


class _Meta(Struct):
    schemaRef: _SchemaRef  # noqa: N815


class _Header(_Meta):
    imsOrgId: str = ""  # noqa: N815
    datasetId: str | None = None  # noqa: N815
    msgId: str = ""  # noqa: N815
    xdmSchema: _NamedSchema | None = None  # noqa: N815


class _Body(Struct):
    xdmMeta: _Meta  # noqa: N815
    xdmEntity: dict[str, Any]  # noqa: N815


class _Message(Struct):
    """The common form of `MESSAGE`, as types."""

    header: _Header
    body: _Body


def is_valid_message(value: Any) -> bool:
    """Return True only for a valid envelope. Fast check for the common form; False may be a valid one."""
    try:
        message = convert(value, _Message)
    except ValidationError:
        return False
    return bool(message.header.schemaRef.id) and "\0" not in str(value["header"])


def schema_of(part: Mapping[str, Any]) -> str:
    """Return the schema id that a header or `xdmMeta` names; empty if none."""
    schema_ref: Any = part.get("schemaRef") or {}
    schema_id = schema_ref.get("id")
    if schema_id is None:
        schema_id = (part.get("xdmSchema") or {}).get("name", "")
    return str(schema_id)


def is_event_schema(schema: str) -> bool | None:
    """Return whether a schema is the event schema; None for a custom schema, whose class is unknown."""
    plain = schema.partition(";")[0].rstrip("/").lower()
    if plain in {EVENT, _EVENT_URI}:
        return True
    if plain in {PROFILE, _PROFILE_URI}:
        return False
    return None
