"""Counters inside a SQLite transaction: bulk reads and writes, merge, deletion."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from proffer.store.common.caps import (
    GLOBAL_OWNER,
    CounterKey,
    CounterValue,
    Subject,
    disagreeing_counters,
    limit_ends,
    sum_counters,
)
from proffer.store.common.counter_ends import CounterEnds
from proffer.store.sql import cap_statements as sql
from proffer.store.sqlite.catalog_tx import fetch_all, fetch_one

_encode = msgspec.json.Encoder().encode
_decode_totals = msgspec.json.Decoder(list[tuple[int, str, int, int, int | None]]).decode
_decode_counters = msgspec.json.Decoder(list[tuple[int, str, int, str, int, int, int | None]]).decode

_ROW_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Row counts of multi-row statements; few, so that few statements are prepared."""


def rows_to_json(rows: Iterable[Sequence[Any]]) -> str:
    """Encode rows as the JSON parameter of a statement."""
    return _encode(list(rows)).decode()


def execute_for_rows(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Run a multi-row statement for these rows, and return all results.

    Makes as few calls as possible. Values are bound, which is much cheaper than JSON. The last row may be
    repeated as padding: readers treat the results as a set, and writes are idempotent.
    """
    results: list[tuple[Any, ...]] = []
    for start in range(0, len(rows), _ROW_COUNTS[-1]):
        chunk = rows[start : start + _ROW_COUNTS[-1]]
        size = next(size for size in _ROW_COUNTS if size >= len(chunk))
        values = [value for row in chunk for value in row]
        values += list(chunk[-1]) * (size - len(chunk))
        text = _with_rows(statement, size, len(chunk[0]))
        results += connection.execute(text, values).fetchall()
    return results


@cache
def _with_rows(statement: str, count: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(", ".join([row] * count))


def read_counters(connection: sqlite3.Connection, counter_keys: Iterable[CounterKey]) -> dict[CounterKey, CounterValue]:
    """Return the values of these counters; counters without a row are absent."""
    unique_keys = dict.fromkeys(counter_keys)
    global_keys = [counter_key[2:] for counter_key in unique_keys if counter_key.owner == GLOBAL_OWNER]
    subject_keys = [counter_key for counter_key in unique_keys if counter_key.owner != GLOBAL_OWNER]
    result: dict[CounterKey, CounterValue] = {}
    for (text,) in execute_for_rows(connection, sql.TOTALS, global_keys):
        for counter, placement, window_us, used, expires_us in _decode_totals(text):
            result[CounterKey(GLOBAL_OWNER, "", counter, placement, window_us)] = CounterValue(used, expires_us)
    for (text,) in execute_for_rows(connection, sql.COUNTERS, subject_keys):
        for owner, identity, counter, placement, window_us, used, expires_us in _decode_counters(text):
            counter_key = CounterKey(owner, identity, counter, placement, window_us)
            result[counter_key] = CounterValue(used, expires_us)
    return result


def put_counters(connection: sqlite3.Connection, counters: Mapping[CounterKey, CounterValue], move_number: int) -> None:
    """Write the new values of these counters."""
    total_rows, subject_rows = [], []
    for counter_key, count in counters.items():
        if counter_key.owner == GLOBAL_OWNER:
            total_rows.append((*counter_key[2:], *count, move_number))
        else:
            subject_rows.append((*counter_key, *count))
    execute_for_rows(connection, sql.PUT_TOTALS, total_rows)
    execute_for_rows(connection, sql.PUT_COUNTERS, subject_rows)


def next_move_number(connection: sqlite3.Connection) -> int:
    """Return the next move number of global counters."""
    row = fetch_one(connection, sql.STATE, 0)
    return ((row[1] if row else 0) or 0) + 1


def merge_counters(connection: sqlite3.Connection, target: Subject, source: Subject, now_us: int) -> None:
    """Move counters and reservations of one subject to another, adding the counts."""
    values = (*source,)
    source_rows = fetch_all(connection, statement=sql.COUNTERS_OF, values=values)
    if source_rows:
        target_counts = {
            CounterKey(*target, *row[:3]): CounterValue(*row[3:])
            for row in fetch_all(connection, statement=sql.COUNTERS_OF, values=(*target,))
        }
        source_counts = {CounterKey(*target, *row[:3]): CounterValue(*row[3:]) for row in source_rows}
        ends = _ends_of(connection, disagreeing_counters([*source_counts.items(), *target_counts.items()]))
        merged = {
            key: sum_counters(key, value, target_counts.get(key), ends, now_us) for key, value in source_counts.items()
        }
        put_counters(connection, merged, 0)
        connection.execute(sql.REMOVE_COUNTERS_OF, source)
    connection.execute(sql.MOVE_RESERVATIONS, (*target, *source))


def _ends_of(connection: sqlite3.Connection, counters: Sequence[int]) -> dict[int, CounterEnds]:
    """Return the ends of the limits with these counters, by number."""
    if not counters:
        return {}
    return limit_ends(fetch_all(connection, statement=sql.LIMIT_DATES, values=(_encode(counters).decode(),)))


def has_counters(connection: sqlite3.Connection, owner: int) -> bool:
    """Return whether this owner has counters or reservations, under any identity."""
    row = fetch_one(connection, sql.HAS_COUNTERS, owner, owner)
    return bool(row and row[0])


def identities_with_counters(connection: sqlite3.Connection, owner: int, identities: Iterable[str]) -> list[str]:
    """Return those of these identities that have counters or reservations."""
    values = (_encode(list(identities)).decode(), owner, owner)
    return [row[0] for row in fetch_all(connection, statement=sql.IDENTITIES_WITH_COUNTERS, values=values)]


def delete_counters(connection: sqlite3.Connection, subject: Subject) -> int:
    """Delete a subject's counters; return how many. Global counts of its reservations stay."""
    deleted = connection.execute(sql.REMOVE_COUNTERS_OF, subject).rowcount
    connection.execute(sql.MOVE_RESERVATIONS, (GLOBAL_OWNER, "", *subject))
    return deleted
