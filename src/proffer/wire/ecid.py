"""Client-side state of the edge: browser identity (ECID) and consent (edge 5).

The identity is stored as a protocol buffer whose first field clients read; the consent as one word.
"""

import base64
import binascii
import hashlib
import re
import secrets
import struct
from dataclasses import dataclass
from functools import lru_cache

IDENTITY_SECONDS = 34_128_000
"""Thirteen months, as documented."""
CONSENT_SECONDS = 15_552_000

_ECID = re.compile(r"\d{38}")
_MAX_LENGTH = 4_096
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ECID_FIELD, _METADATA_FIELD, _WRITTEN_FIELD = 1, 10, 30


@dataclass(frozen=True, slots=True)
class ClientStateKeys:
    """Names of the client-side state entries of one organisation."""

    identity: str
    consent: str

    @staticmethod
    @lru_cache(maxsize=1_024)
    def of(organisation: str) -> "ClientStateKeys":
        prefix = f"kndctr_{organisation.replace('@', '_', 1)}"
        return ClientStateKeys(f"{prefix}_identity", f"{prefix}_consent")


def is_identity_key(key: str) -> bool:
    """Return whether this names an identity entry of any organisation."""
    return key.startswith("kndctr_") and key.endswith("_identity")


def mint_ecid() -> str:
    """Return a new ECID: two 63-bit numbers of 19 digits each, as devices create them."""
    return f"{secrets.randbits(63):019d}{secrets.randbits(63):019d}"


def derive_ecid(organisation: str, first_party_id: str) -> str:
    """Return the ECID of a first-party id. It is stable within an organisation."""
    digest = hashlib.sha256(f"{organisation}\0{first_party_id}".encode("utf-8", "replace")).digest()
    high, low = struct.unpack(">QQ", digest[:16])
    return f"{high >> 1:019d}{low >> 1:019d}"


def is_ecid(text: str) -> bool:
    return _ECID.fullmatch(text) is not None and text.isascii()


def encode_identity(ecid: str, now_ms: int, *, is_new: bool) -> str:
    """Encode the identity entry for this ECID."""
    metadata = _encode_number(1, now_ms) + _encode_number(2, int(is_new))
    message = (
        _encode_bytes(_ECID_FIELD, ecid.encode())
        + _encode_bytes(_METADATA_FIELD, metadata)
        + _encode_number(_WRITTEN_FIELD, now_ms)
    )
    return base64.urlsafe_b64encode(message).decode().rstrip("=")


def decode_identity(value: str) -> str | None:
    """Return the ECID in an identity entry; None if there is none."""
    if not 0 < len(value) <= _MAX_LENGTH:
        return None
    plain = value.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        message = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
        ecid = _read_ecid(message)
    except (binascii.Error, ValueError, IndexError):
        return None
    return ecid if ecid is not None and is_ecid(ecid) else None


def _read_ecid(message: bytes) -> str | None:
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, at = _read_varint(message, at)
        elif wire == _BYTES:
            size, at = _read_varint(message, at)
            if size > len(message) - at:
                return None
            if number == _ECID_FIELD:
                return message[at : at + size].decode("ascii")
            at += size
        elif wire in {_FIXED64, _FIXED32}:
            at += 8 if wire == _FIXED64 else 4
        else:
            return None
    return None


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a varint. Returns it and the next offset; raises ValueError or IndexError if unterminated."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number that does not end")


def _encode_varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _encode_number(field: int, value: int) -> bytes:
    return _encode_varint(field << 3 | _VARINT) + _encode_varint(value)


def _encode_bytes(field: int, value: bytes) -> bytes:
    return _encode_varint(field << 3 | _BYTES) + _encode_varint(len(value)) + value
