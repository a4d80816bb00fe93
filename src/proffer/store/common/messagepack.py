"""MessagePack encoding with integers of any size, which imported records may contain."""

from collections.abc import Mapping
from typing import Any

import msgspec

_WIDE_INT = 1
"""Extension type of an integer beyond 64 bits, written as its decimal digits."""

_encode_plain = msgspec.msgpack.Encoder().encode


def encode(value: Any) -> bytes:
    try:
        return _encode_plain(value)
    except OverflowError:
        return _encode_plain(_encode_wide_ints(value))


def _encode_wide_ints(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _encode_wide_ints(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_encode_wide_ints(member) for member in value]
    if isinstance(value, msgspec.Struct):  # structs encoded as arrays
        return [_encode_wide_ints(member) for member in msgspec.structs.astuple(value)]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return msgspec.msgpack.Ext(_WIDE_INT, str(value).encode())
    return value


def _decode_wide_int(code: int, digits: memoryview) -> int:
    if code != _WIDE_INT:
        raise ValueError(f"unknown extension type {code}")
    return int(bytes(digits))


decode = msgspec.msgpack.Decoder(ext_hook=_decode_wide_int).decode
