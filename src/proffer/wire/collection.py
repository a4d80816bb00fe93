"""The documents of streaming ingestion, field for field: messages with a header and a body, and the answers."""

from collections.abc import Mapping
from typing import Any

from proffer.shapes import Anything, ListOf, MapOf, Member, Null, Object, OneOf, Shape, Text

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


def schema_of(part: Mapping[str, Any]) -> str:
    """The schema that a header or `xdmMeta` names."""
    named: Any = part.get("schemaRef") or {}
    given = named.get("id")
    if given is None:
        given = (part.get("xdmSchema") or {}).get("name", "")
    return str(given)


def is_event_schema(schema: str) -> bool | None:
    """Whether a schema is one of events; None for a schema of somebody's own, whose class nobody knows here."""
    plain = schema.partition(";")[0].rstrip("/").lower()
    if plain in {EVENT, _EVENT_URI}:
        return True
    if plain in {PROFILE, _PROFILE_URI}:
        return False
    return None
