"""Counters inside a transaction of SQLite, read and written many at a time; and what becomes of those of a person."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from proffer.store.capping import TOTAL, Count, Slot, Subject, added
from proffer.store.sql import cap_rows as sql
from proffer.store.sql.work import every, first

_encode = msgspec.json.Encoder().encode


def as_json(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the statements of many read them."""
    return _encode(list(rows)).decode()


def counters_at(connection: sqlite3.Connection, slots: Iterable[Slot]) -> dict[Slot, Count]:
    """How these counters stand; those nobody moved yet are absent."""
    wanted = dict.fromkeys(slots)
    totals = [slot[2:] for slot in wanted if slot.owner == TOTAL]
    others = [slot for slot in wanted if slot.owner != TOTAL]
    found: dict[Slot, Count] = {}
    if totals:
        for row in every(connection, statement=sql.TOTALS, values=(as_json(totals),)):
            found[Slot(TOTAL, "", *row[:3])] = Count(*row[3:])
    if others:
        for row in every(connection, statement=sql.COUNTERS, values=(as_json(others),)):
            found[Slot(*row[:5])] = Count(*row[5:])
    return found


def put_counters(
    connection: sqlite3.Connection, counters: Mapping[Slot, Count], moved: int
) -> None:
    """Write how these counters stand now."""
    totals = [(*slot[2:], *count) for slot, count in counters.items() if slot.owner == TOTAL]
    others = [(*slot, *count) for slot, count in counters.items() if slot.owner != TOTAL]
    if totals:
        connection.execute(sql.PUT_TOTALS, (moved, as_json(totals)))
    if others:
        connection.execute(sql.PUT_COUNTERS, (as_json(others),))


def next_move(connection: sqlite3.Connection) -> int:
    """The number of the next move of counters in total."""
    found = first(connection, sql.STATE, 0)
    return ((found[1] if found else 0) or 0) + 1


def fold(connection: sqlite3.Connection, into: Subject, gone: Subject) -> None:
    """What was counted for one subject is counted for the other from now on; together, it adds up."""
    values = (*gone,)
    moved = every(connection, statement=sql.COUNTERS_OF, values=values)
    if moved:
        kept = {
            row[:3]: Count(*row[3:])
            for row in every(connection, statement=sql.COUNTERS_OF, values=(*into,))
        }
        together = {
            Slot(*into, *row[:3]): added(Count(*row[3:]), kept.get(row[:3])) for row in moved
        }
        put_counters(connection, together, 0)
        connection.execute(sql.REMOVE_COUNTERS_OF, gone)
    connection.execute(sql.MOVE_RESERVATIONS, (*into, *gone))


def any_of(connection: sqlite3.Connection, owner: int) -> bool:
    """Whether anything is counted or reserved for this owner, whichever the identity."""
    found = first(connection, sql.ANY_COUNTERS_OF, owner, owner)
    return bool(found and found[0])


def counted_among(
    connection: sqlite3.Connection, owner: int, identities: Iterable[str]
) -> list[str]:
    """Those of these identities for which something is counted or reserved."""
    values = (_encode(list(identities)).decode(), owner, owner)
    return [row[0] for row in every(connection, statement=sql.IDENTITIES_COUNTED, values=values)]


def remove(connection: sqlite3.Connection, subject: Subject) -> int:
    """Forget what is counted for somebody; how many counters. What they reserved stays counted in total."""
    gone = connection.execute(sql.REMOVE_COUNTERS_OF, subject).rowcount
    connection.execute(sql.MOVE_RESERVATIONS, (TOTAL, "", *subject))
    return gone
