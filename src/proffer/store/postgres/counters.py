"""Counters inside a PostgreSQL transaction: bulk locks, reads and writes, merge, deletion.

Counters are locked by advisory locks before any row lock: one lock per subject, all locks of a
transaction in one order. This prevents deadlocks, locks counters that have no row yet, and makes move
numbers of a counter increase in the order of its moves.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from proffer.errors import NotFound
from proffer.model.capping import Reservation, ReservationState
from proffer.model.identity import IdentityKey
from proffer.store.common.caps import (
    GLOBAL_OWNER,
    CounterKey,
    CounterValue,
    Subject,
    disagreeing_counters,
    limit_ends,
    subject_of,
    sum_counters,
)
from proffer.store.common.reservations import MAX_EXPIRED, decode_moves
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres.connections import Connection, RetryTransaction
from proffer.store.postgres.statements import dollar
from proffer.store.sql import cap_statements as cap_rows

STRIPES = 512


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Transpose rows to the columns that `unnest` takes."""
    row_list = list(rows)
    return [[row[place] for row in row_list] for place in range(width)]


def lock_stripe(counter_key: CounterKey) -> int:
    """Return the lock stripe of a counter: by counter if global, else by subject."""
    if counter_key.owner == GLOBAL_OWNER:
        return counter_lock_stripe(counter_key.counter)
    return subject_lock_stripe((counter_key.owner, counter_key.identity))


def counter_lock_stripe(counter: int) -> int:
    return zlib.crc32(b"%d" % counter) % STRIPES


def subject_lock_stripe(subject: Subject) -> int:
    owner, identity = subject
    return zlib.crc32(f"{owner} {identity}".encode()) % STRIPES


async def lock_counters(connection: Connection, stripes: Iterable[int]) -> None:
    """Lock counters until the end of the transaction. Call once per transaction."""
    sorted_stripes = sorted(set(stripes))
    if sorted_stripes:
        await connection.execute(sql.LOCK_STRIPES, sql.COUNTER_LOCK, sorted_stripes)


async def read_counters(connection: Connection, counter_keys: Iterable[CounterKey]) -> dict[CounterKey, CounterValue]:
    """Return the values of these counters; counters without a row are absent."""
    unique_keys = dict.fromkeys(counter_keys)
    global_keys = [counter_key[2:] for counter_key in unique_keys if counter_key.owner == GLOBAL_OWNER]
    subject_keys = [counter_key for counter_key in unique_keys if counter_key.owner != GLOBAL_OWNER]
    result: dict[CounterKey, CounterValue] = {}
    if global_keys:
        for row in await connection.fetch(sql.TOTALS, *columns(global_keys, 3)):
            result[CounterKey(GLOBAL_OWNER, "", *row[:3])] = CounterValue(*row[3:])
    if subject_keys:
        for row in await connection.fetch(sql.COUNTERS, *columns(subject_keys, 5)):
            result[CounterKey(*row[:5])] = CounterValue(*row[5:])
    return result


async def put_counters(
    connection: Connection,
    counters: Mapping[CounterKey, CounterValue],
    move_number: int | None = None,
) -> None:
    """Write the new values of these counters, which must be locked."""
    total_rows, subject_rows = counter_rows(counters)
    if total_rows:
        if move_number is None:
            move_number = await connection.fetchval(sql.NEXT_MOVE)
        await connection.execute(sql.PUT_TOTALS, *columns(total_rows, 5), move_number)
    if subject_rows:
        await connection.execute(sql.PUT_COUNTERS, *columns(subject_rows, 7))


