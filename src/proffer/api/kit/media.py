"""Media types and schema names, read as real clients write them.

Documented headers come with double or single quotes or none, with a schema's `;version=` inside the
quotes, and once with the header's own name in front of its value. Whatever the text, nothing here raises:
what cannot be understood is simply not there, and the caller decides whether that matters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Media:
    """One media type in lower case, `""` if none was given, and its parameters by lower-case name."""

    type: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchemaName:
    """A schema's URI and the version asked for, if any. Versions are hints: match by `uri`."""

    uri: str
    version: str | None = None


_LONGEST_KEPT = 500
"""Characters of a header that is remembered with what it means."""
_OWN_NAME = re.compile(r"\s*(?:content-type|accept)\s*:", re.IGNORECASE)
_TYPE = re.compile(r"[^;,]*")
_PARAMETER = re.compile(
    r"""(?P<gap>;\s*)(?P<name>[^\s=;,"']*)\s*"""
    r"""(?:=\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"?|'(?P<single>[^']*)'?|(?P<bare>[^;,]*)))?"""
    r"""[^;,]*""",  # what follows a closing quote is noise
    re.DOTALL,
)


def parse_media(header: str | None) -> Media:
    """The media type of a Content-Type header; of several in a list, the first."""
    accepted = parse_accept(header)
    return accepted[0] if accepted else Media("")


def parse_accept(header: str | None) -> tuple[Media, ...]:
    """The media types of an Accept header, in the order given; quality factors are not weighed."""
    if header is None or len(header) > _LONGEST_KEPT:
        return _parse(header or "")
    return _parse_once(header)


@lru_cache(maxsize=256)
def _parse_once(header: str) -> tuple[Media, ...]:
    # Clients send the same few headers with every request.
    return _parse(header)


def _parse(header: str) -> tuple[Media, ...]:
    text = header
    while own_name := _OWN_NAME.match(text):
        text = text[own_name.end() :]
    found: list[Media] = []
    at = 0
    while at < len(text):
        media, at = _media_at(text, at)
        at += 1  # over the comma
        if media.type or media.parameters:
            found.append(media)
    return tuple(found)


def schema_names(media: Media) -> list[SchemaName]:
    """The schemas its `schema` parameter names: none, one, or several separated by spaces."""
    text = re.sub(r"\s*([;=])\s*", r"\1", media.parameters.get("schema", ""))
    return [schema_of(name) for name in text.split()]


def schema_of(uri_text: str) -> SchemaName:
    """The schema a text such as `https://ns.adobe.com/…/tag;version=0.1` names."""
    uri, _, rest = uri_text.strip(" \t\r\n\"'").partition(";")
    version = re.search(r"(?:^|;)\s*version\s*=\s*([^\s;]+)", rest, re.IGNORECASE)
    return SchemaName(uri.strip(), version[1] if version else None)


def _media_at(text: str, at: int) -> tuple[Media, int]:
    """The media type that starts here, and where it ends: at a comma or at the end."""
    type_ = _TYPE.match(text, at)
    assert type_ is not None  # it matches the empty text too
    at = type_.end()
    parameters: dict[str, str] = {}
    bare_schema = False
    while match := _PARAMETER.match(text, at):
        at = match.end()
        name, value = match["name"].lower(), _value(match)
        if bare_schema and name == "version" and match["gap"] == ";":
            # `schema=https://…/tag;version=0.1` without quotes and spaces: the schema's own version.
            parameters["schema"] += f";version={value}"
            continue
        bare_schema = name == "schema" and match["bare"] is not None and "schema" not in parameters
        if name:
            parameters.setdefault(name, value)
    return Media(type_[0].strip().lower(), parameters), at


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", r"\1", match["double"], flags=re.DOTALL).strip()
    return (match["single"] or match["bare"] or "").strip()
