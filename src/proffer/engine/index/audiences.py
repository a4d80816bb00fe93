"""Index from audience memberships to the offers they qualify for."""

from collections.abc import Iterable, Mapping
from typing import Any

from proffer.engine.index.bitset import Bits
from proffer.model.constraint import Audience, Constraint, ConstraintType

MEMBER = frozenset({"realized", "existing"})


def status_of(profile: Mapping[str, Any], audience: Audience) -> str | None:
    """Return the membership status in the profile, or None (spec 7.2)."""
    found: Any = profile
    for step in ("segmentMembership", audience.namespace, audience.id):
        found = found.get(step) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    status = found.get("status", "realized")
    return status if isinstance(status, str) else None


def qualifies(profile: Mapping[str, Any], constraint: Constraint) -> bool:
    """Return whether an audience constraint (any or all) holds; an empty one does not."""
    members = (status_of(profile, audience) in MEMBER for audience in constraint.audiences)
    if constraint.type is ConstraintType.ANY_AUDIENCE:
        return any(members)
    return bool(constraint.audiences) and all(members)


class Audiences:
    """Index of the audience constraints of a pool."""

    __slots__ = ("_alone", "_first", "_free")

    def __init__(self, size: int, constraints: Iterable[tuple[Constraint, Bits]]) -> None:
        self._free = (1 << size) - 1
        # namespace -> id -> offers for which this audience suffices, or which need others as well
        self._alone: dict[str, dict[str, Bits]] = {}
        self._first: dict[str, dict[str, list[tuple[Constraint, Bits]]]] = {}
        for constraint, offers in constraints:
            self._free &= ~offers
            named = constraint.audiences
            if constraint.type is ConstraintType.ANY_AUDIENCE or len(named) == 1:
                for audience in named:
                    known = self._alone.setdefault(audience.namespace, {})
                    known[audience.id] = known.get(audience.id, 0) | offers
            elif named:
                waiting = self._first.setdefault(named[0].namespace, {})
                waiting.setdefault(named[0].id, []).append((constraint, offers))

    def passing(self, profile: Mapping[str, Any]) -> Bits:
        """Return the offers whose audience constraint holds, and those without one."""
        found = self._free
        memberships = profile.get("segmentMembership")
        if not isinstance(memberships, Mapping):
            return found
        for namespace, alone in self._alone.items():
            for key in _shared(alone, memberships.get(namespace)):
                if status_of(profile, Audience(namespace, key)) in MEMBER:
                    found |= alone[key]
        for namespace, first in self._first.items():
            for key in _shared(first, memberships.get(namespace)):
                for constraint, offers in first[key]:
                    if qualifies(profile, constraint):
                        found |= offers
        return found


def _shared(known: Mapping[str, Any], of_customer: Any) -> Iterable[str]:
    return known.keys() & of_customer.keys() if isinstance(of_customer, Mapping) else ()
