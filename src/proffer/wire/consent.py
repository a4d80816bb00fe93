"""Consent in clients' standards, reduced to one stored value (edge 5)."""

import base64
import binascii
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

_PURPOSE_1_BIT = 152
"""Bit of purpose 1 (store and access information on a device) in a TC string of version 2."""
_TCF_VERSION = 2


class Consent(StrEnum):
    """Consent to the collection of events: yes, no, or undecided."""

    IN = "in"
    OUT = "out"
    PENDING = "pending"


_CONSENT_BY_VALUE = {"y": Consent.IN, "n": Consent.OUT, "p": Consent.PENDING, "u": Consent.PENDING}


def parse_stored_consent(value: str | None) -> Consent | None:
    """Return the consent of a stored client value such as `general=in`; None if it has none."""
    if value is None:
        return None
    for part in value.replace(";", "&").split("&"):
        name, _, word = part.strip().partition("=")
        if name == "general" and word in set(Consent):
            return Consent(word)
    return None


def parse_consent(standard: str, version: str, value: Any, gdpr_applies: bool | None) -> Consent:
    """Return the consent of one set-consent entry. Raises `ValueError` with the reason if unreadable."""
    if standard.lower() == "adobe":
        return _parse_adobe(version, value)
    if standard.lower() == "iab tcf":
        return _parse_tcf(version, value, gdpr_applies)
    raise ValueError(f"`{standard[:50]}` is not a consent standard; use `Adobe` or `IAB TCF`")


def _parse_adobe(version: str, value: Any) -> Consent:
    if not isinstance(value, Mapping):
        raise ValueError("the value of standard `Adobe` must be an object")  # noqa: TRY004
    if version.startswith("1"):
        word = value.get("general")
        if word in set(Consent):
            return Consent(word)
        raise ValueError('version 1.0 requires `{"general": "in"}`, `out` or `pending`')
    if version.startswith("2"):
        collect = value.get("collect")
        word = collect.get("val") if isinstance(collect, Mapping) else None
        if isinstance(word, str) and word in _CONSENT_BY_VALUE:
            return _CONSENT_BY_VALUE[word]
        raise ValueError('version 2.0 requires `{"collect": {"val": "y"}}`, or `n`')
    raise ValueError(f"`{version[:20]}` is not a version of standard `Adobe`; use 1.0 or 2.0")


def _parse_tcf(version: str, value: Any, gdpr_applies: bool | None) -> Consent:
    if not version.startswith("2"):
        raise ValueError(f"`{version[:20]}` is not a supported version of `IAB TCF`; use 2.0")
    if gdpr_applies is False:
        return Consent.IN
    if not isinstance(value, str) or not value:
        raise ValueError("the value of `IAB TCF` must be a non-empty TC string")
    core = value.partition(".")[0]
    try:
        bits = base64.b64decode(core + "=" * (-len(core) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the TC string is not base64") from None
    if len(bits) * 8 <= _PURPOSE_1_BIT or bits[0] >> 2 != _TCF_VERSION:
        raise ValueError("the TC string is not version 2")
    granted = bits[_PURPOSE_1_BIT // 8] >> (7 - _PURPOSE_1_BIT % 8) & 1
    return Consent.IN if granted else Consent.OUT