def counter_rows(
    counters: Mapping[CounterKey, CounterValue],
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the sorted rows of the global counters, and of the others."""
    total_rows = sorted(
        (*counter_key[2:], *count) for counter_key, count in counters.items() if counter_key.owner == GLOBAL_OWNER
    )
    subject_rows = sorted(
        (*counter_key, *count) for counter_key, count in counters.items() if counter_key.owner != GLOBAL_OWNER
    )
    return total_rows, subject_rows


class CounterMerge(NamedTuple):
    """Merge of the counters of `source` into `target`. The source is an identity or another customer."""

    target: int
    source: IdentityKey | int


def merge_stripes(space: int, merges: Iterable[CounterMerge]) -> set[int]:
    """Return the lock stripes of the counters that these merges concern."""
    return {subject_lock_stripe(subject_of(space, each)) for merge in merges for each in merge}


async def merge_counters(connection: Connection, space: int, merges: Sequence[CounterMerge], now_us: int) -> None:
    """Merge counters, reservations and joined identities of subjects, in order, adding the counts."""
    pairs = [(subject_of(space, target), subject_of(space, source)) for target, source in merges]
    all_subjects = list(dict.fromkeys(subject for pair in pairs for subject in pair))
    if not all_subjects:
        return
    await lock_counters(connection, merge_stripes(space, merges))
    counters = await counters_of(connection, all_subjects)
    disagreeing = disagreeing_counters(pair for subject in counters.values() for pair in subject.items())
    ends = limit_ends(map(tuple, await connection.fetch(sql.LIMIT_DATES, disagreeing))) if disagreeing else {}
    reserved = {
        (owner, identity) for owner, identity in await connection.fetch(sql.RESERVED_BY, *columns(all_subjects, 2))
    }
    merged_subjects: list[Subject] = []
    for target, source in pairs:
        source_counters = counters.pop(source, None)
        if source_counters:
            merged_subjects.append(source)
            target_counters = counters.setdefault(target, {})
            for counter_key, count in source_counters.items():
                target_key = counter_key.for_subject(target)
                target_counters[target_key] = sum_counters(
                    target_key, count, target_counters.get(target_key), ends, now_us
                )
        if source in reserved:
            await connection.execute(dollar(cap_rows.MOVE_RESERVATIONS), *target, *source)
            reserved.add(target)
    if merged_subjects:
        await connection.execute(sql.REMOVE_COUNTERS_OF, *columns(merged_subjects, 2))
        targets = {target for target, _ in pairs if target not in merged_subjects}
        changed = {counter_key: count for target in targets for counter_key, count in counters.get(target, {}).items()}
        await put_counters(connection, changed)
    owner_pairs = [(target, source) for target, source in merges if isinstance(source, int)]
    if owner_pairs:
        await connection.executemany(dollar(cap_rows.MOVE_JOINED), owner_pairs)


async def counters_of(
    connection: Connection, subjects: Iterable[Subject]
) -> dict[Subject, dict[CounterKey, CounterValue]]:
    """Return all counters of these subjects."""
    result: dict[Subject, dict[CounterKey, CounterValue]] = {}
    for row in await connection.fetch(sql.COUNTERS_OF, *columns(subjects, 2)):
        counter_key = CounterKey(*row[:5])
        result.setdefault((counter_key.owner, counter_key.identity), {})[counter_key] = CounterValue(*row[5:])
    return result


async def delete_counters(connection: Connection, subject: Subject) -> None:
    """Delete the counters of a locked subject, and the joins to it. Global counts of its reservations stay."""
    await connection.execute(sql.REMOVE_COUNTERS_OF, *columns([subject], 2))
    await connection.execute(dollar(cap_rows.MOVE_RESERVATIONS), GLOBAL_OWNER, "", *subject)
    await connection.execute(dollar(cap_rows.REMOVE_JOINED_TO), subject[0])


ReservationRow = tuple[str, str, int, str, bytes, int, str]
"""A reservation row: container, decision, owner, identity, encoded moves, end, state."""


async def release_expired(connection: Connection, now_us: int) -> int:
    """Release expired reservations; return how many."""
    expired_rows = await connection.fetch(sql.EXPIRED, now_us, MAX_EXPIRED)
    rows = [row for row in await _lock_reservations(connection, expired_rows) if row[6] == ReservationState.HELD]
    if rows:
        await _return_counts(connection, rows)
        await connection.execute(sql.SETTLE, ReservationState.EXPIRED.value, *columns([row[:2] for row in rows], 2))
    return len(expired_rows)


async def reservation(connection: Connection, container: str, decision: str, now_us: int) -> Reservation | None:
    row = await connection.fetchrow(dollar(cap_rows.RESERVATION), container, decision)
    if row is None:
        return None
    return Reservation(decision_id=decision, state=ReservationState(row[4]), expires_us=row[3]).at(now_us)


async def settle(
    connection: Connection,
    container: str,
    decision: str,
    target_state: ReservationState,
    now_us: int,
) -> Reservation:
    """Confirm or release the reservation of a decision."""
    unlocked_row = await connection.fetchrow(dollar(cap_rows.RESERVATION), container, decision)
    if unlocked_row is None:
        raise NotFound(f"the decision `{decision}` has no reservation", code="reservation-not-found")
    (row,) = await _lock_reservations(connection, [(container, decision, *unlocked_row)])
    expires_us, state = row[5], ReservationState(row[6])
    if state is ReservationState.HELD:
        state = ReservationState.EXPIRED if expires_us <= now_us else target_state
        if state is not ReservationState.CONFIRMED:
            await _return_counts(connection, [row])
        await connection.execute(sql.SETTLE, state.value, [container], [decision])
    return Reservation(decision_id=decision, state=state, expires_us=expires_us)


async def _lock_reservations(connection: Connection, rows: Sequence[Sequence[Any]]) -> list[ReservationRow]:
    """Lock these reservations and their counters; return their current rows."""
    await lock_counters(connection, (lock_stripe(counter_key) for row in rows for counter_key in _moves(row)))
    locked_rows = await connection.fetch(sql.LOCK_RESERVATIONS, *columns(rows, 2))
    owners = {tuple(row[:2]): tuple(row[2:4]) for row in rows}
    if any(owners[tuple(row[:2])] != tuple(row[2:4]) for row in locked_rows):
        raise RetryTransaction  # a subject was merged meanwhile: other counters must be locked
    return [tuple(row) for row in locked_rows]


def _moves(row: Sequence[Any]) -> dict[CounterKey, int]:
    owner, identity, encoded_moves = row[2:5]
    return {
        CounterKey(
            GLOBAL_OWNER if total else owner,
            "" if total else identity,
            counter,
            placement,
            window_us,
        ): count
        for total, counter, placement, window_us, count in decode_moves(encoded_moves)
        if total or owner != GLOBAL_OWNER
    }


async def _return_counts(connection: Connection, rows: Sequence[ReservationRow]) -> None:
    moves: dict[CounterKey, int] = {}
    for row in rows:
        for counter_key, count in _moves(row).items():
            moves[counter_key] = moves.get(counter_key, 0) + count
    counters = await read_counters(connection, moves)
    await put_counters(
        connection,
        {
            counter_key: count._replace(used=max(0, count.used - moves[counter_key]))
            for counter_key, count in counters.items()
        },
    )
