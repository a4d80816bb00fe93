"""Digests, encodings, URLs, and conversions between texts and other scalars (PQL 2.8)."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, unquote_plus, urlsplit

from proffer.pql.functions.registry import Function, ValueKind, function
from proffer.pql.values.values import as_number, parse_number


def _of_text(
    name: str,
    doc: str,
    examples: Mapping[str, Any],
    body: Callable[[str], Any],
    returns: ValueKind = ValueKind.TEXT,
) -> Function:
    return function(
        name,
        parameter_kinds=(ValueKind.TEXT,),
        returns=returns,
        method=False,
        doc=doc,
        examples=examples,
        body=body,
    )


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _bucket(identity: str, salt: str, count: int) -> int | None:
    """Return the bucket of an id; the hash is documented, so that other systems can compute it."""
    if count < 1:
        return None
    digest = hashlib.sha256(_bytes(f"{salt}:{identity}")).digest()
    return int.from_bytes(digest[:8], "big") % count


def _decode64(text: str) -> str:
    """Decode Base64; invalid input is returned unchanged."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text


def _part_of_url(part: str) -> Callable[[str], str | None]:
    def body(url: str) -> str | None:
        try:
            url_parts = urlsplit(url)
        except ValueError:
            return None
        return getattr(url_parts, part) or None

    return body


def _host(url: str) -> str | None:
    netloc = _part_of_url("netloc")(url)
    return netloc.rpartition("@")[2].split(":")[0] if netloc else None


def _append_query(url: str, *pairs: str) -> str | None:
    if len(pairs) % 2:
        return None
    base, mark, fragment = url.partition("#")
    for index in range(0, len(pairs), 2):
        joint = "&" if "?" in base else "?"
        base += f"{joint}{quote_plus(_bytes(pairs[index]))}={quote_plus(_bytes(pairs[index + 1]))}"
    return base + mark + fragment


def _after_at(text: str) -> str | None:
    return text.rpartition("@")[2] or None if "@" in text else None


def _before_at(text: str) -> str | None:
    return text.rpartition("@")[0] or None


def _integer(text: str) -> int | None:
    number = as_number(parse_number(text))
    return None if number is None else int(number)


def _number_or_text(text: str) -> float | str:
    number = as_number(parse_number(text))
    return text if number is None else number


FUNCTIONS = (
    function(
        "bucket",
        parameter_kinds=(ValueKind.PRINTABLE, ValueKind.TEXT, ValueKind.INTEGER),
        returns=ValueKind.INTEGER,
        method=False,
        doc="The bucket of an id, from 0 to the number of buckets minus 1: always the same for the same id and salt, "
        'and independent of other salts. `bucket(id, "spring", 100) < 10` is a fixed tenth of the ids. It is '
        "the first 8 bytes of the SHA-256 of `salt:id` in UTF-8, as a big-endian integer, modulo their number; "
        "null if that number is below 1.",
        examples={
            'bucket("c-1001", "spring", 100)': 15,
            'bucket("c-1001", "summer", 100)': 30,
            'bucket(1001, "spring", 100) = bucket("1001", "spring", 100)': True,
            'bucket("c-1001", "spring", 0)': None,
        },
        body=_bucket,
    ),
    _of_text(
        "md5",
        "The MD5 digest in hexadecimal.",
        {'md5("hello world")': "5eb63bbbe01eeed093cb22bb8f5acdc3"},
        lambda text: hashlib.md5(_bytes(text), usedforsecurity=False).hexdigest(),
    ),
    _of_text(
        "sha256",
        "The SHA-256 digest in hexadecimal.",
        {'substr(sha256("a"), 0, 8)': "ca978112"},
        lambda text: hashlib.sha256(_bytes(text)).hexdigest(),
    ),
    _of_text(
        "encode64",
        "The text in Base64.",
        {'encode64("hello")': "aGVsbG8="},
        lambda text: base64.b64encode(_bytes(text)).decode(),
    ),
    _of_text(
        "decode64",
        "The text decoded from Base64; other text is returned unchanged.",
        {'decode64("aGVsbG8=")': "hello", 'decode64("?")': "?"},
        _decode64,
    ),
    _of_text(
        "urlEncode",
        "The text encoded for the query of a URL.",
        {'urlEncode("a b&c")': "a+b%26c"},
        lambda text: quote_plus(_bytes(text)),
    ),
    _of_text(
        "urlDecode",
        "The text decoded; the inverse of `urlEncode`.",
        {'urlDecode("a+b%26c")': "a b&c"},
        unquote_plus,
    ),
    _of_text(
        "getUrlProtocol",
        "The scheme of a URL; null without one.",
        {'getUrlProtocol("https://a.com/b")': "https"},
        _part_of_url("scheme"),
    ),
    _of_text(
        "getUrlHost",
        "The host of a URL, without port; null without one.",
        {'getUrlHost("https://www.myurl.com/contact")': "www.myurl.com"},
        _host,
    ),
    _of_text(
        "getUrlPath",
        "The path of a URL; null without one.",
        {'getUrlPath("https://www.myurl.com/contact.html")': "/contact.html"},
        _part_of_url("path"),
    ),
    _of_text(
        "getUrlFragment",
        "The fragment of a URL, after `#`; null without one.",
        {'getUrlFragment("https://a.com/b#top")': "top"},
        _part_of_url("fragment"),
    ),
    function(
        "appendQueryParams",
        parameter_kinds=(ValueKind.TEXT, ValueKind.PRINTABLE, ValueKind.PRINTABLE),
        repeats=True,
        returns=ValueKind.TEXT,
        method=False,
        doc="The URL with names and values added to its query.",
        examples={'appendQueryParams("https://a.com/p", "utm", "x y")': "https://a.com/p?utm=x+y"},
        body=_append_query,
    ),
    _of_text(
        "extractEmailDomain",
        "The domain of an e-mail address, after `@`; null without one.",
        {'extractEmailDomain("joe@example.com")': "example.com"},
        _after_at,
    ),
    _of_text(
        "extractEmailUsername",
        "The user name of an e-mail address, before `@`; null without `@`.",
        {'extractEmailUsername("joe@example.com")': "joe"},
        _before_at,
    ),
    function(
        "toBool",
        parameter_kinds=(ValueKind.PRINTABLE,),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc="True for the text `true` in any case; false for everything else.",
        examples={'toBool("true")': True, 'toBool("TRUE")': True, 'toBool("no")': False},
        body=lambda text: text.strip().lower() == "true",
    ),
    _of_text(
        "stringToNumber",
        "The number in a text; the text itself if it is not a number.",
        {'stringToNumber("4.5")': 4.5, 'stringToNumber("x")': "x"},
        _number_or_text,
        ValueKind.ANY,
    ),
    _of_text(
        "string_to_integer",
        "The number in a text, truncated to an integer; null if it is not a number.",
        {'string_to_integer("42")': 42, 'string_to_integer("x")': None},
        _integer,
        ValueKind.INTEGER,
    ),
)
