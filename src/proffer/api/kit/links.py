"""Query strings of links in responses."""

from urllib.parse import quote

_UNESCAPED = ":/;=,@!$'()*~<>[]|^\"."
"""Characters that the documented links leave unescaped, beyond the URI standard."""


def quote_in_link(text: str) -> str:
    """Escape a part of a query as in the documented links."""
    return quote(text, safe=_UNESCAPED)
