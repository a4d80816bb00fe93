"""Feedback of a `PostgresStore`, and anonymisation of stored events."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial

from proffer.model.attribution import AttributedFeedback, CounterIncrement
from proffer.model.customer import RedactionResult
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import CapCache, TotalRow, total_rows
from proffer.store.common.caps import (
    ActiveLimit,
    CounterKey,
    Subject,
    feedback_subjects,
    increment,
)
from proffer.store.common.deletion import delete_in_batches
from proffer.store.common.feedback import (
    anonymize_encoded_feedback,
    anonymize_pack,
    counter_increments,
    decode_feedback,
    encode_feedback,
    newly_attributed,
)
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres.caps import newest_number
from proffer.store.postgres.connections import Connection, Connections, RetryTransaction, execute_and_count
from proffer.store.postgres.counters import (
    columns,
    lock_counters,
    lock_stripe,
    put_counters,
    read_counters,
)
from proffer.store.postgres.owners import owners_of
from proffer.store.postgres.record_batch import CommittedLimits, container_lock_number
from proffer.store.postgres.statements import dollar
from proffer.store.sql import feedback_statements as feedback_rows

_EVENTS_PER_WRITE = 500
"""Maximum events deleted, or scanned for anonymisation, in one write."""
_PACKS_PER_WRITE = 50


class PostgresFeedback(ABC):
    """Feedback mixin; needs the connections, space numbers and the cap cache."""

    _cap_cache: CapCache
    _limits: CommittedLimits

    @property
    @abstractmethod
    def _connections(self) -> Connections: ...

    @abstractmethod
    async def _ensure_space(self, container_id: str) -> int: ...

    async def add_feedback(self, container_id: str, events: Sequence[AttributedFeedback]) -> Sequence[bool]:
        if not events:
            return ()
        space = await self._ensure_space(container_id)
        event_by_id = {event.feedback.id: event for event in reversed(events)}
        rows = [
            (key, event.received_us, int(bool(event.unattributed)), encode_feedback(event))
            for key, event in sorted(event_by_id.items())
        ]

        async def work(connection: Connection) -> tuple[set[str], Sequence[TotalRow]]:
            locks = [(sql.LIMIT_LOCK, container_lock_number(container_id)), (sql.PACK_LOCK, 1)]
            await connection.execute(sql.LOCK_SHARED, *columns(locks, 2))
            new_rows = await connection.fetch(sql.ADD_FEEDBACK, container_id, *columns(rows, 4))
            new = {key for (key,) in new_rows}
            moving = [event for key, event in event_by_id.items() if key in new]
            return new, await self._increment_counters(connection, container_id, space, moving)

        new, totals = await self._connections.write(work)
        self._cap_cache.update_totals(totals)
        return tuple(event.feedback.id in new and event_by_id[event.feedback.id] is event for event in events)

    async def attribute_late(self, container_id: str, events: Sequence[tuple[int, AttributedFeedback]]) -> int:
        if not events:
            return 0
        space = await self._ensure_space(container_id)
        ordered = sorted(events, key=lambda pair: pair[0])

        async def work(connection: Connection) -> tuple[int, Sequence[TotalRow]]:
            locks = [(sql.LIMIT_LOCK, container_lock_number(container_id)), (sql.PACK_LOCK, 1)]
            await connection.execute(sql.LOCK_SHARED, *columns(locks, 2))
            updated: list[AttributedFeedback] = []
            for number, event in ordered:
                body = await connection.fetchval(sql.LOCK_EVENT, number, container_id)
                attributed = None if body is None else newly_attributed(decode_feedback(body), event)
                if attributed is not None:
                    values = (
                        encode_feedback(attributed),
                        int(bool(attributed.unattributed)),
                        number,
                    )
                    await connection.execute(dollar(feedback_rows.PUT_ATTRIBUTED), *values)
                    updated.append(attributed)
            return len(updated), await self._increment_counters(connection, container_id, space, updated)

        count, totals = await self._connections.write(work)
        self._cap_cache.update_totals(totals)
        return count

    async def _increment_counters(
        self,
        connection: Connection,
        container: str,
        space: int,
        events: Sequence[AttributedFeedback],
    ) -> Sequence[TotalRow]:
        """Increment the counters of these events, holding the shared limit lock; return global ones."""
        if not any(event.increments for event in events):
            return ()
        await self._limits.refresh(connection)
        limits = self._limits.for_container(container)
        moving = [event for event in events if any(move.offer in limits for move in event.increments)]
        subjects = await _subjects(connection, space, moving)
        moves: list[tuple[CounterKey, ActiveLimit, int]] = [
            move for event in moving for move in counter_increments(event, limits, subjects)
        ]
        if not moves:
            return ()
        counter_keys = dict.fromkeys(counter_key for counter_key, _, _ in moves)
        await lock_counters(connection, map(lock_stripe, counter_keys))
        if subjects != await _subjects(connection, space, moving):
            raise RetryTransaction  # a subject was assigned or merged before the locks were taken
        counters = await read_counters(connection, counter_keys)
        for counter_key, active_limit, at_us in moves:
            increment(counters, counter_key, 1, active_limit, at_us)
        number = await connection.fetchval(sql.NEXT_MOVE)
        await put_counters(connection, {counter_key: counters[counter_key] for counter_key in counter_keys}, number)
        return total_rows(counters, counter_keys, number)

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, unattributed_only: bool = False
    ) -> Sequence[tuple[int, AttributedFeedback]]:
        up_to = await newest_number(self._connections, 1, sql.NEWEST_FEEDBACK)
        rows = await self._connections.read(
            lambda connection: connection.fetch(
                sql.FEEDBACK_BETWEEN, container_id, after, up_to, int(unattributed_only), limit
            )
        )
        return [(number, decode_feedback(body)) for number, body in rows]

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        oldest_ms: int | None = await self._connections.read(
            lambda connection: connection.fetchval(dollar(feedback_rows.OLDEST_PACK), container_id)
        )
        return oldest_ms

    async def purge_feedback(self, before_us: int, max_bytes: int | None = None) -> int:
        transactions = [execute_and_count(feedback_rows.REMOVE_OLD, _EVENTS_PER_WRITE, before_us)]
        if max_bytes is not None:
            through = await self._connections.read(
                lambda connection: connection.fetchval(sql.SURPLUS_FEEDBACK, max_bytes)
            )
            if through is not None:
                transactions.append(execute_and_count(feedback_rows.REMOVE_THROUGH, through, _EVENTS_PER_WRITE))
        total = 0
        for work in transactions:
            total += await delete_in_batches(partial(self._connections.write, work), _EVENTS_PER_WRITE)
        return total

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> RedactionResult:
        identity_set = frozenset(identities)
        decisions: list[str] = []
        feedback = 0
        last: int | None = after[0] if identity_set else None
        while last is not None:
            last, decision_ids = await self._redact_packs(container_id, identity_set, last)
            decisions += decision_ids
        last = after[1] if identity_set else None
        while last is not None:
            last, count = await self._redact_feedback(container_id, identity_set, frozenset(decisions), last)
            feedback += count
        # Numbers are not in commit order here, so no scan position is returned.
        return RedactionResult(decisions=len(decisions), feedback=feedback)

    async def _redact_packs(
        self, container_id: str, identity_set: frozenset[IdentityKey], after: int
    ) -> tuple[int | None, list[str]]:
        """Anonymise a page of packs; return the last one read (None: no more) and the decision ids."""

        async def work(connection: Connection) -> tuple[int | None, list[str]]:
            rows = await connection.fetch(sql.LOCK_PACKS, container_id, after, _PACKS_PER_WRITE)
            redacted: list[str] = []
            for number, body in rows:
                anonymized = anonymize_pack(body, identity_set)
                if anonymized is not None:
                    await connection.execute(dollar(feedback_rows.PUT_PACK), anonymized[0], number)
                    redacted += anonymized[1]
            return (rows[-1][0] if rows else None), redacted

        return await self._connections.write(work)

    async def _redact_feedback(
        self,
        container_id: str,
        identity_set: frozenset[IdentityKey],
        decisions: frozenset[str],
        after: int,
    ) -> tuple[int | None, int]:
        """Anonymise a page of events with these identities or decisions; last one read, and how many."""

        async def work(connection: Connection) -> tuple[int | None, int]:
            rows = await connection.fetch(sql.LOCK_FEEDBACK, container_id, after, _EVENTS_PER_WRITE)
            count = 0
            for number, body in rows:
                anonymized = anonymize_encoded_feedback(body, identity_set, decisions)
                if anonymized is not None:
                    await connection.execute(dollar(feedback_rows.PUT_BODY), anonymized, number)
                    count += 1
            return (rows[-1][0] if rows else None), count

        return await self._connections.write(work)


async def _subjects(
    connection: Connection, space: int, events: Sequence[AttributedFeedback]
) -> dict[CounterIncrement, Sequence[Subject]]:
    """Resolve the subjects of each increment from the identities of its decision."""
    moves = [move for event in events for move in event.increments]
    identities = {(space, *identity) for move in moves for identity in move.identities}
    owners = (await owners_of(connection, identities)).get(space, {})
    return {move: feedback_subjects(move.identities, owners, space) for move in moves}
