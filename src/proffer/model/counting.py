"""Counting owners: whose counters a request checks and increments (R48).

The identities of one request are one person for counting. Those that nobody holds join a counting owner:
a customer, or a key that has identities but no customer. Joining gives access to counters alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from proffer.model.identity import DEVICE_NAMESPACES, MAX_LINKED_IDENTITIES, IdentityKey

MAX_COUNTED_IDENTITIES = 10
"""Maximum identities of one request that take part in counting."""


class Owner(NamedTuple):
    """The owner of an identity's counters: a customer, or a key without one."""

    key: int
    is_customer: bool


class Counting(NamedTuple):
    """Whose counters a request checks: those of `owners` and of `identities`, added up.

    The first owner is incremented; it takes over the counters of `merged` (among `owners`) and of `identities`,
    which nobody holds. Without owners, several identities get a new one; a single identity counts for itself.
    """

    owners: tuple[int, ...] = ()
    identities: tuple[IdentityKey, ...] = ()
    merged: tuple[int, ...] = ()

    @property
    def needs_owner(self) -> bool:
        return not self.owners and len(self.identities) > 1

    @property
    def joins(self) -> bool:
        """Whether an owner gets identities or the counters of another owner."""
        return bool(self.merged) or len(self.identities) > (not self.owners)

    @property
    def joining_owners(self) -> tuple[int, ...]:
        """The owners whose identities decide who can join: the first, and the merged ones."""
        return (*self.owners[:1], *self.merged) if self.joins else ()


def counted_identities(identities: Sequence[IdentityKey]) -> Sequence[IdentityKey]:
    """Return the identities that take part in counting: none of devices beside those of persons."""
    if len(identities) < 2:
        return identities
    persons = [identity for identity in identities if identity.namespace not in DEVICE_NAMESPACES]
    return (persons or identities)[:MAX_COUNTED_IDENTITIES]


def plan_counting(identities: Sequence[IdentityKey], owners: Mapping[IdentityKey, Owner]) -> Counting:
    """Return whose counters apply to these identities, before `without_conflicts`.

    Customers come first, then other owners, oldest first. Identities must be in order, primary first.
    """
    if len(identities) == 1:
        owner = owners.get(identities[0])
        return Counting((), (identities[0],)) if owner is None else Counting((owner.key,))
    counted = counted_identities(identities)
    distinct_owners = {owners[identity] for identity in counted if identity in owners}
    ordered = sorted(distinct_owners, key=lambda owner: (not owner.is_customer, owner.key))
    return Counting(
        tuple([owner.key for owner in ordered]),
        tuple([identity for identity in counted if identity not in owners]),
        tuple([owner.key for owner in ordered[1:] if not owner.is_customer]),
    )


def without_conflicts(plan: Counting, linked: Mapping[int, AbstractSet[IdentityKey]]) -> Counting:
    """Leave out what would put two ids of one person namespace, or too many identities, together.

    `linked`: the identities of `joining_owners`.
    """
    if not plan.joins:
        return plan
    together: set[IdentityKey] = set(linked.get(plan.owners[0], ())) if plan.owners else set()
    separate = {key for key in plan.merged if not _add_if_compatible(together, linked.get(key, frozenset()))}
    return Counting(
        tuple([key for key in plan.owners if key not in separate]),
        tuple([identity for identity in plan.identities if _add_if_compatible(together, {identity})]),
        tuple([key for key in plan.merged if key not in separate]),
    )


def _add_if_compatible(together: set[IdentityKey], added: AbstractSet[IdentityKey]) -> bool:
    """Add identities unless they conflict with those present; return whether they were added."""
    persons = _person_ids(together)
    for namespace, ids in _person_ids(added).items():
        if not ids <= persons.get(namespace, ids):
            return False
    if len(together | added) > MAX_LINKED_IDENTITIES:
        return False
    together |= added
    return True


def _person_ids(identities: Iterable[IdentityKey]) -> dict[str, set[str]]:
    ids: dict[str, set[str]] = {}
    for namespace, name in identities:
        if namespace not in DEVICE_NAMESPACES:
            ids.setdefault(namespace, set()).add(name)
    return ids
