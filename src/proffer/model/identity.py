"""Identities: namespaces, identity maps, identity fields of schemas, and XIDs.

Namespace codes are case-insensitive (`email`, `Email`); ids are case-sensitive. An XID is an identity
encoded as one text, as the profile access API returns it. A schema may declare identity fields; records
of that schema need no identity map.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from proffer.errors import Finding
from proffer.validation import path

MAX_ID = 1024
"""Maximum characters of an identity's id."""
MAX_LINKED = 50
"""Maximum identities of one customer. A record that would link more is rejected."""
MAX_ASKED = 1000
"""Maximum identities in one identity map."""

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

    def __init__(self, own: Iterable[str] = (), fields: Iterable[IdentityField] = ()) -> None:
        self._codes = {code.lower(): code for code in (*STANDARD_NAMESPACES, *own)}
        self._fields: dict[str, tuple[IdentityField, ...]] = {}
        for field in fields:
            name = schema_name(field.schema)
            self._fields[name] = (*self._fields.get(name, ()), field)

    @property
    def every_field(self) -> tuple[IdentityField, ...]:
        return tuple(one for listed in self._fields.values() for one in listed)

    def fields(self, schema: str) -> tuple[IdentityField, ...]:
        """Return the identity fields of this schema."""
        return self._fields.get(schema_name(schema), ()) if self._fields else ()

    def code(self, text: str) -> str | None:
        """Return the canonical code for this text; None if there is no such namespace."""
        return self._codes.get(text) or self._codes.get(text.lower())

    def codes(self) -> list[str]:
        return sorted(self._codes.values(), key=str.lower)


def xid(identity: IdentityKey) -> str:
    """Encode an identity as one text."""
    text = f"{identity.namespace}\0{identity.id}".encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def parse_xid(text: str) -> IdentityKey | None:
    """Decode the result of `encode_xid`; None for any other text."""
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        namespace, found, key = plain.decode().partition("\0")
    except (binascii.Error, ValueError):
        return None
    return IdentityKey(namespace, key) if found and key else None


def read_identity_map(
    value: Any, namespaces: Namespaces, at: str = "$.identityMap"
) -> tuple[list[IdentityKey], list[Finding]]:
    """Return the distinct identities of an identity map, primary first, and its violations.

    The primary identity is the first marked as such, else the first by namespace and id.
    """
    if not isinstance(value, Mapping):
        return [], [_wrong(at, "an identity map is an object of lists")]
    found: dict[IdentityKey, bool] = {}
    wrong: list[Finding] = []
    count = 0
    for text, listed in value.items():
        code = namespaces.code(text)
        if code is None:
            wrong.append(unknown_namespace(at + path(text)[1:], text))
        elif not isinstance(listed, list | tuple):
            wrong.append(_wrong(at + path(text)[1:], "the identities of a namespace are a list"))
        else:
            count += len(listed)
            if count > MAX_ASKED:
                return [], [too_many(at)]
            for index, entry in enumerate(listed):
                key = _key_of(code, entry)
                if key is None:
                    wrong.append(_fault(entry, f"{at}{path(text)[1:]}[{index}]"))
                else:
                    found[key] = found.get(key, False) or entry.get("primary") is True
    ordered = sorted(found, key=lambda key: (not found[key], key))
    return ordered, wrong


def declared_identities(
    entity: Mapping[str, Any], fields: Sequence[IdentityField], namespaces: Namespaces
) -> tuple[list[IdentityKey], list[IdentityKey], list[Finding]]:
    """Return the primary identities, the other identities, and the violations of identity fields.

    A missing, null or empty field is skipped. If a path leads through a list, each element counts.
    """
    found: dict[IdentityKey, bool] = {}
    wrong: list[Finding] = []
    for field in fields:
        code = namespaces.code(field.namespace)
        if code is None:
            wrong.append(unknown_namespace(path(*field.path), field.namespace))
            continue
        for value in _values(entity, field.path):
            text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
            if not isinstance(text, str) or len(text) > MAX_ID or "\0" in text:
                message = f"the schema says that this is an identity: a text of at most {MAX_ID:,} characters"
                wrong.append(_wrong(path(*field.path), message))
            elif text.strip():
                key = IdentityKey(code, text)
                found[key] = found.get(key, False) or field.primary
    first = sorted(key for key, primary in found.items() if primary)
    rest = sorted(key for key, primary in found.items() if not primary)
    return first, rest, wrong


def _values(value: Any, steps: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _values(one, steps)
    elif not steps:
        if value is not None:
            yield value
    elif isinstance(value, Mapping):
        yield from _values(value.get(steps[0]), steps[1:])


def schema_name(schema: str) -> str:
    """Return a schema id without version and trailing slash, for comparison."""
    return schema.partition(";")[0].rstrip("/")


def too_many(at: str) -> Finding:
    return Finding(
        code="limit",
        message=f"there are more than {MAX_ASKED:,} identities in one identity map",
        path=at,
        help=f"name at most {MAX_ASKED:,} identities",
    )


def unknown_namespace(at: str, text: str) -> Finding:
    return Finding(
        code="unknown-namespace",
        message=f"there is no identity namespace `{text[:100]}`",
        path=at,
        help="use a code of GET /data/core/idnamespace/identities, or create one there",
    )


def _key_of(code: str, entry: Any) -> IdentityKey | None:
    """Return the identity of an entry of an identity map; None if it is invalid."""
    if not isinstance(entry, Mapping):
        return None
    key = entry.get("id", entry.get("xdm:id"))
    if not isinstance(key, str) or not 0 < len(key) <= MAX_ID or "\0" in key or not key.strip():
        return None
    return IdentityKey(code, key)


def _fault(entry: Any, at: str) -> Finding:
    """Return the violation of an invalid entry of an identity map."""
    if not isinstance(entry, Mapping):
        return _wrong(at, "an identity is an object with an `id`")
    key = entry.get("id", entry.get("xdm:id"))
    if isinstance(key, str) and key.strip():
        return _wrong(f"{at}.id", f"an id has at most {MAX_ID:,} characters, none of them NUL")
    return Finding(
        code="range" if isinstance(key, str) else "required",
        message="the id of an identity is empty" if isinstance(key, str) else "`id` is missing",
        path=f"{at}.id",
        help="give the id as a text that is not empty, or leave the identity out",
    )


def _wrong(at: str, message: str) -> Finding:
    return Finding(code="type", message=message, path=at)
