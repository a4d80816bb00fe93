"""Deterministic merge of the fragments and memberships of one customer.

Timestamp order: the newest record wins. Dataset precedence: the first dataset wins. In both, objects are
merged member by member; lists and all other values are taken whole from the winner; ties are ordered
by time, then dataset, then identity.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.model.customer import Attributes, Fragment, Membership, Standing, Status


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
            under = merged.get(name)
            merged[name] = overlay(under if isinstance(under, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def merge(fragments: Sequence[Fragment], policy: MergePolicy = TIMESTAMP_ORDER) -> Attributes:
    """Return the merged attributes of the fragments; empty without fragments."""
    if len(fragments) == 1:
        return fragments[0].attributes
    rank = {dataset: place for place, dataset in enumerate(reversed(policy.precedence), 1)}
    merged: Attributes = {}
    for one in sorted(fragments, key=lambda one: (rank.get(one.source.dataset, 0), one.source)):
        merged = overlay(merged, one.attributes)
    return merged


def join(memberships: Iterable[Membership]) -> Membership:
    """Return the memberships of merged customers: members before exited, then the newest."""
    joined: dict[str, Standing] = {}
    for membership in memberships:
        for audience, standing in membership.items():
            known = joined.get(audience)
            if known is None or _order(standing) > _order(known):
                joined[audience] = standing
    return joined


def _order(standing: Standing) -> tuple[bool, int]:
    return standing.status is not Status.EXITED, standing.since_us
