"""Entity tags: `"3"` on the wire, 3 inside. Clients write them quoted, bare or weak, one or several."""

import re

_TAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')


def etag(value: int) -> str:
    """As an `ETag` header says it."""
    return f'"{value}"'


def parse_etags(header: str | None) -> frozenset[int] | None:
    """The etags a precondition header names; None where it is absent or `*`. What is no number matches nothing."""
    if header is None or header.strip() == "*":
        return None
    named = (match[1] if match[1] is not None else match[2] for match in _TAG.finditer(header))
    return frozenset(int(tag) for tag in named if tag.isascii() and tag.isdigit() and len(tag) < 19)


def is_unchanged(header: str | None, value: int) -> bool:
    """Whether an `If-None-Match` header says that the caller has this version already."""
    if header is None:
        return False
    tags = parse_etags(header)
    return tags is None or value in tags
