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
    IdentityTrim,
    MembershipChange,
    MembershipEvaluator,
    Memberships,
    MembershipStatus,
    PageEvaluator,
    ProfileRecord,
)
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityKey
from proffer.model.merging import join_memberships, merge_fragments, overlay


class CustomerUnitOfWork(Protocol):
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
    def remove_fragments(self, key: int) -> None: ...
    def assign_identity(self, identity: IdentityKey, key: int) -> None:
        """Assign an identity and its counters to a customer, with all that counted for its counting owner (R48)."""
        ...

    def release_identity(self, identity: IdentityKey) -> None: ...
    def merge_into(self, survivor: int, merged: int) -> None:
        """Move events, fragments, counters and joins of `merged` to `survivor` and delete `merged`."""
        ...

    def remove(self, key: int) -> int:
        """Delete a customer with fragments and events; return the number of events."""
        ...

    def delete_counters(self, subject: int | IdentityKey) -> int:
        """Delete the counters of a customer or an unheld identity, and joins to them; return how many."""
        ...

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        """Add an event; False when its id exists already."""
        ...

    def trim_events(self, key: int, max_events: int, since_us: int) -> None: ...
    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        """Return the customer's events since `since_us`, oldest first."""
        ...

    def has_digest(self, digest: bytes) -> bool: ...
    def add_digest(self, digest: bytes, now_us: int) -> None: ...


