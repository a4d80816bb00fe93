"""Rules for changing customers: resolve identities, link, merge. Shared by all stores.

A store provides a `CustomerUnitOfWork` for the length of one transaction. A change is rejected before
anything of it is written.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from proffer.errors import Conflict, Invalid, Violation
from proffer.model.customer import (
    Attributes,
    AudienceMembership,
    Change,
    ChangeResult,
    Customer,
    EncodedRecord,
    ErasureResult,
    EventLimits,
    ExperienceEvent,
    Fragment,
    FragmentSource,
    MembershipChange,
    MembershipEvaluator,
    Memberships,
    MembershipStatus,
    PageEvaluator,
    ProfileRecord,
)
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityKey
from proffer.model.merging import join_memberships, merge_fragments, overlay


class Shelf(Protocol):
    """Customers of one container inside one transaction."""

    def holder(self, identity: IdentityKey) -> int | None: ...
    def load(self, key: int) -> Customer: ...
    def fragments(self, key: int) -> Sequence[Fragment]:
        """Return the fragments of a customer with more than one source."""
        ...

    def new_key(self) -> int: ...
    def add(self, customer: Customer) -> None: ...
    def save(self, customer: Customer) -> None: ...
    def save_membership(self, customers: Iterable[Customer]) -> None:
        """Save customers whose membership alone has changed."""
        ...

    def save_fragment(self, key: int, fragment: Fragment) -> None: ...
    def own(self, identity: IdentityKey, key: int) -> None:
        """Assign an identity to a customer, with the counters of the identity (R43)."""
        ...

    def disown(self, identity: IdentityKey) -> None: ...
    def absorb(self, survivor: int, gone: int) -> None:
        """Move events, fragments and counters of `merged` to `survivor` and delete `merged`."""
        ...

    def remove(self, key: int) -> int:
        """Delete a customer with fragments and events; return the number of events."""
        ...

    def forget_counted(self, whom: int | IdentityKey) -> int:
        """Delete the counters of a customer or an unheld identity; return how many."""
        ...

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        """Add an event; False when its id exists already."""
        ...

    def forget_events(self, key: int, most: int, since_us: int) -> None: ...
    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        """Return the customer's events since `since_us`, oldest first."""
        ...

    def known(self, digest: bytes) -> bool: ...
    def remember(self, digest: bytes, now_us: int) -> None: ...


