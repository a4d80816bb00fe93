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
from proffer.store.common.caps import TOTAL, Count, Slot, Subject, added, subject_text
from proffer.store.common.reservations import MOST_EXPIRED, decode_given
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres.connections import Again, Connection
from proffer.store.postgres.statements import dollar
from proffer.store.sql import cap_statements as cap_rows

STRIPES = 512


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Transpose rows to the columns that `unnest` takes."""
    every = list(rows)
    return [[row[place] for row in every] for place in range(width)]


def stripe(slot: Slot) -> int:
    """Return the lock stripe of a counter: by counter if global, else by subject."""
    if slot.owner == TOTAL:
        return zlib.crc32(b"%d" % slot.counter) % STRIPES
    return stripe_of((slot.owner, slot.identity))


def stripe_of(subject: Subject) -> int:
    owner, identity = subject
    return zlib.crc32(f"{owner} {identity}".encode()) % STRIPES


async def lock(connection: Connection, stripes: Iterable[int]) -> None:
    """Lock counters until the end of the transaction. Call once per transaction."""
    wanted = sorted(set(stripes))
    if wanted:
        await connection.execute(sql.LOCK_STRIPES, sql.COUNTING, wanted)


async def counters_at(connection: Connection, slots: Iterable[Slot]) -> dict[Slot, Count]:
    """Return the values of these counters; counters without a row are absent."""
    wanted = dict.fromkeys(slots)
    totals = [slot[2:] for slot in wanted if slot.owner == TOTAL]
    others = [slot for slot in wanted if slot.owner != TOTAL]
    found: dict[Slot, Count] = {}
    if totals:
        for row in await connection.fetch(sql.TOTALS, *columns(totals, 3)):
            found[Slot(TOTAL, "", *row[:3])] = Count(*row[3:])
    if others:
        for row in await connection.fetch(sql.COUNTERS, *columns(others, 5)):
            found[Slot(*row[:5])] = Count(*row[5:])
    return found


async def put_counters(
    connection: Connection, counters: Mapping[Slot, Count], moved: int | None = None
) -> None:
    """Write the new values of these counters, which must be locked."""
    totals = sorted((*slot[2:], *count) for slot, count in counters.items() if slot.owner == TOTAL)
    others = sorted((*slot, *count) for slot, count in counters.items() if slot.owner != TOTAL)
    if totals:
        if moved is None:
            moved = await connection.fetchval(sql.NEXT_MOVE)
        await connection.execute(sql.PUT_TOTALS, *columns(totals, 5), moved)
    if others:
        await connection.execute(sql.PUT_COUNTERS, *columns(others, 7))


class Recount(NamedTuple):
    """Merge of the counters of an identity or another customer (`source`) into `target`."""

    into: int
    gone: IdentityKey | int

    def subjects(self, space: int) -> tuple[Subject, Subject]:
        if isinstance(self.gone, IdentityKey):
            return (self.into, ""), (-space, subject_text(self.gone))
        return (self.into, ""), (self.gone, "")


async def fold(
    connection: Connection, space: int, recounts: Sequence[Recount], now_us: int
) -> None:
    """Merge counters and reservations of subjects, in order, adding the counts."""
    pairs = [one.subjects(space) for one in recounts]
    everybody = list(dict.fromkeys(subject for pair in pairs for subject in pair))
    if not everybody:
        return
    await lock(connection, map(stripe_of, everybody))
    counters = await counters_of(connection, everybody)
    reserved = {
        (owner, identity)
        for owner, identity in await connection.fetch(sql.RESERVED_BY, *columns(everybody, 2))
    }
    gone: list[Subject] = []
    for into, before in pairs:
        moved = counters.pop(before, None)
        if moved:
            gone.append(before)
            kept = counters.setdefault(into, {})
            for slot, count in moved.items():
                mine = slot.owned_by(into)
                kept[mine] = added(count, kept.get(mine), now_us)
        if before in reserved:
            await connection.execute(dollar(cap_rows.MOVE_RESERVATIONS), *into, *before)
            reserved.add(into)
    if gone:
        await connection.execute(sql.REMOVE_COUNTERS_OF, *columns(gone, 2))
        touched = {into for into, _ in pairs if into not in gone}
        changed = {
            slot: count for into in touched for slot, count in counters.get(into, {}).items()
        }
        await put_counters(connection, changed)


async def counters_of(
    connection: Connection, subjects: Iterable[Subject]
) -> dict[Subject, dict[Slot, Count]]:
    """Return all counters of these subjects."""
    found: dict[Subject, dict[Slot, Count]] = {}
    for row in await connection.fetch(sql.COUNTERS_OF, *columns(subjects, 2)):
        slot = Slot(*row[:5])
        found.setdefault((slot.owner, slot.identity), {})[slot] = Count(*row[5:])
    return found


async def forget(connection: Connection, subject: Subject) -> None:
    """Delete the counters of a locked subject. Global counts of its reservations stay."""
    await connection.execute(sql.REMOVE_COUNTERS_OF, *columns([subject], 2))
    await connection.execute(dollar(cap_rows.MOVE_RESERVATIONS), TOTAL, "", *subject)


Row = tuple[str, str, int, str, bytes, int, str]
"""A reservation row: container, decision, owner, identity, encoded moves, end, state."""


async def give_back_expired(connection: Connection, now_us: int) -> int:
    """Release expired reservations; return how many."""
    found = await connection.fetch(sql.EXPIRED, now_us, MOST_EXPIRED)
    rows = [row for row in await _locked(connection, found) if row[6] == ReservationState.HELD]
    if rows:
        await _give_back(connection, rows)
        await connection.execute(
            sql.SETTLE, ReservationState.EXPIRED.value, *columns([row[:2] for row in rows], 2)
        )
    return len(found)


async def reservation(
    connection: Connection, container: str, decision: str, now_us: int
) -> Reservation | None:
    found = await connection.fetchrow(dollar(cap_rows.RESERVATION), container, decision)
    if found is None:
        return None
    expires_us, state = found[3], ReservationState(found[4])
    if state is ReservationState.HELD and expires_us <= now_us:
        state = ReservationState.EXPIRED
    return Reservation(decision_id=decision, state=state, expires_us=expires_us)


async def settle(
    connection: Connection, container: str, decision: str, wanted: ReservationState, now_us: int
) -> Reservation:
    """Confirm or release the reservation of a decision."""
    found = await connection.fetchrow(dollar(cap_rows.RESERVATION), container, decision)
    if found is None:
        raise NotFound(f"the decision `{decision}` reserved nothing", code="reservation-not-found")
    (row,) = await _locked(connection, [(container, decision, *found)])
    expires_us, state = row[5], ReservationState(row[6])
    if state is ReservationState.HELD:
        state = ReservationState.EXPIRED if expires_us <= now_us else wanted
        if state is not ReservationState.CONFIRMED:
            await _give_back(connection, [row])
        await connection.execute(sql.SETTLE, state.value, [container], [decision])
    return Reservation(decision_id=decision, state=state, expires_us=expires_us)


async def _locked(connection: Connection, rows: Sequence[Sequence[Any]]) -> list[Row]:
    """Lock these reservations and their counters; return their current rows."""
    await lock(connection, (stripe(slot) for row in rows for slot in _moves(row)))
    again = await connection.fetch(sql.LOCK_RESERVATIONS, *columns(rows, 2))
    owners = {tuple(row[:2]): tuple(row[2:4]) for row in rows}
    if any(owners[tuple(row[:2])] != tuple(row[2:4]) for row in again):
        raise Again  # a subject was merged meanwhile: other counters must be locked
    return [tuple(row) for row in again]


def _moves(row: Sequence[Any]) -> dict[Slot, int]:
    owner, identity, given = row[2:5]
    return {
        Slot(
            TOTAL if total else owner, "" if total else identity, counter, placement, window_us
        ): count
        for total, counter, placement, window_us, count in decode_given(given)
        if total or owner != TOTAL
    }


async def _give_back(connection: Connection, rows: Sequence[Row]) -> None:
    moves: dict[Slot, int] = {}
    for row in rows:
        for slot, count in _moves(row).items():
            moves[slot] = moves.get(slot, 0) + count
    stand = await counters_at(connection, moves)
    await put_counters(
        connection,
        {
            slot: count._replace(used=max(0, count.used - moves[slot]))
            for slot, count in stand.items()
        },
    )
