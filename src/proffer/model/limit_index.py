"""The `xdm:index` of an offer's limits: assigned on a write, and kept by a limit across edits (R46)."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from proffer.model.capping import match_limits
from proffer.model.difference import is_same_json
from proffer.model.ids import EntityKind
from proffer.model.parse import CAPS_MEMBER, cap_names, read_limit

Document = Mapping[str, Any]
_INDEX = "xdm:index"


def with_indexes(document: Document, stored: Document) -> Document:
    """Return an offer's document with an index for each limit.

    A limit without one gets that of the stored limit it continues, else the next unused number from its
    place. A document that cannot be read is returned as it is.
    """
    caps = document.get(CAPS_MEMBER)
    if not isinstance(caps, Sequence):
        return document
    try:
        if all(_INDEX in cap for cap in caps):
            return document
        given = {cap[_INDEX] for cap in caps if _INDEX in cap}
        limits = [read_limit(cap, str(cap.get(_INDEX) or "")) for cap in caps]
        stored_caps = stored.get(CAPS_MEMBER) or ()
        stored_names = list(cap_names(stored_caps))
        stored_limits = [read_limit(cap, name) for name, cap in zip(stored_names, stored_caps, strict=True)]
    except (AttributeError, LookupError, TypeError, ValueError):
        return document
    used = {*given, *map(int, stored_names)}
    indexed: list[Document] = []
    for place, (cap, match) in enumerate(zip(caps, match_limits(limits, stored_limits), strict=True), 1):
        if _INDEX in cap:
            indexed.append(cap)
            continue
        index = 0 if match is None else int(stored_names[match])
        if index == 0 or index in given:
            index = next(number for number in count(place) if number not in used)
            used.add(index)
        indexed.append({**cap, _INDEX: index})
    return {**document, CAPS_MEMBER: indexed}


def is_same_document(kind: EntityKind, document: Document, stored: Document) -> bool:
    """Return whether a document is the stored one, apart from indexes of limits that only one of them has."""
    if kind is EntityKind.OFFER:
        document, stored = with_indexes(document, stored), with_indexes(stored, stored)
    return is_same_json(document, stored)
