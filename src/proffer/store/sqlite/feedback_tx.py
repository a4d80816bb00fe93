"""Feedback inside a SQLite transaction, and anonymisation of stored events."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from proffer.model.attribution import AttributedFeedback, CounterIncrement
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import ActiveLimits, TotalRow, total_rows
from proffer.store.common.caps import (
    ActiveLimit,
    CounterKey,
    Subject,
    feedback_subjects,
    increment,
)
from proffer.store.common.feedback import (
    anonymize_encoded_feedback,
    anonymize_pack,
    counter_increments,
    decode_feedback,
    encode_feedback,
    newly_attributed,
)
from proffer.store.sql import cap_statements as cap_rows
from proffer.store.sql import feedback_statements as sql
from proffer.store.sqlite.caps_tx import limits_since
from proffer.store.sqlite.catalog_tx import fetch_all, fetch_one
from proffer.store.sqlite.counters import (
    next_move_number,
    put_counters,
    read_counters,
    rows_to_json,
)
from proffer.store.sqlite.customers_tx import space_of
from proffer.store.sqlite.owners import find_owners


@dataclass(frozen=True, slots=True)
class FeedbackItem:
    """Events of one container, added by one call."""

    container: str
    events: tuple[AttributedFeedback, ...]


@dataclass(frozen=True, slots=True)
class FeedbackBatchResult:
    """For each event whether it was new, and the global counters incremented."""

    new_flags: tuple[bool, ...]
    totals: tuple[TotalRow, ...] = ()


class FeedbackBatch:
    """Batch handler: stores new events and increments their counters together."""

    def __init__(self) -> None:
        self._limits = ActiveLimits()

    def on_rollback(self) -> None:
        self._limits = ActiveLimits()

    def __call__(self, connection: sqlite3.Connection, items: Sequence[FeedbackItem]) -> list[FeedbackBatchResult]:
        new_flags = _find_new(connection, items)
        events = [
            (item.container, event)
            for item, flags in zip(items, new_flags, strict=True)
            for event, is_new in zip(item.events, flags, strict=True)
            if is_new
        ]
        totals = self._increment_counters(connection, events)
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
        return [FeedbackBatchResult(flags, totals) for flags in new_flags]

    def _increment_counters(
        self, connection: sqlite3.Connection, events: Sequence[tuple[str, AttributedFeedback]]
    ) -> tuple[TotalRow, ...]:
        changed, _, _ = fetch_one(connection, cap_rows.STATE, 0) or (0, 0, 0)
        if (changed or 0) > self._limits.last_change:
            self._limits.update(limits_since(connection, change_number=self._limits.last_change))
        moves: list[tuple[CounterKey, ActiveLimit, int]] = []
        for container in dict.fromkeys(container for container, _ in events):
            limits = self._limits.for_container(container)
            container_events = [event for event_container, event in events if event_container == container]
            counting = [move for event in container_events for move in event.increments if move.offer in limits]
            if counting:
                subjects = _subjects(connection, container, counting)
                for event in container_events:
                    moves += counter_increments(event, limits, subjects)
        if not moves:
            return ()
        counters = read_counters(connection, (counter_key for counter_key, _, _ in moves))
        for counter_key, active_limit, at_us in moves:
            increment(counters, counter_key, 1, active_limit, at_us)
        number = next_move_number(connection)
        moved = {counter_key: counters[counter_key] for counter_key, _, _ in moves}
        put_counters(connection, moved, number)
        return total_rows(moved, moved, number)

    def attribute_late(
        self,
        connection: sqlite3.Connection,
        *,
        container: str,
        events: Sequence[tuple[int, AttributedFeedback]],
    ) -> tuple[int, tuple[TotalRow, ...]]:
        """Update attributions; return how many events and the global counters incremented."""
        updated: list[tuple[int, AttributedFeedback]] = []
        for number, event in events:
            row = fetch_one(connection, sql.BODY, number, container)
            attributed = None if row is None else newly_attributed(decode_feedback(row[0]), event)
            if attributed is not None:
                updated.append((number, attributed))
        connection.executemany(
            sql.PUT_ATTRIBUTED,
            [(encode_feedback(event), int(bool(event.unattributed)), number) for number, event in updated],
        )
        return len(updated), self._increment_counters(connection, [(container, event) for _, event in updated])


def _find_new(connection: sqlite3.Connection, items: Sequence[FeedbackItem]) -> list[tuple[bool, ...]]:
    """Return for each event whether it is new: not stored, and not earlier in these items."""
    event_keys = [(item.container, event.feedback.id) for item in items for event in item.events]
    rows = fetch_all(connection, statement=sql.EXISTING_EVENTS, values=(rows_to_json(event_keys),))
    stored_keys = {(container, key) for container, key in rows}
    new_flags = []
    for item in items:
        flags = []
        for event in item.events:
            key = (item.container, event.feedback.id)
            flags.append(key not in stored_keys)
            stored_keys.add(key)
        new_flags.append(tuple(flags))
    return new_flags


def _subjects(
    connection: sqlite3.Connection, container: str, moves: Sequence[CounterIncrement]
) -> dict[CounterIncrement, Sequence[Subject]]:
    """Resolve the subjects of each increment from the identities of its decision."""
    space = space_of(connection, container)
    identities = sorted({(space, *identity) for move in moves for identity in move.identities})
    owners = find_owners(connection, identities).get(space, {})
    return {move: feedback_subjects(move.identities, owners, space) for move in moves}


def read_events(
    connection: sqlite3.Connection,
    *,
    container: str,
    after: int,
    limit: int,
    unattributed_only: bool,
) -> list[tuple[int, AttributedFeedback]]:
    statement = sql.UNATTRIBUTED_AFTER if unattributed_only else sql.AFTER
    rows = fetch_all(connection, statement=statement, values=(container, after, limit))
    return [(number, decode_feedback(body)) for number, body in rows]


def delete_old_events(connection: sqlite3.Connection, *, before_us: int, limit: int) -> int:
    return connection.execute(sql.REMOVE_OLD, (limit, before_us)).rowcount


def delete_events_through(connection: sqlite3.Connection, *, through: int, limit: int) -> int:
    """Delete at most `limit` events up to this one; return how many."""
    return connection.execute(sql.REMOVE_THROUGH, (through, limit)).rowcount


def redact_decisions(
    connection: sqlite3.Connection,
    *,
    container: str,
    identities: frozenset[IdentityKey],
    after: int,
    limit: int,
) -> tuple[int | None, list[str]]:
    """Anonymise a page of packs; return the last one read (None: no more) and the decision ids."""
    rows = fetch_all(connection, statement=cap_rows.PACKS_AFTER, values=(container, after, limit))
    redacted: list[str] = []
    for number, body in rows:
        anonymized = anonymize_pack(body, identities)
        if anonymized is not None:
            connection.execute(sql.PUT_PACK, (anonymized[0], number))
            redacted += anonymized[1]
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
    rows = fetch_all(connection, statement=sql.AFTER, values=(container, after, limit))
    count = 0
    for number, body in rows:
        anonymized = anonymize_encoded_feedback(body, identities, decisions)
        if anonymized is not None:
            connection.execute(sql.PUT_BODY, (anonymized, number))
            count += 1
    return (rows[-1][0] if rows else None), count


def oldest_ms(connection: sqlite3.Connection, *, container: str) -> int | None:
    row = fetch_one(connection, sql.OLDEST_PACK, container)
    return None if row is None else int(row[0])
