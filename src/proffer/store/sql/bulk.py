"""Many records at once. Where nobody among them is known yet they are written in two statements, not one by one."""

import sqlite3
from collections.abc import Sequence

import msgspec

from proffer.model.customer import EncodedRecord, EventLimits, Mark, Qualify, Taken
from proffer.model.identity import MAX_LINKED
from proffer.store import customers as rules
from proffer.store.sql import customer_rows as sql
from proffer.store.sql.customers import SqlShelf

_encode = msgspec.json.Encoder().encode


def bring_in(
    connection: sqlite3.Connection,
    *,
    container_id: str,
    records: Sequence[EncodedRecord],
    now_us: int,
    qualify: Qualify | None,
    limits: EventLimits,
    mark: Mark | None,
) -> list[Taken]:
    shelf = SqlShelf(connection, container_id)
    taken = _all_new(connection, shelf, records, now_us) if qualify is None else None
    if taken is None:
        changes = [rules.decoded(record) for record in records]
        taken = rules.take_in(shelf, changes, now_us=now_us, qualify=qualify, limits=limits)
    if mark is not None:
        shelf.set_mark(mark)
    shelf.close()
    return taken


def _all_new(
    connection: sqlite3.Connection, shelf: SqlShelf, records: Sequence[EncodedRecord], now_us: int
) -> list[Taken] | None:
    """Write these records as customers of their own; None, with nothing written, where some identity is known."""
    if any(len(identities) > MAX_LINKED for identities, *_ in records):
        return None
    keys = shelf.next_keys(len(records))
    owned = [
        (shelf.space, namespace, name, key)
        for key, (identities, *_) in zip(keys, records, strict=True)
        for namespace, name in identities
    ]
    owned.sort()  # neighbours in the tree are written together
    connection.execute("SAVEPOINT bulk")
    if connection.executemany(sql.OWN_NEW, owned).rowcount != len(owned):
        connection.execute("ROLLBACK TO bulk")
        connection.execute("RELEASE bulk")
        return None
    connection.executemany(
        sql.ADD,
        (
            (
                key,
                _encode(sorted(identities)),
                _encode([(stamped_us, dataset, identities[0])]),
                document,
                None,
                now_us,
            )
            for key, (identities, dataset, stamped_us, document) in zip(keys, records, strict=True)
        ),
    )
    connection.execute("RELEASE bulk")
    shelf.give_out(keys)
    return [Taken(key) for key in keys]
