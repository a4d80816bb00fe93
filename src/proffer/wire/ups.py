"""Documents of profile access: requests and entities."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proffer.validation import (
    Anything,
    Integer,
    ListOf,
    MapOf,
    Member,
    Null,
    Object,
    OneOf,
    Shape,
    Text,
)

PROFILE = "_xdm.context.profile"
EVENT = "_xdm.context.experienceevent"
MAX_ENTITIES = 1_000

_NAMED = Object({"name": Member(Text(min=1), required=True)})
_OPTIONAL_TEXT = Member(OneOf([Text(), Null()]))
ENTITIES_REQUEST: Shape = Object(
    {
        "schema": Member(_NAMED, required=True),
        "relatedSchema": Member(_NAMED),
        "identities": Member(
            ListOf(
                Object(
                    {
                        "entityId": _OPTIONAL_TEXT,
                        "entityIdNS": Member(Object({"code": _OPTIONAL_TEXT})),
                        "relatedEntityId": _OPTIONAL_TEXT,
                        "relatedEntityIdNS": Member(Object({"code": _OPTIONAL_TEXT})),
                    }
                ),
                1,
                MAX_ENTITIES,
            ),
            required=True,
        ),
        "fields": Member(ListOf(Text(min=1))),
        "mergePolicyId": _OPTIONAL_TEXT,
        "limit": Member(Integer(min=1)),
        "orderby": _OPTIONAL_TEXT,
        "timeFilter": Member(MapOf(Anything())),
    }
)
"""Request body of POST /access/entities."""


def entity(
    *,
    xid: str,
    graph: Sequence[str],
    sources: Sequence[str],
    document: Mapping[str, Any],
    modified: str,
    policy: str,
) -> dict[str, Any]:
    """Return one existing entity."""
    return {
        "entityId": xid,
        "mergePolicy": {"id": policy},
        "sources": list(sources) or [""],
        "identityGraph": list(graph),
        "entity": dict(document),
        "lastModifiedAt": modified,
    }


def nobody(xid: str) -> dict[str, Any]:
    """Return the placeholder of a missing entity in a response with several."""
    return {
        "entityId": xid,
        "sources": [""],
        "entity": {},
        "lastModifiedAt": "1970-01-01T00:00:00Z",
    }


def events_page(
    children: Sequence[Mapping[str, Any]], *, orderby: str, following: str, href: str
) -> dict[str, Any]:
    """Return a page of experience events. `next_id` is the first id of the next page, or empty."""
    return {
        "_page": {
            "orderby": orderby,
            "start": children[0]["entityId"] if children else "",
            "count": len(children),
            "next": following,
        },
        "children": list(children),
        "_links": {"next": {"href": href}},
    }


def selected(document: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Return the document reduced to these dotted paths. Missing paths are ignored."""
    chosen: dict[str, Any] = {}
    for field in fields:
        steps = [step for step in field.strip().split(".") if step]
        found, value = _at(document, steps)
        if found and steps:
            under = chosen
            for step in steps[:-1]:
                nested = under.get(step)
                if not isinstance(nested, dict):
                    nested = under[step] = {}
                under = nested
            under[steps[-1]] = value
    return chosen


def _at(document: Any, steps: Sequence[str]) -> tuple[bool, Any]:
    for step in steps:
        if not isinstance(document, Mapping) or step not in document:
            return False, None
        document = document[step]
    return True, document
