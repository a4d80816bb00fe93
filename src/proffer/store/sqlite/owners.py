"""Counting owners inside a SQLite transaction: whose counters apply to identities, and joins (R48)."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from proffer.model.counting import Counting, Owner, counted_identities, plan_counting, without_conflicts
from proffer.model.identity import IdentityKey
from proffer.store.common.caps import subject_of
from proffer.store.sql import cap_statements as sql
from proffer.store.sql import customer_statements as customer_rows
from proffer.store.sqlite.catalog_tx import fetch_all, fetch_one
from proffer.store.sqlite.counters import execute_for_rows, merge_counters, rows_to_json

_decode_owners = msgspec.json.Decoder(list[tuple[int, str, str, int, int]]).decode


def find_owners(
    connection: sqlite3.Connection, identities: Iterable[tuple[int, str, str]]
) -> dict[int, dict[IdentityKey, Owner]]:
    """Return space → identity → owner of its counters, for these (space, namespace, id) triples."""
    by_space: dict[int, dict[IdentityKey, Owner]] = {}
    for (text,) in execute_for_rows(connection, sql.OWNERS, list(identities)):
        for space, namespace, name, key, is_customer in _decode_owners(text):
            by_space.setdefault(space, {})[IdentityKey(namespace, name)] = Owner(key, bool(is_customer))
    return by_space


def countings(
    connection: sqlite3.Connection, identity_lists: Sequence[Sequence[IdentityKey]], owners: Mapping[IdentityKey, Owner]
) -> list[Counting]:
    """Return whose counters apply to each of these lists of identities of one space; none is empty."""
    plans = [plan_counting(identities, owners) for identities in identity_lists]
    if max(map(len, identity_lists)) == 1:
        return plans
    joining_owners = {key for plan in plans for key in plan.joining_owners}
    linked = _linked_identities(connection, joining_owners) if joining_owners else {}
    return [without_conflicts(plan, linked) for plan in plans]


def counting_of(connection: sqlite3.Connection, space: int, identities: Sequence[IdentityKey]) -> Counting:
    """Return whose counters apply to a request with these identities."""
    owners = find_owners(connection, [(space, *identity) for identity in counted_identities(identities)]).get(space, {})
    return countings(connection, [identities], owners)[0]


def _linked_identities(connection: sqlite3.Connection, keys: Iterable[int]) -> dict[int, set[IdentityKey]]:
    """Return the identities that each of these owners holds or counts for."""
    linked: dict[int, set[IdentityKey]] = {}
    values = (rows_to_json((key,) for key in keys),)
    for key, namespace, name in fetch_all(connection, statement=sql.JOINED_TO, values=values):
        linked.setdefault(key, set()).add(IdentityKey(namespace, name))
    for key, identities in fetch_all(connection, statement=sql.IDENTITIES_OF, values=values):
        linked.setdefault(key, set()).update(customer_rows.decode_identities(identities))
    return linked


def join(connection: sqlite3.Connection, *, space: int, owner: int, counting: Counting, now_us: int) -> None:
    """Give an owner the identities and the merged owners that count for it."""
    for merged in counting.merged:
        merge_owners(connection, owner, merged, now_us)
    for identity in counting.identities:
        merge_counters(connection, (owner, ""), subject_of(space, identity), now_us)
        connection.execute(sql.JOIN, (space, *identity, owner, now_us))


def merge_owners(connection: sqlite3.Connection, target: int, source: int, now_us: int) -> None:
    """Move counters, reservations and joined identities of one owner to another."""
    merge_counters(connection, (target, ""), (source, ""), now_us)
    connection.execute(sql.MOVE_JOINED, (target, source))


def has_joined(connection: sqlite3.Connection, space: int) -> bool:
    """Return whether identities of this space count for an owner that does not hold them."""
    row = fetch_one(connection, sql.HAS_JOINED, space)
    return bool(row and row[0])


def take_joined(
    connection: sqlite3.Connection, space: int, identities: Iterable[IdentityKey]
) -> dict[IdentityKey, Owner]:
    """Undo the joins of these identities; return the owners that they counted for."""
    values = (rows_to_json(identities), space)
    rows = fetch_all(connection, statement=sql.JOINED_OWNERS, values=values)
    connection.executemany(sql.LEAVE, [(space, namespace, name) for namespace, name, _, _ in rows])
    return {IdentityKey(namespace, name): Owner(key, bool(is_customer)) for namespace, name, key, is_customer in rows}


def delete_joined(connection: sqlite3.Connection, owner: int) -> None:
    """Undo all joins to an owner."""
    connection.execute(sql.REMOVE_JOINED_TO, (owner,))


def delete_unused(connection: sqlite3.Connection, *, after: int, before_us: int, limit: int) -> int | None:
    """Delete a page of joins whose owners count nothing; return the last owner, or None after the last page."""
    rows = fetch_all(connection, statement=sql.OWNERS_AFTER, values=(after, limit))
    unused = [(key,) for key, joined_us in rows if joined_us < before_us]
    connection.executemany(sql.REMOVE_UNUSED_JOINS, unused)
    return rows[-1][0] if len(rows) == limit else None
