"""Lenient parsing of media types and schema names.

Documented headers use double, single or no quotes, a schema's `;version=` inside the quotes, and in
one case repeat the header's name before its value. Nothing here raises: unparsable parts are left out,
and the caller decides whether that matters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class MediaType:
    """A lower-case media type and its parameters by lower-case name. The type is `""` if absent."""

    type: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchemaName:
    """A schema's URI and requested version, if any. Versions are hints: match by `uri`."""

    uri: str
    version: str | None = None


_MAX_CACHED_HEADER = 500
"""Maximum characters of a header whose parsed form is cached."""
_HEADER_NAME_PREFIX = re.compile(r"\s*(?:content-type|accept)\s*:", re.IGNORECASE)
_TYPE = re.compile(r"[^;,]*")
_PARAMETER = re.compile(
    r"""(?P<gap>;\s*)(?P<name>[^\s=;,"']*)\s*"""
    r"""(?:=\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"?|'(?P<single>[^']*)'?|(?P<bare>[^;,]*)))?"""
    r"""[^;,]*""",  # text after a closing quote is ignored
    re.DOTALL,
)


def parse_content_type(header: str | None) -> MediaType:
    """Parse a Content-Type header; of several media types in a list, the first counts."""
    accepted = parse_accept(header)
    return accepted[0] if accepted else MediaType("")


def parse_accept(header: str | None) -> tuple[MediaType, ...]:
    """Parse an Accept header, in the order given; quality factors are ignored."""
    if header is None or len(header) > _MAX_CACHED_HEADER:
        return _parse(header or "")
    return _parse_cached(header)


@lru_cache(maxsize=256)
def _parse_cached(header: str) -> tuple[MediaType, ...]:
    # Clients send the same few headers with every request, so parsed headers are cached.
    return _parse(header)


def _parse(header: str) -> tuple[MediaType, ...]:
    text = header
    while prefix := _HEADER_NAME_PREFIX.match(text):
        text = text[prefix.end() :]
    media_types: list[MediaType] = []
    at = 0
    while at < len(text):
        media, at = _parse_media_type_at(text, at)
        at += 1  # over the comma
        if media.type or media.parameters:
            media_types.append(media)
    return tuple(media_types)


def schema_names(media: MediaType) -> list[SchemaName]:
    """Return the schemas of the `schema` parameter, which are separated by spaces."""
    text = re.sub(r"\s*([;=])\s*", r"\1", media.parameters.get("schema", ""))
    return [parse_schema(name) for name in text.split()]


def parse_schema(uri_text: str) -> SchemaName:
    """Parse a schema name such as `https://ns.adobe.com/…/tag;version=0.1`."""
    uri, _, suffix = uri_text.strip(" \t\r\n\"'").partition(";")
    version = re.search(r"(?:^|;)\s*version\s*=\s*([^\s;]+)", suffix, re.IGNORECASE)
    return SchemaName(uri.strip(), version[1] if version else None)


def _parse_media_type_at(text: str, at: int) -> tuple[MediaType, int]:
    """Parse the media type at this position; also return its end: a comma or the text's end."""
    type_ = _TYPE.match(text, at)
    assert type_ is not None  # it also matches the empty text
    at = type_.end()
    parameters: dict[str, str] = {}
    bare_schema = False
    while match := _PARAMETER.match(text, at):
        at = match.end()
        name, value = match["name"].lower(), _parameter_value(match)
        if bare_schema and name == "version" and match["gap"] == ";":
            # Unquoted `schema=https://…/tag;version=0.1`: the version belongs to the schema.
            parameters["schema"] += f";version={value}"
            continue
        bare_schema = name == "schema" and match["bare"] is not None and "schema" not in parameters
        if name:
            parameters.setdefault(name, value)
    return MediaType(type_[0].strip().lower(), parameters), at


def _parameter_value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", r"\1", match["double"], flags=re.DOTALL).strip()
    return (match["single"] or match["bare"] or "").strip()