def take_in(
    shelf: Shelf,
    changes: Sequence[Change],
    *,
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> list[ChangeResult]:
    """Apply changes in order, then evaluate all changed customers once; return the results."""
    if len(changes) == 1:  # evaluated before saving, so that it is written once
        return [_take(shelf, changes[0], now_us, qualify, limits)]
    taken = [_take(shelf, change, now_us, None, limits) for change in changes]
    if qualify is not None:
        touched = {  # by identity, since a customer may have been merged meanwhile
            shelf.holder(change.identities[0])
            for change, one in zip(changes, taken, strict=True)
            if one.refusal is None
        }
        page = [shelf.load(key) for key in sorted(key for key in touched if key is not None)]
        for customer in evaluated(shelf, page, qualify, now_us, limits):
            shelf.save(customer)
    return taken


def _take(
    shelf: Shelf,
    change: Change,
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> ChangeResult:
    digest = change.digest if isinstance(change, ProfileRecord) else None
    if digest is not None and shelf.known(digest):
        return ChangeResult(shelf.holder(change.identities[0]), is_duplicate=True)
    try:
        before, fragments, is_new = _customer_of(shelf, change.identities)
    except (Invalid, Conflict) as refusal:
        return ChangeResult(None, refusal=refusal)
    again = False
    if isinstance(change, ProfileRecord):
        customer = _with_record(shelf, before, fragments, change, now_us)
    elif isinstance(change, ExperienceEvent):
        customer = replace(before, modified_us=now_us)
        again = not shelf.add_event(before.key, change)
        shelf.forget_events(before.key, limits.max_events, now_us - limits.max_age_us)
    else:
        membership = _with_line(before.membership, change)
        customer = replace(before, membership=membership, modified_us=now_us)
    if qualify is not None:
        customer = _qualified(shelf, customer, qualify, now_us, limits)
    (shelf.add if is_new else shelf.save)(customer)
    if digest is not None:
        shelf.remember(digest, now_us)
    return ChangeResult(customer.key, is_duplicate=again)


def _customer_of(
    shelf: Shelf, identities: Sequence[IdentityKey]
) -> tuple[Customer, Sequence[Fragment], bool]:
    """Return the customer of these identities, merged if several; its fragments; whether it is new.

    A new one is not added yet. Raises `Invalid` when the customer would have too many identities.
    """
    held = {identity: shelf.holder(identity) for identity in identities}
    found = [shelf.load(key) for key in sorted({key for key in held.values() if key is not None})]
    every = {*identities, *(known for one in found for known in one.identities)}
    if len(every) > MAX_LINKED_IDENTITIES:
        raise _too_many_linked(len(every))
    if not found:
        customer = Customer(key=shelf.new_key(), identities=tuple(sorted(every)))
        fragments: Sequence[Fragment] = ()
    else:
        customer, fragments = _linked(shelf, found)
        if len(every) > len(customer.identities):
            customer = replace(customer, identities=tuple(sorted(every)))
    for identity in every:
        if held.get(identity) != customer.key:
            shelf.own(identity, customer.key)
    return customer, fragments, not found


def _linked(shelf: Shelf, found: Sequence[Customer]) -> tuple[Customer, Sequence[Fragment]]:
    """Merge these customers into the oldest; return it with all fragments."""
    survivor = found[0]
    fragments = [fragment for one in found for fragment in fragments_of(shelf, one)]
    if len(found) == 1:
        return survivor, fragments
    for one in found[1:]:
        shelf.absorb(survivor.key, one.key)
    if len(fragments) > 1:
        for fragment in fragments:
            shelf.save_fragment(survivor.key, fragment)
    return (
        replace(
            survivor,
            sources=tuple(sorted(fragment.source for fragment in fragments)),
            attributes=merge_fragments(fragments) if fragments else {},
            membership=join_memberships(one.membership for one in found),
        ),
        fragments,
    )


def fragments_of(shelf: Shelf, customer: Customer) -> Sequence[Fragment]:
    """Return the customer's fragments, one for each source."""
    if len(customer.sources) == 1:
        return (Fragment(customer.sources[0], customer.attributes),)
    return shelf.fragments(customer.key) if customer.sources else ()


def _with_record(
    shelf: Shelf,
    customer: Customer,
    fragments: Sequence[Fragment],
    record: ProfileRecord,
    now_us: int,
) -> Customer:
    origin = record.identities[0]
    others = []
    mine: Fragment | None = None
    for fragment in fragments:
        if (fragment.source.dataset, fragment.source.origin) == (record.dataset, origin):
            mine = fragment
        else:
            others.append(fragment)
    updated = _updated(mine, record, origin)
    every = [*others, updated]
    if others:
        if len(fragments) == 1:  # so far the customer's document was the only fragment
            shelf.save_fragment(customer.key, others[0])
        shelf.save_fragment(customer.key, updated)
    return replace(
        customer,
        sources=tuple(sorted(fragment.source for fragment in every)),
        attributes=merge_fragments(every),
        modified_us=now_us,
    )


def _updated(fragment: Fragment | None, record: ProfileRecord, origin: IdentityKey) -> Fragment:
    """Return the fragment after this record; an older record only fills gaps."""
    source = FragmentSource(record.stamped_us, record.dataset, origin)
    if fragment is None:
        return Fragment(source, overlay({}, record.attributes))
    if record.stamped_us >= fragment.source.stamped_us:
        return Fragment(source, overlay(fragment.attributes, record.attributes))
    under = overlay({}, record.attributes)
    return Fragment(fragment.source, overlay(under, fragment.attributes))


def _with_line(membership: Memberships, line: MembershipChange) -> Memberships:
    known = membership.get(line.audience)
    if known is None or known.status is MembershipStatus.EXITED:
        standing = AudienceMembership(MembershipStatus.REALIZED, line.stamped_us, line.columns)
    else:
        standing = AudienceMembership(MembershipStatus.EXISTING, line.stamped_us, line.columns)
    return {**membership, line.audience: standing}


def _qualified(
    shelf: Shelf, customer: Customer, qualify: MembershipEvaluator, now_us: int, limits: EventLimits
) -> Customer:
    def events() -> Sequence[Attributes]:
        return shelf.events(customer.key, now_us - limits.max_age_us)

    return replace(customer, membership=qualify(customer, events, now_us))


def decoded(record: EncodedRecord) -> ProfileRecord:
    """Decode an encoded record."""
    identities, dataset, stamped_us, document = record
    return ProfileRecord(
        identities=tuple(IdentityKey(*one) for one in identities),
        dataset=dataset,
        stamped_us=stamped_us,
        attributes=msgspec.json.decode(document),
    )


def requalify(
    shelf: Shelf,
    customers: Iterable[Customer],
    *,
    now_us: int,
    qualify: MembershipEvaluator,
    limits: EventLimits,
) -> int:
    """Evaluate the membership of these customers again; return how many changed."""
    changed = evaluated(shelf, tuple(customers), qualify, now_us, limits)
    shelf.save_membership(changed)
    return len(changed)


def evaluated(
    shelf: Shelf,
    page: Sequence[Customer],
    qualify: MembershipEvaluator,
    now_us: int,
    limits: EventLimits,
) -> list[Customer]:
    """Evaluate memberships; return the customers whose membership changed, updated."""
    asked: object = qualify  # a function, or a PageEvaluator
    if isinstance(asked, PageEvaluator):
        asked.prepare(page, now_us)
    every = ((before, _qualified(shelf, before, qualify, now_us, limits)) for before in page)
    return [after for before, after in every if after.membership != before.membership]


def erase(shelf: Shelf, identity: IdentityKey) -> ErasureResult | None:
    """Delete the customer of this identity with all data; None where there is nothing."""
    key = shelf.holder(identity)
    if key is None:
        counters = shelf.forget_counted(identity)
        return ErasureResult(identities=(identity,), counters=counters) if counters else None
    customer = shelf.load(key)
    counters = shelf.forget_counted(key)
    for known in customer.identities:
        shelf.disown(known)
    events = shelf.remove(key)
    return ErasureResult(
        identities=customer.identities,
        attributes=len(customer.attributes),
        events=events,
        audiences=len(customer.membership),
        counters=counters,
    )


def distinct(
    holder: Callable[[IdentityKey], int | None], identities: Iterable[IdentityKey]
) -> list[int]:
    """Return the keys of the distinct customers with these identities, oldest first."""
    return sorted({key for one in identities if (key := holder(one)) is not None})


def _too_many_linked(count: int) -> Invalid:
    return Invalid.of(
        [
            Violation(
                code="limit",
                message=f"this would link {count} identities to one profile, more than {MAX_LINKED_IDENTITIES}",
                path="$.identityMap",
                help="an identity that many people share is no identity: leave it out",
            )
        ]
    )
