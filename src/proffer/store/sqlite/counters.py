"""Counters inside a SQLite transaction: bulk reads and writes, merge, deletion."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from proffer.model.identity import IdentityKey
from proffer.store.common.caps import TOTAL, Count, Slot, Subject, added
from proffer.store.sql import cap_statements as sql
from proffer.store.sqlite.catalog_tx import every, first

_encode = msgspec.json.Encoder().encode
_held = msgspec.json.Decoder(list[tuple[int, str, str, int]]).decode
_totals = msgspec.json.Decoder(list[tuple[int, str, int, int, int | None]]).decode
_counters = msgspec.json.Decoder(list[tuple[int, str, int, str, int, int, int | None]]).decode

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Row counts of multi-row statements; few, so that few statements are prepared."""


def as_json(rows: Iterable[Sequence[Any]]) -> str:
    """Encode rows as the JSON parameter of a statement."""
    return _encode(list(rows)).decode()


def many(
    connection: sqlite3.Connection, statement: str, rows_: Sequence[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Run a multi-row statement for these rows in as few calls as possible; return all results.

    Values are bound, which is much cheaper than JSON. The last row may be repeated as padding: readers
    treat the results as a set, and writes are idempotent.
    """
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(rows_), _SIZES[-1]):
        some = rows_[start : start + _SIZES[-1]]
        size = next(size for size in _SIZES if size >= len(some))
        values = [value for row in some for value in row]
        values += list(some[-1]) * (size - len(some))
        text = _with_rows(statement, size, len(some[0]))
        found += connection.execute(text, values).fetchall()
    return found


@cache
def _with_rows(statement: str, count: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(", ".join([row] * count))


def holders(
    connection: sqlite3.Connection, asked: Iterable[tuple[int, str, str]]
) -> dict[int, dict[IdentityKey, int]]:
    """Return space → identity → customer for these (space, namespace, id) triples."""
    found: dict[int, dict[IdentityKey, int]] = {}
    for (text,) in many(connection, sql.HOLDERS, list(asked)):
        for space, namespace, name, key in _held(text):
            found.setdefault(space, {})[IdentityKey(namespace, name)] = key
    return found


def counters_at(connection: sqlite3.Connection, slots: Iterable[Slot]) -> dict[Slot, Count]:
    """Return the values of these counters; counters without a row are absent."""
    wanted = dict.fromkeys(slots)
    totals = [slot[2:] for slot in wanted if slot.owner == TOTAL]
    others = [slot for slot in wanted if slot.owner != TOTAL]
    found: dict[Slot, Count] = {}
    for (text,) in many(connection, sql.TOTALS, totals):
        for counter, placement, window_us, used, expires_us in _totals(text):
            found[Slot(TOTAL, "", counter, placement, window_us)] = Count(used, expires_us)
    for (text,) in many(connection, sql.COUNTERS, others):
        for owner, identity, counter, placement, window_us, used, expires_us in _counters(text):
            slot = Slot(owner, identity, counter, placement, window_us)
            found[slot] = Count(used, expires_us)
    return found


def put_counters(
    connection: sqlite3.Connection, counters: Mapping[Slot, Count], moved: int
) -> None:
    """Write the new values of these counters."""
    totals, others = [], []
    for slot, count in counters.items():
        if slot.owner == TOTAL:
            totals.append((*slot[2:], *count, moved))
        else:
            others.append((*slot, *count))
    many(connection, sql.PUT_TOTALS, totals)
    many(connection, sql.PUT_COUNTERS, others)


def next_move(connection: sqlite3.Connection) -> int:
    """Return the next move number of global counters."""
    found = first(connection, sql.STATE, 0)
    return ((found[1] if found else 0) or 0) + 1


def fold(connection: sqlite3.Connection, into: Subject, gone: Subject, now_us: int) -> None:
    """Move counters and reservations of one subject to another, adding the counts."""
    values = (*gone,)
    moved = every(connection, statement=sql.COUNTERS_OF, values=values)
    if moved:
        kept = {
            row[:3]: Count(*row[3:])
            for row in every(connection, statement=sql.COUNTERS_OF, values=(*into,))
        }
        together = {
            Slot(*into, *row[:3]): added(Count(*row[3:]), kept.get(row[:3]), now_us)
            for row in moved
        }
        put_counters(connection, together, 0)
        connection.execute(sql.REMOVE_COUNTERS_OF, gone)
    connection.execute(sql.MOVE_RESERVATIONS, (*into, *gone))


def any_of(connection: sqlite3.Connection, owner: int) -> bool:
    """Return whether this owner has counters or reservations, under any identity."""
    found = first(connection, sql.ANY_COUNTERS_OF, owner, owner)
    return bool(found and found[0])


def counted_among(
    connection: sqlite3.Connection, owner: int, identities: Iterable[str]
) -> list[str]:
    """Return those of these identities that have counters or reservations."""
    values = (_encode(list(identities)).decode(), owner, owner)
    return [row[0] for row in every(connection, statement=sql.IDENTITIES_COUNTED, values=values)]


def remove(connection: sqlite3.Connection, subject: Subject) -> int:
    """Delete a subject's counters; return how many. Global counts of its reservations stay."""
    gone = connection.execute(sql.REMOVE_COUNTERS_OF, subject).rowcount
    connection.execute(sql.MOVE_RESERVATIONS, (TOTAL, "", *subject))
    return gone
