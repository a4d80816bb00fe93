"""Identifiers: entity kinds, `@id`s and instance ids, and their generation.

`@id` is `xcore:<kind>:<hex>`, the hex a Snowflake in lower case without padding (spec 1.0); the newer
form `dps:<kind>:<hex>` names the same object. `instanceId` is a version-1 UUID with the creation time.
The time is always an argument; the clock is in `app`.
"""

import os
import re
import secrets
import threading
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

SNOWFLAKE_EPOCH_MS = 1_288_834_974_657
_UUID_EPOCH_100NS = 0x01B21DD213814000  # 1582-10-15 to 1970-01-01, in units of 100 ns


class EntityKind(StrEnum):
    """Kinds of objects. The value is their name in ids and schema names."""

    PLACEMENT = "offer-placement"
    TAG = "tag"
    RULE = "eligibility-rule"
    COLLECTION = "offer-filter"
    OFFER = "personalized-offer"
    FALLBACK = "fallback-offer"
    FORMULA = "ranking-function"
    DECISION = "offer-activity"
    SCHEMA = "xdm-schema"
    AUDIENCE = "audience"
    NAMESPACE = "identity-namespace"
    MERGE_POLICY = "merge-policy"
    DESCRIPTOR = "identity-descriptor"
    DATASTREAM = "datastream"


CUSTOMER_KINDS = frozenset(
    {
        EntityKind.AUDIENCE,
        EntityKind.NAMESPACE,
        EntityKind.MERGE_POLICY,
        EntityKind.DESCRIPTOR,
    }
)
"""Kinds that concern customers, not offers."""

UNPUBLISHED_KINDS = CUSTOMER_KINDS - {EntityKind.AUDIENCE} | {EntityKind.DATASTREAM}
"""Kinds that are not part of snapshots."""

INTERNAL_KINDS = CUSTOMER_KINDS | {EntityKind.SCHEMA, EntityKind.DATASTREAM}
"""Kinds that are stored with all revisions, but not served by the library APIs."""

SERVED_KINDS = tuple(kind for kind in EntityKind if kind not in INTERNAL_KINDS)
"""Kinds that the library APIs serve."""

KIND_LABELS: Mapping[EntityKind, str] = MappingProxyType(
    {
        EntityKind.PLACEMENT: "placement",
        EntityKind.TAG: "tag",
        EntityKind.RULE: "eligibility rule",
        EntityKind.COLLECTION: "collection",
        EntityKind.OFFER: "personalized offer",
        EntityKind.FALLBACK: "fallback offer",
        EntityKind.FORMULA: "ranking formula",
        EntityKind.DECISION: "decision",
        EntityKind.AUDIENCE: "audience",
        EntityKind.NAMESPACE: "identity namespace",
        EntityKind.MERGE_POLICY: "merge policy",
        EntityKind.DESCRIPTOR: "identity descriptor",
        EntityKind.SCHEMA: "schema",
        EntityKind.DATASTREAM: "datastream",
    }
)
"""Label of each kind in messages."""


def kind_phrase(kind: EntityKind) -> str:
    """Return the label of a kind with its article: "an eligibility rule"."""
    label = KIND_LABELS[kind]
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


_ID = re.compile(r"(xcore|dps):([a-z][a-z-]*):([0-9a-f]{1,16})")


def canonical(entity_id: str) -> str:
    """Return the internal form of an id: `dps:` becomes `xcore:`, all else is unchanged."""
    return "xcore" + entity_id[3:] if entity_id.startswith("dps:") else entity_id


def kind_of(entity_id: str) -> EntityKind | None:
    """Return the kind of a well-formed `@id`; None for other text or an unknown kind."""
    match = _ID.fullmatch(entity_id)
    if match is None:
        return None
    try:
        return EntityKind(match[2])
    except ValueError:
        return None


class RandomDigits:
    """Random hexadecimal digits from the system, buffered to save costly system calls.

    A forked process does not share digits with its parent.
    """

    _CHUNK_BYTES = 4096

    def __init__(self) -> None:
        self._digits = ""
        self._at = 0
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._digits, self._at = "", 0
        self._lock = threading.Lock()  # the old one may be held by a thread of the parent

    def take(self, size: int) -> str:
        """Return `size` unused random hexadecimal digits, at most 8,192."""
        with self._lock:
            at, end = self._at, self._at + size
            if end > len(self._digits):
                self._digits, at, end = os.urandom(self._CHUNK_BYTES).hex(), 0, size
            self._at = end
            return self._digits[at:end]


RANDOM_DIGITS = RandomDigits()
"""Random digits of this process."""


class Snowflakes:
    """Generates `@id`s that are unique in this process and increase with time.

    Processes differ by a random node number of ten bits; the store's unique constraint is decisive. A
    clock that is set back does not repeat an id.
    """

    def __init__(self, node: int | None = None) -> None:
        self._node = (secrets.randbits(10) if node is None else node) & 0x3FF
        self._last = -1
        self._sequence = 0
        self._lock = threading.Lock()

    def mint(self, kind: EntityKind, now_us: int, scheme: str = "xcore") -> str:
        """Return a new `@id` of this kind for this time. `now_us` is microseconds since 1970 (UTC)."""
        with self._lock:
            moment = max(now_us // 1000 - SNOWFLAKE_EPOCH_MS, 0)
            if moment <= self._last:
                moment = self._last
                self._sequence += 1
                if self._sequence > 0xFFF:
                    moment, self._sequence = moment + 1, 0
            else:
                self._sequence = 0
            self._last = moment
            return f"{scheme}:{kind}:{moment << 22 | self._node << 12 | self._sequence:x}"


class InstanceIds:
    """Generates version-1 UUIDs for a given time, with a random node number."""

    def __init__(self) -> None:
        self._node = secrets.randbits(48) | 0x0100_0000_0000  # multicast bit: not a real address
        self._clock = secrets.randbits(14)
        self._last = -1
        self._lock = threading.Lock()

    def mint(self, now_us: int) -> str:
        """Return a new instance id for `now_us` (microseconds since 1970, UTC)."""
        with self._lock:
            ticks = max(now_us * 10 + _UUID_EPOCH_100NS, self._last + 1)
            self._last = ticks
        low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF
        return f"{low:08x}-{middle:04x}-{0x1000 | high:04x}-{0x8000 | self._clock:04x}-{self._node:012x}"
