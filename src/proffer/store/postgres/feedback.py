"""Feedback of a `PostgresStore`, and anonymisation of stored events."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from proffer.model.attribution import AttributedFeedback, CounterIncrement
from proffer.model.customer import RedactionResult
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import Book, TotalRow
from proffer.store.common.caps import TOTAL, KeptLimit, Slot, Subject, add, subjects_of
from proffer.store.common.feedback import (
    decode_feedback,
    encode_feedback,
    feedback_without,
    moved,
    newly_about,
    pack_without,
)
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres.caps import newest_number, rows_changed
from proffer.store.postgres.connections import Again, Connection, Connections
from proffer.store.postgres.counters import columns, counters_at, lock, put_counters, stripe
from proffer.store.postgres.record_batch import KnownLimits, holders_of, number_of
from proffer.store.postgres.statements import dollar
from proffer.store.sql import feedback_statements as feedback_rows

_TOGETHER = 500
"""Maximum events deleted, or scanned for anonymisation, in one write."""
_PACKS_TOGETHER = 50


class PostgresFeedback(ABC):
    """Feedback mixin; needs the connections, space numbers and the cap cache."""

    _book: Book
    _limits: KnownLimits

    @property
    @abstractmethod
    def _connections(self) -> Connections: ...

    @abstractmethod
    async def _own_space(self, container_id: str) -> int: ...

    async def take_feedback(
        self, container_id: str, events: Sequence[AttributedFeedback]
    ) -> Sequence[bool]:
        if not events:
            return ()
        space = await self._own_space(container_id)
        first = {event.feedback.id: event for event in reversed(events)}
        rows = [
            (key, event.received_us, int(bool(event.unattributed)), encode_feedback(event))
            for key, event in sorted(first.items())
        ]

        async def work(connection: Connection) -> tuple[set[str], list[TotalRow]]:
            locks = [(sql.CAPPING, number_of(container_id)), (sql.PACKING, 1)]
            await connection.execute(sql.LOCK_SHARED, *columns(locks, 2))
            added = await connection.fetch(sql.ADD_FEEDBACK, container_id, *columns(rows, 4))
            new = {key for (key,) in added}
            moving = [event for key, event in first.items() if key in new]
            return new, await self._move(connection, container_id, space, moving)

        new, totals = await self._connections.write(work)
        self._book.learn(totals)
        return tuple(
            event.feedback.id in new and first[event.feedback.id] is event for event in events
        )

    async def attribute_late(
        self, container_id: str, events: Sequence[tuple[int, AttributedFeedback]]
    ) -> int:
        if not events:
            return 0
        space = await self._own_space(container_id)
        ordered = sorted(events, key=lambda one: one[0])

        async def work(connection: Connection) -> tuple[int, list[TotalRow]]:
            locks = [(sql.CAPPING, number_of(container_id)), (sql.PACKING, 1)]
            await connection.execute(sql.LOCK_SHARED, *columns(locks, 2))
            settled: list[AttributedFeedback] = []
            for number, event in ordered:
                body = await connection.fetchval(sql.LOCK_EVENT, number, container_id)
                more = None if body is None else newly_about(decode_feedback(body), event)
                if more is not None:
                    values = (encode_feedback(more), int(bool(more.unattributed)), number)
                    await connection.execute(dollar(feedback_rows.PUT_LATE), *values)
                    settled.append(more)
            return len(settled), await self._move(connection, container_id, space, settled)

        count, totals = await self._connections.write(work)
        self._book.learn(totals)
        return count

    async def _move(
        self,
        connection: Connection,
        container: str,
        space: int,
        events: Sequence[AttributedFeedback],
    ) -> list[TotalRow]:
        """Increment the counters of these events, holding the shared limit lock; return global ones."""
        if not any(event.increments for event in events):
            return []
        await self._limits.learn(connection)
        limits = self._limits.of(container)
        moving = [
            event for event in events if any(move.offer in limits for move in event.increments)
        ]
        subjects = await _subjects(connection, space, moving)
        moves: list[tuple[Slot, KeptLimit, int]] = [
            one for event in moving for one in moved(event, limits, subjects)
        ]
        if not moves:
            return []
        slots = dict.fromkeys(slot for slot, _, _ in moves)
        await lock(connection, map(stripe, slots))
        if subjects != await _subjects(connection, space, moving):
            raise Again  # a subject was assigned or merged before the locks were taken
        counters = await counters_at(connection, slots)
        for slot, kept, at_us in moves:
            add(counters, slot, 1, kept, at_us)
        number = await connection.fetchval(sql.NEXT_MOVE)
        await put_counters(connection, {slot: counters[slot] for slot in slots}, number)
        return [
            TotalRow((slot.counter, slot.placement, slot.window_us), counters[slot], number)
            for slot in slots
            if slot.owner == TOTAL
        ]

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, missed: bool = False
    ) -> Sequence[tuple[int, AttributedFeedback]]:
        up_to = await newest_number(self._connections, 1, sql.NEWEST_FEEDBACK)
        rows = await self._connections.read(
            lambda connection: connection.fetch(
                sql.FEEDBACK_BETWEEN, container_id, after, up_to, int(missed), limit
            )
        )
        return [(number, decode_feedback(body)) for number, body in rows]

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        found: int | None = await self._connections.read(
            lambda connection: connection.fetchval(dollar(feedback_rows.OLDEST_PACK), container_id)
        )
        return found

    async def forget_feedback(self, before_us: int, most_bytes: int | None = None) -> int:
        through: int | None = None

        async def old(connection: Connection) -> int:
            said = await connection.execute(dollar(feedback_rows.FORGET_OLD), _TOGETHER, before_us)
            return rows_changed(said)

        async def much(connection: Connection) -> int:
            said = await connection.execute(
                dollar(feedback_rows.FORGET_THROUGH), through, _TOGETHER
            )
            return rows_changed(said)

        if most_bytes is not None:
            through = await self._connections.read(
                lambda connection: connection.fetchval(sql.SURPLUS_FEEDBACK, most_bytes)
            )
        forgotten = 0
        for work in (old, much) if through is not None else (old,):
            gone = _TOGETHER
            while gone == _TOGETHER:
                gone = await self._connections.write(work)
                forgotten += gone
        return forgotten

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> RedactionResult:
        wanted = frozenset(identities)
        decisions: list[str] = []
        feedback = 0
        last: int | None = after[0] if wanted else None
        while last is not None:
            last, found = await self._redact_packs(container_id, wanted, last)
            decisions += found
        last = after[1] if wanted else None
        while last is not None:
            last, count = await self._redact_feedback(
                container_id, wanted, frozenset(decisions), last
            )
            feedback += count
        # Numbers are not in commit order here, so no scan position is returned.
        return RedactionResult(decisions=len(decisions), feedback=feedback)

    async def _redact_packs(
        self, container_id: str, wanted: frozenset[IdentityKey], after: int
    ) -> tuple[int | None, list[str]]:
        """Anonymise a page of packs; return the last one read (None: no more) and the decision ids."""

        async def work(connection: Connection) -> tuple[int | None, list[str]]:
            rows = await connection.fetch(sql.LOCK_PACKS, container_id, after, _PACKS_TOGETHER)
            redacted: list[str] = []
            for number, body in rows:
                found = pack_without(body, wanted)
                if found is not None:
                    await connection.execute(dollar(feedback_rows.PUT_PACK), found[0], number)
                    redacted += found[1]
            return (rows[-1][0] if rows else None), redacted

        return await self._connections.write(work)

    async def _redact_feedback(
        self,
        container_id: str,
        wanted: frozenset[IdentityKey],
        decisions: frozenset[str],
        after: int,
    ) -> tuple[int | None, int]:
        """Anonymise a page of events with these identities or decisions; last one read, and how many."""

        async def work(connection: Connection) -> tuple[int | None, int]:
            rows = await connection.fetch(sql.LOCK_FEEDBACK, container_id, after, _TOGETHER)
            count = 0
            for number, body in rows:
                fresh = feedback_without(body, wanted, decisions)
                if fresh is not None:
                    await connection.execute(dollar(feedback_rows.PUT_BODY), fresh, number)
                    count += 1
            return (rows[-1][0] if rows else None), count

        return await self._connections.write(work)


async def _subjects(
    connection: Connection, space: int, events: Sequence[AttributedFeedback]
) -> dict[CounterIncrement, list[Subject]]:
    """Resolve the subjects of each increment from the identities of its decision."""
    moves = [move for event in events for move in event.increments]
    asked = {(space, *identity) for move in moves for identity in move.identities}
    holders = (await holders_of(connection, asked)).get(space, {})
    return {move: subjects_of(move.identities, holders, space) for move in moves}
