"""Feedback inside a SQLite transaction, and anonymisation of stored events."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from proffer.model.attribution import AttributedFeedback, CounterIncrement
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import Limits, TotalRow
from proffer.store.common.caps import TOTAL, KeptLimit, Slot, Subject, add, subjects_of
from proffer.store.common.feedback import (
    decode_feedback,
    encode_feedback,
    feedback_without,
    moved,
    newly_about,
    pack_without,
)
from proffer.store.sql import cap_statements as cap_rows
from proffer.store.sql import feedback_statements as sql
from proffer.store.sqlite.caps_tx import limits_since
from proffer.store.sqlite.catalog_tx import every, first
from proffer.store.sqlite.counters import as_json, counters_at, holders, next_move, put_counters
from proffer.store.sqlite.customers_tx import space_of


@dataclass(frozen=True, slots=True)
class Item:
    """Events of one container, added by one call."""

    container: str
    events: tuple[AttributedFeedback, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """For each event whether it was new, and the global counters incremented."""

    fresh: tuple[bool, ...]
    totals: tuple[TotalRow, ...] = ()


class FeedbackBatch:
    """Batch handler: stores new events and increments their counters together."""

    def __init__(self) -> None:
        self._limits = Limits()

    def undone(self) -> None:
        self._limits = Limits()

    def __call__(self, connection: sqlite3.Connection, items: Sequence[Item]) -> list[Answer]:
        fresh = _fresh(connection, items)
        events = [
            (item.container, event)
            for item, new in zip(items, fresh, strict=True)
            for event, is_new in zip(item.events, new, strict=True)
            if is_new
        ]
        totals = self._move(connection, events)
        connection.executemany(
            sql.ADD,
            [
                (
                    container,
                    event.feedback.id,
                    event.received_us,
                    int(bool(event.unattributed)),
                    encode_feedback(event),
                )
                for container, event in events
            ],
        )
        return [Answer(new, totals) for new in fresh]

    def _move(
        self, connection: sqlite3.Connection, events: Sequence[tuple[str, AttributedFeedback]]
    ) -> tuple[TotalRow, ...]:
        changed, _, _ = first(connection, cap_rows.STATE, 0) or (0, 0, 0)
        if (changed or 0) > self._limits.newest:
            self._limits.learn(limits_since(connection, changed=self._limits.newest))
        moves: list[tuple[Slot, KeptLimit, int]] = []
        for container in dict.fromkeys(container for container, _ in events):
            limits = self._limits.of(container)
            mine = [event for of, event in events if of == container]
            counting = [one for event in mine for one in event.increments if one.offer in limits]
            if counting:
                subjects = _subjects(connection, container, counting)
                for event in mine:
                    moves += moved(event, limits, subjects)
        if not moves:
            return ()
        counters = counters_at(connection, (slot for slot, _, _ in moves))
        for slot, kept, at_us in moves:
            add(counters, slot, 1, kept, at_us)
        number = next_move(connection)
        put_counters(connection, {slot: counters[slot] for slot, _, _ in moves}, number)
        return tuple(
            TotalRow((slot.counter, slot.placement, slot.window_us), counters[slot], number)
            for slot in dict.fromkeys(slot for slot, _, _ in moves)
            if slot.owner == TOTAL
        )

    def late(
        self,
        connection: sqlite3.Connection,
        *,
        container: str,
        events: Sequence[tuple[int, AttributedFeedback]],
    ) -> tuple[int, tuple[TotalRow, ...]]:
        """Update attributions; return how many events and the global counters incremented."""
        settled: list[tuple[int, AttributedFeedback]] = []
        for number, event in events:
            row = first(connection, sql.BODY, number, container)
            more = None if row is None else newly_about(decode_feedback(row[0]), event)
            if more is not None:
                settled.append((number, more))
        connection.executemany(
            sql.PUT_LATE,
            [
                (encode_feedback(event), int(bool(event.unattributed)), number)
                for number, event in settled
            ],
        )
        return len(settled), self._move(connection, [(container, event) for _, event in settled])


def _fresh(connection: sqlite3.Connection, items: Sequence[Item]) -> list[tuple[bool, ...]]:
    """Return for each event whether it is new: not stored, and not earlier in these items."""
    asked = [(item.container, event.feedback.id) for item in items for event in item.events]
    rows = every(connection, statement=sql.KNOWN, values=(as_json(asked),))
    known = {(container, key) for container, key in rows}
    fresh = []
    for item in items:
        new = []
        for event in item.events:
            key = (item.container, event.feedback.id)
            new.append(key not in known)
            known.add(key)
        fresh.append(tuple(new))
    return fresh


def _subjects(
    connection: sqlite3.Connection, container: str, moves: Sequence[CounterIncrement]
) -> dict[CounterIncrement, list[Subject]]:
    """Resolve the subjects of each increment from the identities of its decision."""
    space = space_of(connection, container)
    asked = sorted({(space, *identity) for move in moves for identity in move.identities})
    found = holders(connection, asked).get(space, {})
    return {move: subjects_of(move.identities, found, space) for move in moves}


def after(
    connection: sqlite3.Connection, *, container: str, after: int, limit: int, missed: bool
) -> list[tuple[int, AttributedFeedback]]:
    statement = sql.MISSED_AFTER if missed else sql.AFTER
    rows = every(connection, statement=statement, values=(container, after, limit))
    return [(number, decode_feedback(body)) for number, body in rows]


def forget_old(connection: sqlite3.Connection, *, before_us: int, limit: int) -> int:
    return connection.execute(sql.FORGET_OLD, (limit, before_us)).rowcount


def forget_through(connection: sqlite3.Connection, *, through: int, limit: int) -> int:
    """Delete at most `limit` events up to this one; return how many."""
    return connection.execute(sql.FORGET_THROUGH, (through, limit)).rowcount


def redact_decisions(
    connection: sqlite3.Connection,
    *,
    container: str,
    identities: frozenset[IdentityKey],
    after: int,
    limit: int,
) -> tuple[int | None, list[str]]:
    """Anonymise a page of packs; return the last one read (None: no more) and the decision ids."""
    rows = every(connection, statement=cap_rows.PACKS_AFTER, values=(container, after, limit))
    redacted: list[str] = []
    for number, body in rows:
        found = pack_without(body, identities)
        if found is not None:
            connection.execute(sql.PUT_PACK, (found[0], number))
            redacted += found[1]
    return (rows[-1][0] if rows else None), redacted


def redact_feedback(
    connection: sqlite3.Connection,
    *,
    container: str,
    identities: frozenset[IdentityKey],
    decisions: frozenset[str],
    after: int,
    limit: int,
) -> tuple[int | None, int]:
    """Anonymise a page of events with these identities or decisions; last one read, and how many."""
    rows = every(connection, statement=sql.AFTER, values=(container, after, limit))
    count = 0
    for number, body in rows:
        fresh = feedback_without(body, identities, decisions)
        if fresh is not None:
            connection.execute(sql.PUT_BODY, (fresh, number))
            count += 1
    return (rows[-1][0] if rows else None), count


def oldest_ms(connection: sqlite3.Connection, *, container: str) -> int | None:
    found = first(connection, sql.OLDEST_PACK, container)
    return None if found is None else int(found[0])
