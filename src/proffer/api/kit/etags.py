"""Entity tags: `"3"` in headers, 3 in code. Clients send them quoted, bare or weak, one or several."""

import re

_TAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')


def etag(value: int) -> str:
    """Format an etag as an `ETag` header value."""
    return f'"{value}"'


def parse_etags(header: str | None) -> frozenset[int] | None:
    """Return the etags of a precondition header; None if absent or `*`. Non-numeric tags are ignored."""
    if header is None or header.strip() == "*":
        return None
    tags = (match[1] if match[1] is not None else match[2] for match in _TAG.finditer(header))
    return frozenset(int(tag) for tag in tags if tag.isascii() and tag.isdigit() and len(tag) < 19)


def is_unchanged(header: str | None, value: int) -> bool:
    """Return whether an `If-None-Match` header includes this version."""
    if header is None:
        return False
    tags = parse_etags(header)
    return tags is None or value in tags
