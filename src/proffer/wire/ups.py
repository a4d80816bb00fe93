"""Documents of profile access: requests and entities."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proffer.validation import (
    AnyShape,
    IntegerShape,
    ListShape,
    MapShape,
    Member,
    NullShape,
    ObjectShape,
    OneOfShape,
    Shape,
    TextShape,
)

MAX_ENTITIES = 1_000

_NAMED = ObjectShape({"name": Member(TextShape(min=1), required=True)})
_OPTIONAL_TEXT = Member(OneOfShape([TextShape(), NullShape()]))
ENTITIES_REQUEST: Shape = ObjectShape(
    {
        "schema": Member(_NAMED, required=True),
        "relatedSchema": Member(_NAMED),
        "identities": Member(
            ListShape(
                ObjectShape(
                    {
                        "entityId": _OPTIONAL_TEXT,
                        "entityIdNS": Member(ObjectShape({"code": _OPTIONAL_TEXT})),
                        "relatedEntityId": _OPTIONAL_TEXT,
                        "relatedEntityIdNS": Member(ObjectShape({"code": _OPTIONAL_TEXT})),
                    }
                ),
                1,
                MAX_ENTITIES,
            ),
            required=True,
        ),
        "fields": Member(ListShape(TextShape(min=1))),
        "mergePolicyId": _OPTIONAL_TEXT,
        "limit": Member(IntegerShape(min=1)),
        "orderby": _OPTIONAL_TEXT,
        "timeFilter": Member(MapShape(AnyShape())),
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


def missing_entity(xid: str) -> dict[str, Any]:
    """Return the placeholder of a missing entity in a response with several."""
    return {
        "entityId": xid,
        "sources": [""],
        "entity": {},
        "lastModifiedAt": "1970-01-01T00:00:00Z",
    }


def events_page(children: Sequence[Mapping[str, Any]], *, orderby: str, next_id: str, href: str) -> dict[str, Any]:
    """Return a page of experience events. `next_id` is the first id of the next page, or empty."""
    return {
        "_page": {
            "orderby": orderby,
            "start": children[0]["entityId"] if children else "",
            "count": len(children),
            "next": next_id,
        },
        "children": list(children),
        "_links": {"next": {"href": href}},
    }


def select_fields(document: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Return the document reduced to these dotted paths. Missing paths are ignored."""
    selection: dict[str, Any] = {}
    for field in fields:
        steps = [step for step in field.strip().split(".") if step]
        exists, value = _value_at(document, steps)
        if exists and steps:
            parent = selection
            for step in steps[:-1]:
                nested = parent.get(step)
                if not isinstance(nested, dict):
                    nested = parent[step] = {}
                parent = nested
            parent[steps[-1]] = value
    return selection


def _value_at(document: Any, steps: Sequence[str]) -> tuple[bool, Any]:
    for step in steps:
        if not isinstance(document, Mapping) or step not in document:
            return False, None
        document = document[step]
    return True, document
