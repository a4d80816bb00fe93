"""Counting owners inside a PostgreSQL transaction: whose counters apply to identities, and joins (R48)."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from proffer.model.counting import Counting, Owner, plan_counting, without_conflicts
from proffer.model.customer import Customer
from proffer.model.identity import IdentityKey
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres.connections import Connection
from proffer.store.postgres.counters import CounterMerge, columns, lock_counters, merge_counters, subject_lock_stripe
from proffer.store.postgres.statements import dollar
from proffer.store.sql import cap_statements as cap_rows
from proffer.store.sql import customer_statements as customer_rows

OwnersBySpace = dict[int, dict[IdentityKey, Owner]]
"""Space → identity → owner of its counters."""


async def owners_of(connection: Connection, identities: Collection[tuple[int, str, str]]) -> OwnersBySpace:
    """Return the owners of the counters of these (space, namespace, id) triples."""
    owners: OwnersBySpace = {}
    if identities:
        for space, namespace, name, key, is_customer in await connection.fetch(
            sql.OWNERS, *columns(sorted(identities), 3)
        ):
            owners.setdefault(space, {})[IdentityKey(namespace, name)] = Owner(key, is_customer)
    return owners


async def final_countings(connection: Connection, plans: Sequence[Counting]) -> list[Counting]:
    """Return the plans without what must not be put together."""
    keys = sorted({key for plan in plans for key in plan.joining_owners})
    linked: dict[int, set[IdentityKey]] = {}
    if keys:
        for key, namespace, name in await connection.fetch(sql.JOINED_TO, keys):
            linked.setdefault(key, set()).add(IdentityKey(namespace, name))
        for key, identities in await connection.fetch(sql.IDENTITIES_OF, keys):
            linked.setdefault(key, set()).update(customer_rows.decode_identities(identities))
    return [without_conflicts(plan, linked) for plan in plans]


def counting_of(
    identities: Sequence[IdentityKey], customers: Iterable[Customer], joined: Iterable[tuple[int, IdentityKey]]
) -> Counting:
    """Return whose counters apply to a request with these identities.

    `customers` and `joined`: of all owners of these identities, with all identities that joined each.
    """
    held = {customer.key: customer.identities for customer in customers}
    linked = {key: set(customer_identities) for key, customer_identities in held.items()}
    owners: dict[IdentityKey, Owner] = {}
    for key, identity in joined:
        linked.setdefault(key, set()).add(identity)
        owners[identity] = Owner(key, key in held)
    owners |= {
        identity: Owner(key, True) for key, customer_identities in held.items() for identity in customer_identities
    }
    return without_conflicts(plan_counting(identities, owners), linked)


async def join(connection: Connection, space: int, joins: Sequence[tuple[int, Counting]], now_us: int) -> None:
    """Give each owner the identities and the merged owners that count for it. All must be locked."""
    merges: list[CounterMerge] = []
    for owner, counting in joins:
        merges += [CounterMerge(owner, merged) for merged in counting.merged]
        merges += [CounterMerge(owner, identity) for identity in counting.identities]
    await merge_counters(connection, space, merges, now_us)
    rows = sorted((space, *identity, owner, now_us) for owner, counting in joins for identity in counting.identities)
    await connection.execute(sql.JOIN, *columns(rows, 5))


async def joined_owners(
    connection: Connection, space: int, identities: Iterable[IdentityKey]
) -> Mapping[IdentityKey, Owner]:
    """Return the owners that these identities count for, of those that nobody holds."""
    rows = await connection.fetch(sql.JOINED_OWNERS, space, *columns(identities, 2))
    return {IdentityKey(namespace, name): Owner(key, is_customer) for namespace, name, key, is_customer in rows}


async def delete_unused(connection: Connection, after: int, before_us: int, limit: int) -> int | None:
    """Delete a page of joins whose owners count nothing; return the last owner, or None after the last page."""
    rows = await connection.fetch(dollar(cap_rows.OWNERS_AFTER), after, limit)
    unused = [key for key, joined_us in rows if joined_us < before_us]
    await lock_counters(connection, (subject_lock_stripe((key, "")) for key in unused))
    await connection.executemany(dollar(cap_rows.REMOVE_UNUSED_JOINS), [(key,) for key in unused])
    return rows[-1][0] if len(rows) == limit else None
