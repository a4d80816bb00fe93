"""Identities: namespaces, identity maps, identity fields of schemas, and XIDs.

Namespace codes are case-insensitive (`email`, `Email`); ids are case-sensitive, and blanks around them do not
count. An XID is an identity encoded as one text, as the profile access API returns it. A schema may declare
identity fields; records of that schema need no identity map.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from proffer.errors import Violation
from proffer.validation import json_path

MAX_ID = 1024
"""Maximum characters of an identity's id."""
MAX_LINKED_IDENTITIES = 50
"""Maximum identities of one customer. A record that would link more is rejected."""
MAX_MAP_IDENTITIES = 1000
"""Maximum identities in one identity map."""

BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""Blanks that do not count around an id: white space, no-break and zero-width spaces, byte order marks."""

STANDARD_NAMESPACES: Mapping[str, str] = {
    "AAID": "Adobe Analytics visitor",
    "AdCloud": "Adobe Advertising Cloud",
    "APNS": "Apple push notification token",
    "AVID": "Adobe Analytics visitor (older name)",
    "CORE": "Adobe Audience Manager",
    "CRMID": "Customer number of a CRM system",
    "ECID": "Experience Cloud ID",
    "Email": "Email address",
    "Email_LC_SHA256": "SHA-256 of an email address in lower case",
    "FCM": "Firebase push notification token",
    "FPID": "First-party device id",
    "GAID": "Google advertising id",
    "IDFA": "Apple advertising id",
    "Phone": "Phone number",
    "Phone_E.164": "Phone number in E.164 form",
    "Phone_SHA256": "SHA-256 of a phone number",
    "Phone_SHA256_E.164": "SHA-256 of a phone number in E.164 form",
    "TNTID": "Adobe Target",
    "WAID": "Windows advertising id",
}
"""Standard namespaces of every sandbox: code to description."""


DEVICE_NAMESPACES = frozenset(
    {
        "AAID",
        "AdCloud",
        "APNS",
        "AVID",
        "CORE",
        "ECID",
        "FCM",
        "FPID",
        "GAID",
        "IDFA",
        "TNTID",
        "WAID",
    }
)
"""Standard namespaces of browsers and devices, which several people may share."""


class IdentityKey(NamedTuple):
    """One identity: canonical code of its namespace, and id."""

    namespace: str
    id: str


@dataclass(frozen=True, slots=True)
class IdentityField:
    """An identity field of a schema: path, namespace code, whether it is the primary identity."""

    schema: str
    path: tuple[str, ...]
    namespace: str
    primary: bool = False


class Namespaces:
    """Namespaces of one sandbox, standard and custom; and the identity fields of its schemas."""

    def __init__(self, custom_codes: Iterable[str] = (), fields: Iterable[IdentityField] = ()) -> None:
        self._codes = {code.lower(): code for code in (*STANDARD_NAMESPACES, *custom_codes)}
        self._fields: dict[str, tuple[IdentityField, ...]] = {}
        for field in fields:
            name = schema_name(field.schema)
            self._fields[name] = (*self._fields.get(name, ()), field)

    @property
    def all_fields(self) -> tuple[IdentityField, ...]:
        return tuple(field for fields in self._fields.values() for field in fields)

    def fields(self, schema: str) -> tuple[IdentityField, ...]:
        """Return the identity fields of this schema."""
        return self._fields.get(schema_name(schema), ()) if self._fields else ()

    def code(self, text: str) -> str | None:
        """Return the canonical code for this text; None if there is no such namespace."""
        return self._codes.get(text) or self._codes.get(text.lower())

    def codes(self) -> list[str]:
        return sorted(self._codes.values(), key=str.lower)


def trim_id(text: str) -> str:
    """Return an id without blanks around it."""
    return text.strip(BLANKS)


def encode_xid(identity: IdentityKey) -> str:
    """Encode an identity as one text."""
    text = f"{identity.namespace}\0{identity.id}".encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def parse_xid(text: str) -> IdentityKey | None:
    """Decode the result of `encode_xid`; None for any other text."""
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        namespace, separator, key = plain.decode().partition("\0")
    except (binascii.Error, ValueError):
        return None
    trimmed = trim_id(key)
    return IdentityKey(namespace, trimmed) if separator and trimmed else None


def read_identity_map(
    value: Any, namespaces: Namespaces, at: str = "$.identityMap"
) -> tuple[list[IdentityKey], list[Violation]]:
    """Return an identity map's distinct identities, primary first, and its violations.

    The primary identity is the first marked as such, else the first by namespace and id.
    """
    if not isinstance(value, Mapping):
        return [], [_type_violation(at, "expected an identity map: an object of lists")]
    primary_by_key: dict[IdentityKey, bool] = {}
    violations: list[Violation] = []
    count = 0
    for text, entries in value.items():
        code = namespaces.code(text)
        if code is None:
            violations.append(unknown_namespace(at + json_path(text)[1:], text))
        elif not isinstance(entries, list | tuple):
            violations.append(_type_violation(at + json_path(text)[1:], "expected a list of identities"))
        else:
            count += len(entries)
            if count > MAX_MAP_IDENTITIES:
                return [], [too_many_identities(at)]
            for index, entry in enumerate(entries):
                key = _read_key(code, entry)
                if key is None:
                    violations.append(_entry_violation(entry, f"{at}{json_path(text)[1:]}[{index}]"))
                else:
                    primary_by_key[key] = primary_by_key.get(key, False) or entry.get("primary") is True
    ordered = sorted(primary_by_key, key=lambda key: (not primary_by_key[key], key))
    return ordered, violations


def declared_identities(
    entity: Mapping[str, Any], fields: Sequence[IdentityField], namespaces: Namespaces
) -> tuple[list[IdentityKey], list[IdentityKey], list[Violation]]:
    """Return primary identities, other identities, and violations of identity fields.

    A missing, null or empty field is skipped. If a path leads through a list, each element counts.
    """
    primary_by_key: dict[IdentityKey, bool] = {}
    violations: list[Violation] = []
    for field in fields:
        code = namespaces.code(field.namespace)
        if code is None:
            violations.append(unknown_namespace(json_path(*field.path), field.namespace))
            continue
        for value in _values_at(entity, field.path):
            text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
            if not isinstance(text, str) or len(text) > MAX_ID or "\0" in text:
                message = f"the schema declares an identity here: text of at most {MAX_ID:,} characters"
                violations.append(_type_violation(json_path(*field.path), message))
            elif trimmed := trim_id(text):
                key = IdentityKey(code, trimmed)
                primary_by_key[key] = primary_by_key.get(key, False) or field.primary
    primary_keys = sorted(key for key, primary in primary_by_key.items() if primary)
    secondary_keys = sorted(key for key, primary in primary_by_key.items() if not primary)
    return primary_keys, secondary_keys, violations


def _values_at(value: Any, steps: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for element in value:
            yield from _values_at(element, steps)
    elif not steps:
        if value is not None:
            yield value
    elif isinstance(value, Mapping):
        yield from _values_at(value.get(steps[0]), steps[1:])


def schema_name(schema: str) -> str:
    """Return a schema id without version and trailing slash, for comparison."""
    return schema.partition(";")[0].rstrip("/")


def too_many_identities(at: str) -> Violation:
    return Violation(
        code="limit",
        message=f"there are more than {MAX_MAP_IDENTITIES:,} identities in one identity map",
        path=at,
        help=f"send at most {MAX_MAP_IDENTITIES:,} identities",
    )


def unknown_namespace(at: str, text: str) -> Violation:
    return Violation(
        code="unknown-namespace",
        message=f"there is no identity namespace `{text[:100]}`",
        path=at,
        help="use a code of GET /data/core/idnamespace/identities, or create one there",
    )


def _read_key(code: str, entry: Any) -> IdentityKey | None:
    """Return the identity of an entry of an identity map; None if it is invalid."""
    if not isinstance(entry, Mapping):
        return None
    key = entry.get("id", entry.get("xdm:id"))
    if not isinstance(key, str) or len(key) > MAX_ID or "\0" in key or not (trimmed := trim_id(key)):
        return None
    return IdentityKey(code, trimmed)


def _entry_violation(entry: Any, at: str) -> Violation:
    """Return the violation of an invalid entry of an identity map."""
    if not isinstance(entry, Mapping):
        return _type_violation(at, "expected an identity: an object with an `id`")
    key = entry.get("id", entry.get("xdm:id"))
    if isinstance(key, str) and trim_id(key):
        return _type_violation(f"{at}.id", f"an id must have at most {MAX_ID:,} characters and no NUL")
    return Violation(
        code="range" if isinstance(key, str) else "required",
        message="the id of an identity is empty" if isinstance(key, str) else "`id` is missing",
        path=f"{at}.id",
        help="give a non-empty id, or leave the identity out",
    )


def _type_violation(at: str, message: str) -> Violation:
    return Violation(code="type", message=message, path=at)
