"""Deterministic merge of the fragments and memberships of one customer.

Timestamp order: the newest record wins. Dataset precedence: the first dataset wins. In both, objects are
merged member by member; lists and all other values are taken whole from the winner; ties are ordered
by time, then dataset, then identity.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.model.customer import (
    Attributes,
    AudienceMembership,
    Fragment,
    Memberships,
    MembershipStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePolicy:
    """Which source wins. Empty `precedence`: timestamp order."""

    id: str
    precedence: tuple[str, ...] = ()


TIMESTAMP_ORDER = MergePolicy(id="timestampOrdered")


def overlay(base: Attributes, top: Attributes) -> dict[str, Any]:
    """Return `base` updated recursively by `top`; a null in `top` removes. Arguments are not changed."""
    merged = dict(base)
    for name, value in top.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):  # the only mapping in JSON; a check for Mapping is slow
            base_value = merged.get(name)
            merged[name] = overlay(base_value if isinstance(base_value, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def merge_fragments(fragments: Sequence[Fragment], policy: MergePolicy = TIMESTAMP_ORDER) -> Attributes:
    """Return the merged attributes of the fragments; empty without fragments."""
    if len(fragments) == 1:
        return fragments[0].attributes
    rank = {dataset: position for position, dataset in enumerate(reversed(policy.precedence), 1)}
    merged: Attributes = {}
    for fragment in sorted(fragments, key=lambda fragment: (rank.get(fragment.source.dataset, 0), fragment.source)):
        merged = overlay(merged, fragment.attributes)
    return merged


def join_memberships(memberships: Iterable[Memberships]) -> Memberships:
    """Return the memberships of merged customers: members before exited, then the newest."""
    joined: dict[str, AudienceMembership] = {}
    for membership in memberships:
        for audience, candidate in membership.items():
            current = joined.get(audience)
            if current is None or _join_order(candidate) > _join_order(current):
                joined[audience] = candidate
    return joined


def _join_order(membership: AudienceMembership) -> tuple[bool, int]:
    return membership.status is not MembershipStatus.EXITED, membership.since_us