def apply_changes(
    unit_of_work: CustomerUnitOfWork,
    changes: Sequence[Change],
    *,
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> list[ChangeResult]:
    """Apply changes in order, then evaluate all changed customers once; return the results."""
    if len(changes) == 1:  # evaluated before saving, so that it is written once
        return [_apply_change(unit_of_work, changes[0], now_us, qualify, limits)]
    results = [_apply_change(unit_of_work, change, now_us, None, limits) for change in changes]
    if qualify is not None:
        touched = {  # by identity, since a customer may have been merged meanwhile
            unit_of_work.holder(change.identities[0])
            for change, result in zip(changes, results, strict=True)
            if result.refusal is None
        }
        page = [unit_of_work.load(key) for key in sorted(key for key in touched if key is not None)]
        for customer in evaluate_memberships(unit_of_work, page, qualify, now_us, limits):
            unit_of_work.save(customer)
    return results


def _apply_change(
    unit_of_work: CustomerUnitOfWork,
    change: Change,
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> ChangeResult:
    if isinstance(change, IdentityTrim):
        return _trim_identity(unit_of_work, change, now_us)
    digest = change.digest if isinstance(change, ProfileRecord) else None
    if digest is not None and unit_of_work.has_digest(digest):
        return ChangeResult(unit_of_work.holder(change.identities[0]), is_duplicate=True)
    try:
        current, fragments, is_new = _resolve_customer(unit_of_work, change.identities)
    except (Invalid, Conflict) as refusal:
        return ChangeResult(None, refusal=refusal)
    is_duplicate = False
    if isinstance(change, ProfileRecord):
        customer = _with_record(unit_of_work, current, fragments, change, now_us)
    elif isinstance(change, ExperienceEvent):
        customer = replace(current, modified_us=now_us)
        is_duplicate = not unit_of_work.add_event(current.key, change)
        unit_of_work.trim_events(current.key, limits.max_events, now_us - limits.max_age_us)
    else:
        membership = _with_membership_change(current.membership, change)
        customer = replace(current, membership=membership, modified_us=now_us)
    if qualify is not None:
        customer = _evaluate_membership(unit_of_work, customer, qualify, now_us, limits)
    (unit_of_work.add if is_new else unit_of_work.save)(customer)
    if digest is not None:
        unit_of_work.add_digest(digest, now_us)
    return ChangeResult(customer.key, is_duplicate=is_duplicate)


def _resolve_customer(
    unit_of_work: CustomerUnitOfWork, identities: Sequence[IdentityKey]
) -> tuple[Customer, Sequence[Fragment], bool]:
    """Return the customer of these identities, merged if several; its fragments; whether it is new.

    A new one is not added yet. Raises `Invalid` when the customer would have too many identities.
    """
    holders = {identity: unit_of_work.holder(identity) for identity in identities}
    customers = [unit_of_work.load(key) for key in sorted({key for key in holders.values() if key is not None})]
    all_identities = {
        *identities,
        *(linked_identity for matched_customer in customers for linked_identity in matched_customer.identities),
    }
    if len(all_identities) > MAX_LINKED_IDENTITIES:
        raise _too_many_identities(len(all_identities))
    if not customers:
        customer = Customer(key=unit_of_work.new_key(), identities=tuple(sorted(all_identities)))
        fragments: Sequence[Fragment] = ()
    else:
        customer, fragments = _merge_customers(unit_of_work, customers)
        if len(all_identities) > len(customer.identities):
            customer = replace(customer, identities=tuple(sorted(all_identities)))
    for identity in all_identities:
        if holders.get(identity) != customer.key:
            unit_of_work.assign_identity(identity, customer.key)
    return customer, fragments, not customers


def _merge_customers(
    unit_of_work: CustomerUnitOfWork, customers: Sequence[Customer]
) -> tuple[Customer, Sequence[Fragment]]:
    """Merge these customers into the oldest; return it with all fragments."""
    survivor = customers[0]
    fragments = [fragment for customer in customers for fragment in fragments_of(unit_of_work, customer)]
    if len(customers) == 1:
        return survivor, fragments
    for customer in customers[1:]:
        unit_of_work.merge_into(survivor.key, customer.key)
    if len(fragments) > 1:
        for fragment in fragments:
            unit_of_work.save_fragment(survivor.key, fragment)
    return (
        replace(
            survivor,
            sources=tuple(sorted(fragment.source for fragment in fragments)),
            attributes=merge_fragments(fragments) if fragments else {},
            membership=join_memberships(customer.membership for customer in customers),
        ),
        fragments,
    )


def fragments_of(unit_of_work: CustomerUnitOfWork, customer: Customer) -> Sequence[Fragment]:
    """Return the customer's fragments, one for each source."""
    if len(customer.sources) == 1:
        return (Fragment(customer.sources[0], customer.attributes),)
    return unit_of_work.fragments(customer.key) if customer.sources else ()


def _trim_identity(unit_of_work: CustomerUnitOfWork, change: IdentityTrim, now_us: int) -> ChangeResult:
    """Replace an identity of a customer by the one without blanks; merge the customers if another has that."""
    trimmed, untrimmed = change.identities
    if unit_of_work.holder(untrimmed) is None:
        return ChangeResult(None, is_duplicate=True)
    customers = [unit_of_work.load(key) for key in distinct_customers(unit_of_work.holder, change.identities)]
    identities = {trimmed, *(identity for customer in customers for identity in customer.identities)} - {untrimmed}
    if len(identities) > MAX_LINKED_IDENTITIES:
        return ChangeResult(None, refusal=_too_many_identities(len(identities)))
    customer, fragments = _merge_customers(unit_of_work, customers)
    for identity in identities:
        if unit_of_work.holder(identity) != customer.key:
            unit_of_work.assign_identity(identity, customer.key)
    unit_of_work.release_identity(untrimmed)
    fragments = _rename_origin(fragments, untrimmed, trimmed)
    unit_of_work.remove_fragments(customer.key)
    if len(fragments) > 1:
        for fragment in fragments:
            unit_of_work.save_fragment(customer.key, fragment)
    unit_of_work.save(
        replace(
            customer,
            identities=tuple(sorted(identities)),
            sources=tuple(sorted(fragment.source for fragment in fragments)),
            attributes=merge_fragments(fragments) if fragments else {},
            modified_us=now_us,
        )
    )
    return ChangeResult(customer.key)


def _rename_origin(fragments: Sequence[Fragment], old: IdentityKey, new: IdentityKey) -> Sequence[Fragment]:
    """Return the fragments with another origin; those that then have one source are joined in order of time."""
    by_source: dict[tuple[str, IdentityKey], Fragment] = {}
    for fragment in sorted(fragments, key=lambda fragment: fragment.source):
        stamped_us, dataset, origin = fragment.source
        source = FragmentSource(stamped_us, dataset, new if origin == old else origin)
        earlier = by_source.get((dataset, source.origin))
        attributes = fragment.attributes if earlier is None else overlay(earlier.attributes, fragment.attributes)
        by_source[dataset, source.origin] = Fragment(source, attributes)
    return list(by_source.values())


def _with_record(
    unit_of_work: CustomerUnitOfWork,
    customer: Customer,
    fragments: Sequence[Fragment],
    record: ProfileRecord,
    now_us: int,
) -> Customer:
    origin = record.identities[0]
    other_fragments = []
    current: Fragment | None = None
    for fragment in fragments:
        if (fragment.source.dataset, fragment.source.origin) == (record.dataset, origin):
            current = fragment
        else:
            other_fragments.append(fragment)
    updated = _update_fragment(current, record, origin)
    all_fragments = [*other_fragments, updated]
    if other_fragments:
        if len(fragments) == 1:  # so far the customer's document was the only fragment
            unit_of_work.save_fragment(customer.key, other_fragments[0])
        unit_of_work.save_fragment(customer.key, updated)
    return replace(
        customer,
        sources=tuple(sorted(fragment.source for fragment in all_fragments)),
        attributes=merge_fragments(all_fragments),
        modified_us=now_us,
    )


def _update_fragment(fragment: Fragment | None, record: ProfileRecord, origin: IdentityKey) -> Fragment:
    """Return the fragment after this record; an older record only fills gaps."""
    source = FragmentSource(record.stamped_us, record.dataset, origin)
    if fragment is None:
        return Fragment(source, overlay({}, record.attributes))
    if record.stamped_us >= fragment.source.stamped_us:
        return Fragment(source, overlay(fragment.attributes, record.attributes))
    base = overlay({}, record.attributes)
    return Fragment(fragment.source, overlay(base, fragment.attributes))


def _with_membership_change(membership: Memberships, change: MembershipChange) -> Memberships:
    current = membership.get(change.audience)
    if current is None or current.status is MembershipStatus.EXITED:
        updated = AudienceMembership(MembershipStatus.REALIZED, change.stamped_us, change.columns)
    else:
        updated = AudienceMembership(MembershipStatus.EXISTING, change.stamped_us, change.columns)
    return {**membership, change.audience: updated}


def _evaluate_membership(
    unit_of_work: CustomerUnitOfWork,
    customer: Customer,
    qualify: MembershipEvaluator,
    now_us: int,
    limits: EventLimits,
) -> Customer:
    def events() -> Sequence[Attributes]:
        return unit_of_work.events(customer.key, now_us - limits.max_age_us)

    return replace(customer, membership=qualify(customer, events, now_us))


def decode_record(record: EncodedRecord) -> ProfileRecord:
    """Decode an encoded record."""
    identities, dataset, stamped_us, document = record
    return ProfileRecord(
        identities=tuple(IdentityKey(*identity) for identity in identities),
        dataset=dataset,
        stamped_us=stamped_us,
        attributes=msgspec.json.decode(document),
    )


def requalify(
    unit_of_work: CustomerUnitOfWork,
    customers: Iterable[Customer],
    *,
    now_us: int,
    qualify: MembershipEvaluator,
    limits: EventLimits,
) -> int:
    """Evaluate the membership of these customers again; return how many changed."""
    changed = evaluate_memberships(unit_of_work, tuple(customers), qualify, now_us, limits)
    unit_of_work.save_membership(changed)
    return len(changed)


def evaluate_memberships(
    unit_of_work: CustomerUnitOfWork,
    page: Sequence[Customer],
    qualify: MembershipEvaluator,
    now_us: int,
    limits: EventLimits,
) -> list[Customer]:
    """Evaluate memberships; return the customers whose membership changed, updated."""
    evaluator: object = qualify  # a function, or a PageEvaluator
    if isinstance(evaluator, PageEvaluator):
        evaluator.prepare(page, now_us)
    pairs = ((before, _evaluate_membership(unit_of_work, before, qualify, now_us, limits)) for before in page)
    return [after for before, after in pairs if after.membership != before.membership]


def erase(unit_of_work: CustomerUnitOfWork, identity: IdentityKey) -> ErasureResult | None:
    """Delete the customer of this identity with all data; None where there is nothing."""
    key = unit_of_work.holder(identity)
    if key is None:
        counters = unit_of_work.delete_counters(identity)
        return ErasureResult(identities=(identity,), counters=counters) if counters else None
    customer = unit_of_work.load(key)
    counters = unit_of_work.delete_counters(key)
    for linked_identity in customer.identities:
        unit_of_work.release_identity(linked_identity)
    events = unit_of_work.remove(key)
    return ErasureResult(
        identities=customer.identities,
        attributes=len(customer.attributes),
        events=events,
        audiences=len(customer.membership),
        counters=counters,
    )


def distinct_customers(holder: Callable[[IdentityKey], int | None], identities: Iterable[IdentityKey]) -> list[int]:
    """Return the keys of the distinct customers with these identities, oldest first."""
    return sorted({key for identity in identities if (key := holder(identity)) is not None})


def _too_many_identities(count: int) -> Invalid:
    return Invalid.of(
        [
            Violation(
                code="limit",
                message=f"this would link {count} identities to one profile, more than {MAX_LINKED_IDENTITIES}",
                path="$.identityMap",
                help="leave out identities that many people share",
            )
        ]
    )
