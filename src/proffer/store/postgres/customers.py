"""Customers of a `PostgresStore`: changes load their data, then write it, in few statements."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from proffer.model.capping import CapSubjects
from proffer.model.customer import (
    EVENT_LIMITS,
    MAX_EVENTS,
    NO_CUSTOMERS,
    Attributes,
    Change,
    ChangeResult,
    Checkpoint,
    Customer,
    CustomerLookup,
    EncodedRecord,
    ErasureResult,
    EventLimits,
    Fragment,
    MembershipEvaluator,
)
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityKey
from proffer.store.common import customer_merge as rules
from proffer.store.common.caps import subject_of
from proffer.store.postgres import customers_tx as writing
from proffer.store.postgres import statements as pg
from proffer.store.postgres.connections import Connection, Connections, execute_and_count
from proffer.store.postgres.counters import (
    CounterMerge,
    columns,
    counters_of,
    lock_counters,
    merge_counters,
    subject_lock_stripe,
)
from proffer.store.postgres.customers_unit_of_work import (
    EventDepth,
    EventsNotLoaded,
    PreloadedCustomers,
    PreloadedUnitOfWork,
)
from proffer.store.postgres.owners import counting_of, joined_owners
from proffer.store.postgres.statements import dollar
from proffer.store.sql import customer_statements as sql

Result = TypeVar("Result")


class PostgresCustomers(ABC):
    """Customer mixin; needs the connections."""

    def __init__(self) -> None:
        super().__init__()
        self._spaces: dict[str, int] = {}

    @property
    @abstractmethod
    def _connections(self) -> Connections: ...

    async def _space(self, container_id: str) -> int | None:
        """Return the number of the container's space; None before its first customer."""
        space = self._spaces.get(container_id)
        if space is None:
            row_value = await self._connections.read(lambda connection: connection.fetchval(pg.SPACE_OF, container_id))
            if row_value is None:
                return None
            space = self._spaces[container_id] = int(row_value)
        return space

    async def _ensure_space(self, container_id: str) -> int:
        space = await self._space(container_id)
        if space is None:
            space = await self._connections.write(lambda connection: writing.space_of(connection, container_id))
            self._spaces[container_id] = space
        return space

    async def customers(self, container_id: str, identities: Sequence[IdentityKey]) -> Sequence[Customer]:
        space = await self._space(container_id) if identities else None
        if space is None:
            return ()
        if len(identities) == 1:
            statement, values = pg.FIND_ONE, list[Any](identities[0])
        else:
            statement, values = pg.FIND, [list(column) for column in zip(*identities, strict=True)]
        rows = await self._connections.read(lambda connection: connection.fetch(statement, space, *values))
        return tuple(map(sql.to_customer, rows))

    async def lookup_for_decision(self, container_id: str, identities: Sequence[IdentityKey]) -> CustomerLookup:
        if not identities:
            return NO_CUSTOMERS
        requested = tuple(identities)
        space = await self._space(container_id)
        if space is None:
            return CustomerLookup((), CapSubjects(requested=requested))
        if len(identities) == 1:
            rows = await self._connections.read(
                lambda connection: connection.fetch(pg.FIND_COUNTED, space, *identities[0])
            )
            if not rows:
                return CustomerLookup((), CapSubjects((), requested, requested))
            key, is_held = rows[0][0], rows[0][1] is not None
            return CustomerLookup((sql.to_customer(rows[0]),) if is_held else (), CapSubjects((key,), (), requested))
        rows = await self._connections.read(
            lambda connection: connection.fetch(pg.FIND_ALL_COUNTED, space, *columns(requested, 2))
        )
        customers = [sql.to_customer(tuple(row[2:])) for row in rows if row[0] is None]
        joined = [(row[2], IdentityKey(*row[:2])) for row in rows if row[0] is not None]
        counting = counting_of(requested, customers, joined)
        return CustomerLookup(
            tuple(customer for customer in customers if not set(requested).isdisjoint(customer.identities)),
            CapSubjects(counting.owners, counting.identities, requested),
        )

    async def fragments(self, container_id: str, customer: Customer) -> Sequence[Fragment]:
        del container_id
        if len(customer.sources) == 1:
            return (Fragment(customer.sources[0], customer.attributes),)
        rows = await self._connections.read(lambda connection: connection.fetch(dollar(sql.FRAGMENTS), customer.key))
        return tuple(map(sql.to_fragment, rows))

    async def events(self, container_id: str, keys: Sequence[int], since_us: int) -> Sequence[Attributes]:
        del container_id  # keys are unique over all containers
        rows = await self._connections.read(
            lambda connection: connection.fetch(pg.EVENTS, list(keys), since_us, MAX_EVENTS)
        )
        return tuple(sql.decode_document(document) for (document,) in reversed(rows))

    async def apply_changes(
        self,
        container_id: str,
        changes: Sequence[Change],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        checkpoint: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        space = await self._ensure_space(container_id)

        async def work(connection: Connection) -> list[ChangeResult]:
            return await _apply_changes(connection, space, changes, now_us, qualify, limits, checkpoint)

        return await self._connections.write(work)

    async def bulk_apply(
        self,
        container_id: str,
        records: Sequence[EncodedRecord],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        checkpoint: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        space = await self._ensure_space(container_id)

        async def work(connection: Connection) -> list[ChangeResult]:
            results = await _insert_new(connection, space, records, now_us) if qualify is None else None
            if results is None:
                changes = [rules.decode_record(record) for record in records]
                return await _apply_changes(connection, space, changes, now_us, qualify, limits, checkpoint)
            if checkpoint is not None:
                await writing.set_checkpoint(connection, space, checkpoint)
            await writing.add_to_count(connection, space, len(results))
            return results

        return await self._connections.write(work)

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        space = await self._space(container_id)
        if space is None:
            return ()
        rows = await self._connections.read(
            lambda connection: connection.fetch(pg.PAGE, *_key_range(space, after), limit)
        )
        return tuple(map(sql.to_customer, rows))

    async def requalify(
        self,
        container_id: str,
        after: int,
        limit: int,
        *,
        now_us: int,
        qualify: MembershipEvaluator,
        limits: EventLimits = EVENT_LIMITS,
    ) -> tuple[int | None, int]:
        space = await self._space(container_id)
        if space is None:
            return None, 0

        async def work(connection: Connection) -> tuple[int | None, int]:
            rows = await connection.fetch(pg.LOCK_PAGE, *_key_range(space, after), limit)
            customers = {row[0]: sql.to_customer(row) for row in rows}

            async def read(depth: EventDepth) -> PreloadedCustomers:
                return PreloadedCustomers(
                    space=space,
                    customers=customers,
                    events=await writing.events_of(connection, customers, depth),
                    depth=depth,
                )

            def apply_rules(unit_of_work: PreloadedUnitOfWork) -> int:
                return rules.requalify(unit_of_work, customers.values(), now_us=now_us, qualify=qualify, limits=limits)

            unit_of_work, changed = await _run_rules(read, apply_rules)
            await writing.write_changes(connection, unit_of_work)
            return (max(customers) if customers else None), changed

        return await self._connections.write(work)

    async def customers_by_key(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        del container_id
        rows = await self._connections.read(lambda connection: connection.fetch(pg.LOAD, list(keys)))
        row_by_key = {row[0]: row for row in rows}
        return tuple(sql.to_customer(row_by_key[key]) for key in keys if key in row_by_key)

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        row = await self._connections.read(lambda connection: connection.fetchrow(pg.COUNTED, container_id))
        if row is None:
            return 0, 1, 0
        space, count, low, high = row
        first = (space << sql.SPACE_BITS) + 1
        return count, low or first, high or first - 1

    async def erase(self, container_id: str, identity: IdentityKey) -> ErasureResult | None:
        space = await self._space(container_id)
        if space is None:
            return None

        async def work(connection: Connection) -> ErasureResult | None:
            await writing.lock_identities(connection, space, [identity])
            holders = await writing.holders_of(connection, space, [identity])
            customers = await writing.lock_customers(connection, holders.values())
            for customer in customers.values():
                holders |= dict.fromkeys(customer.identities, customer.key)
            joined = {} if customers else await joined_owners(connection, space, [identity])
            owner = joined.get(identity)
            subject = subject_of(space, next(iter(customers), identity) if owner is None else owner.key)
            await lock_counters(connection, [subject_lock_stripe(subject)])
            counted = await counters_of(connection, [subject])
            preloaded = PreloadedCustomers(
                space=space,
                holders=holders,
                joined=joined,
                customers=customers,
                events=await writing.events_of(connection, customers, EventDepth.HEADS),
                depth=EventDepth.HEADS,
                counted=len(counted.get(subject, {})),
            )
            unit_of_work = PreloadedUnitOfWork(preloaded)
            erased = rules.erase(unit_of_work, identity)
            await writing.write_changes(connection, unit_of_work)
            return erased

        return await self._connections.write(work)

    async def checkpoint(self, container_id: str, name: str) -> Checkpoint | None:
        space = await self._space(container_id)
        if space is None:
            return None
        note = await self._connections.read(lambda connection: connection.fetchval(dollar(sql.CHECKPOINT), space, name))
        return None if note is None else Checkpoint(name=name, note=note)

    async def delete_checkpoint(self, container_id: str, name: str) -> None:
        space = await self._space(container_id)
        if space is not None:
            await self._connections.write(
                lambda connection: connection.execute(dollar(sql.REMOVE_CHECKPOINT), space, name)
            )

    async def untrimmed_identities(self, limit: int) -> Sequence[tuple[str, IdentityKey]]:
        rows = await self._connections.read(lambda connection: connection.fetch(dollar(sql.UNTRIMMED), limit))
        return [(container_id, IdentityKey(namespace, name)) for container_id, namespace, name in rows]

    async def delete_untrimmed(self, identities: Sequence[tuple[str, IdentityKey]]) -> None:
        rows = [(*identity, container_id) for container_id, identity in identities]
        await self._connections.write(lambda connection: connection.executemany(dollar(sql.REMOVE_UNTRIMMED), rows))

    async def purge_digests(self, before_us: int) -> int:
        return await self._connections.write(execute_and_count(sql.PURGE_DIGESTS, before_us))


async def _apply_changes(
    connection: Connection,
    space: int,
    changes: Sequence[Change],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
    checkpoint: Checkpoint | None,
) -> list[ChangeResult]:
    def apply_rules(unit_of_work: PreloadedUnitOfWork) -> list[ChangeResult]:
        unit_of_work.now_us = now_us
        return rules.apply_changes(unit_of_work, changes, now_us=now_us, qualify=qualify, limits=limits)

    async def read(depth: EventDepth) -> PreloadedCustomers:
        return await writing.load_for_changes(connection, space, changes, depth)

    unit_of_work, results = await _run_rules(read, apply_rules)
    await writing.write_changes(connection, unit_of_work, checkpoint)
    return results


async def _run_rules(
    read: Callable[[EventDepth], Awaitable[PreloadedCustomers]],
    apply_rules: Callable[[PreloadedUnitOfWork], Result],
) -> tuple[PreloadedUnitOfWork, Result]:
    """Run the rules on preloaded data, loading more until it suffices."""
    depth = EventDepth.NOTHING
    while True:
        unit_of_work = PreloadedUnitOfWork(await read(depth))
        try:
            return unit_of_work, apply_rules(unit_of_work)
        except EventsNotLoaded as missing:
            depth = missing.depth


async def _insert_new(
    connection: Connection, space: int, records: Sequence[EncodedRecord], now_us: int
) -> list[ChangeResult] | None:
    """Insert a customer for each record; None, with nothing written, if an identity exists."""
    identities = [IdentityKey(*identity) for record in records for identity in record[0]]
    if len(set(identities)) != len(identities):
        return None
    if any(len(record_identities) > MAX_LINKED_IDENTITIES for record_identities, *_ in records):
        return None
    await writing.lock_identities(connection, space, identities)
    if await writing.holders_of(connection, space, identities):
        return None
    if await joined_owners(connection, space, identities):
        return None
    keys = await writing.new_keys(connection, space, len(records))
    await connection.copy_records_to_table(
        "customers",
        columns=pg.CUSTOMER_COLUMNS,
        records=list(sql.new_customer_rows(keys, records, {}, now_us)),
    )
    identity_rows = sql.new_identity_rows(space, keys, records)
    await connection.copy_records_to_table("customer_identities", columns=pg.IDENTITY_COLUMNS, records=identity_rows)
    merges = [CounterMerge(key, IdentityKey(namespace, name)) for _, namespace, name, key in identity_rows]
    await merge_counters(connection, space, merges, now_us)
    return [ChangeResult(key) for key in keys]


def _key_range(space: int, after: int) -> tuple[int, int]:
    """Return the exclusive bounds of the keys of a space above `after`."""
    low, high = space << sql.SPACE_BITS, (space + 1) << sql.SPACE_BITS
    return max(after, low), high
