"""Index from audience memberships to the offers they qualify for."""

from collections.abc import Iterable, Mapping
from typing import Any

from proffer.engine.index.bitset import Bits
from proffer.model.constraint import AudienceRef, Constraint, ConstraintType

MEMBER_STATUSES = frozenset({"realized", "existing"})


def status_of(profile: Mapping[str, Any], audience: AudienceRef) -> str | None:
    """Return the membership status in the profile, or None (spec 7.2)."""
    value: Any = profile
    for key in ("segmentMembership", audience.namespace, audience.id):
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return None
    status = value.get("status", "realized")
    return status if isinstance(status, str) else None


def qualifies(profile: Mapping[str, Any], constraint: Constraint) -> bool:
    """Return whether an audience constraint (any or all) holds; an empty one does not."""
    members = (status_of(profile, audience) in MEMBER_STATUSES for audience in constraint.audiences)
    if constraint.type is ConstraintType.ANY_AUDIENCE:
        return any(members)
    return bool(constraint.audiences) and all(members)


class AudienceIndex:
    """Index of the audience constraints of a pool."""

    __slots__ = ("_conjunctions", "_single", "_unconstrained")

    def __init__(self, size: int, constraints: Iterable[tuple[Constraint, Bits]]) -> None:
        self._unconstrained = (1 << size) - 1
        # namespace -> id -> offers for which this audience suffices, or which need others as well
        self._single: dict[str, dict[str, Bits]] = {}
        self._conjunctions: dict[str, dict[str, list[tuple[Constraint, Bits]]]] = {}
        for constraint, offers in constraints:
            self._unconstrained &= ~offers
            audiences = constraint.audiences
            if constraint.type is ConstraintType.ANY_AUDIENCE or len(audiences) == 1:
                for audience in audiences:
                    offers_by_id = self._single.setdefault(audience.namespace, {})
                    offers_by_id[audience.id] = offers_by_id.get(audience.id, 0) | offers
            elif audiences:
                constraints_by_id = self._conjunctions.setdefault(audiences[0].namespace, {})
                constraints_by_id.setdefault(audiences[0].id, []).append((constraint, offers))

    def lookup(self, profile: Mapping[str, Any]) -> Bits:
        """Return the offers whose audience constraint holds, and those without one."""
        passing = self._unconstrained
        memberships = profile.get("segmentMembership")
        if not isinstance(memberships, Mapping):
            return passing
        for namespace, offers_by_id in self._single.items():
            for key in _common_ids(offers_by_id, memberships.get(namespace)):
                if status_of(profile, AudienceRef(namespace, key)) in MEMBER_STATUSES:
                    passing |= offers_by_id[key]
        for namespace, constraints_by_id in self._conjunctions.items():
            for key in _common_ids(constraints_by_id, memberships.get(namespace)):
                for constraint, offers in constraints_by_id[key]:
                    if qualifies(profile, constraint):
                        passing |= offers
        return passing


def _common_ids(indexed: Mapping[str, Any], memberships: Any) -> Iterable[str]:
    return indexed.keys() & memberships.keys() if isinstance(memberships, Mapping) else ()
