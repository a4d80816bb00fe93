"""Customers of a `PostgresStore`: changes load their data, then write it, in few statements."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from proffer.model.customer import (
    EVENT_LIMITS,
    MAX_EVENTS,
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
from proffer.store.postgres import customers_tx as writing
from proffer.store.postgres import statements as pg
from proffer.store.postgres.connections import Connection, Connections
from proffer.store.postgres.counters import Recount, counters_of, fold, lock, stripe_of
from proffer.store.postgres.customers_unit_of_work import Depth, Loaded, LoadedShelf, NotRead
from proffer.store.postgres.statements import dollar
from proffer.store.sql import customer_statements as sql

Result = TypeVar("Result")

_encode = msgspec.json.Encoder().encode


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
            found = await self._connections.read(
                lambda connection: connection.fetchval(pg.SPACE_OF, container_id)
            )
            if found is None:
                return None
            space = self._spaces[container_id] = int(found)
        return space

    async def _own_space(self, container_id: str) -> int:
        space = await self._space(container_id)
        if space is None:
            space = await self._connections.write(
                lambda connection: writing.space_of(connection, container_id)
            )
            self._spaces[container_id] = space
        return space

    async def customers(
        self, container_id: str, identities: Sequence[IdentityKey]
    ) -> Sequence[Customer]:
        space = await self._space(container_id) if identities else None
        if space is None:
            return ()
        if len(identities) == 1:
            statement, values = pg.FIND_ONE, list[Any](identities[0])
        else:
            statement, values = pg.FIND, [list(one) for one in zip(*identities, strict=True)]
        rows = await self._connections.read(
            lambda connection: connection.fetch(statement, space, *values)
        )
        return tuple(map(sql.to_customer, rows))

    async def whom(self, container_id: str, identities: Sequence[IdentityKey]) -> CustomerLookup:
        return CustomerLookup(await self.customers(container_id, identities))

    async def fragments(self, container_id: str, customer: Customer) -> Sequence[Fragment]:
        del container_id
        if len(customer.sources) == 1:
            return (Fragment(customer.sources[0], customer.attributes),)
        rows = await self._connections.read(
            lambda connection: connection.fetch(dollar(sql.FRAGMENTS), customer.key)
        )
        return tuple(map(sql.to_fragment, rows))

    async def events(
        self, container_id: str, keys: Sequence[int], since_us: int
    ) -> Sequence[Attributes]:
        del container_id  # keys are unique over all containers
        rows = await self._connections.read(
            lambda connection: connection.fetch(pg.EVENTS, list(keys), since_us, MAX_EVENTS)
        )
        return tuple(sql.decode_document(document) for (document,) in reversed(rows))

    async def take_in(
        self,
        container_id: str,
        changes: Sequence[Change],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        mark: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        space = await self._own_space(container_id)

        async def work(connection: Connection) -> list[ChangeResult]:
            return await _take_in(connection, space, changes, now_us, qualify, limits, mark)

        return await self._connections.write(work)

    async def bring_in(
        self,
        container_id: str,
        records: Sequence[EncodedRecord],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        mark: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        space = await self._own_space(container_id)

        async def work(connection: Connection) -> list[ChangeResult]:
            taken = await _all_new(connection, space, records, now_us) if qualify is None else None
            if taken is None:
                changes = [rules.decoded(record) for record in records]
                return await _take_in(connection, space, changes, now_us, qualify, limits, mark)
            if mark is not None:
                await writing.set_mark(connection, space, mark)
            await writing.count_more(connection, space, len(taken))
            return taken

        return await self._connections.write(work)

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        space = await self._space(container_id)
        if space is None:
            return ()
        rows = await self._connections.read(
            lambda connection: connection.fetch(pg.PAGE, *_range(space, after), limit)
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
            rows = await connection.fetch(pg.LOCK_PAGE, *_range(space, after), limit)
            customers = {row[0]: sql.to_customer(row) for row in rows}

            async def read(depth: Depth) -> Loaded:
                return Loaded(
                    space=space,
                    customers=customers,
                    events=await writing.events_of(connection, customers, depth),
                    depth=depth,
                )

            def judge(shelf: LoadedShelf) -> int:
                return rules.requalify(
                    shelf, customers.values(), now_us=now_us, qualify=qualify, limits=limits
                )

            shelf, changed = await _run(read, judge)
            await writing.write(connection, shelf)
            return (max(customers) if customers else None), changed

        return await self._connections.write(work)

    async def sample(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        del container_id
        rows = await self._connections.read(
            lambda connection: connection.fetch(pg.LOAD, list(keys))
        )
        found = {row[0]: row for row in rows}
        return tuple(sql.to_customer(found[key]) for key in keys if key in found)

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        found = await self._connections.read(
            lambda connection: connection.fetchrow(pg.COUNTED, container_id)
        )
        if found is None:
            return 0, 1, 0
        space, count, low, high = found
        first = (space << sql.SPACE_BITS) + 1
        return count, low or first, high or first - 1

    async def erase(self, container_id: str, identity: IdentityKey) -> ErasureResult | None:
        space = await self._space(container_id)
        if space is None:
            return None

        async def work(connection: Connection) -> ErasureResult | None:
            await writing.lock_identities(connection, space, [identity])
            holders = await writing.holders_of(connection, space, [identity])
            customers = await writing.locked_customers(connection, holders.values())
            for customer in customers.values():
                holders |= dict.fromkeys(customer.identities, customer.key)
            whom = writing.subject_of(space, next(iter(customers), identity))
            await lock(connection, [stripe_of(whom)])
            counted = await counters_of(connection, [whom])
            loaded = Loaded(
                space=space,
                holders=holders,
                customers=customers,
                events=await writing.events_of(connection, customers, Depth.HEADS),
                depth=Depth.HEADS,
                counted=len(counted.get(whom, {})),
            )
            shelf = LoadedShelf(loaded)
            erased = rules.erase(shelf, identity)
            await writing.write(connection, shelf)
            return erased

        return await self._connections.write(work)

    async def mark(self, container_id: str, name: str) -> Checkpoint | None:
        space = await self._space(container_id)
        if space is None:
            return None
        note = await self._connections.read(
            lambda connection: connection.fetchval(dollar(sql.MARK), space, name)
        )
        return None if note is None else Checkpoint(name=name, note=note)

    async def unmark(self, container_id: str, name: str) -> None:
        space = await self._space(container_id)
        if space is not None:
            await self._connections.write(
                lambda connection: connection.execute(dollar(sql.UNMARK), space, name)
            )

    async def forget_digests(self, before_us: int) -> int:
        said: str = await self._connections.write(
            lambda connection: connection.execute(dollar(sql.FORGET_DIGESTS), before_us)
        )
        return int(said.rsplit(maxsplit=1)[-1])  # "DELETE 3"


async def _take_in(
    connection: Connection,
    space: int,
    changes: Sequence[Change],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
    mark: Checkpoint | None,
) -> list[ChangeResult]:
    def judge(shelf: LoadedShelf) -> list[ChangeResult]:
        shelf.now_us = now_us
        return rules.take_in(shelf, changes, now_us=now_us, qualify=qualify, limits=limits)

    async def read(depth: Depth) -> Loaded:
        return await writing.read_for(connection, space, changes, depth)

    shelf, taken = await _run(read, judge)
    await writing.write(connection, shelf, mark)
    return taken


async def _run(
    read: Callable[[Depth], Awaitable[Loaded]], judge: Callable[[LoadedShelf], Result]
) -> tuple[LoadedShelf, Result]:
    """Run the rules on preloaded data, loading more until it suffices."""
    depth = Depth.NOTHING
    while True:
        shelf = LoadedShelf(await read(depth))
        try:
            return shelf, judge(shelf)
        except NotRead as more:
            depth = more.depth


async def _all_new(
    connection: Connection, space: int, records: Sequence[EncodedRecord], now_us: int
) -> list[ChangeResult] | None:
    """Insert a customer for each record; None, with nothing written, if an identity exists."""
    identities = [IdentityKey(*one) for record in records for one in record[0]]
    if len(set(identities)) != len(identities):
        return None
    if any(len(named) > MAX_LINKED_IDENTITIES for named, *_ in records):
        return None
    await writing.lock_identities(connection, space, identities)
    if await writing.holders_of(connection, space, identities):
        return None
    keys = await writing.new_keys(connection, space, len(records))
    await connection.copy_records_to_table(
        "customers",
        columns=pg.CUSTOMER_COLUMNS,
        records=[
            (
                key,
                _encode(sorted(named)),
                _encode([(stamped_us, dataset, named[0])]),
                document,
                None,
                now_us,
            )
            for key, (named, dataset, stamped_us, document) in zip(keys, records, strict=True)
        ],
    )
    owned = [
        (space, namespace, name, key)
        for key, (named, *_) in zip(keys, records, strict=True)
        for namespace, name in named
    ]
    owned.sort()  # in index order
    await connection.copy_records_to_table(
        "customer_identities", columns=pg.OWN_COLUMNS, records=owned
    )
    claims = [Recount(key, IdentityKey(namespace, name)) for _, namespace, name, key in owned]
    await fold(connection, space, claims, now_us)
    return [ChangeResult(key) for key in keys]


def _range(space: int, after: int) -> tuple[int, int]:
    """Return the exclusive bounds of the keys of a space above `after`."""
    low, high = space << sql.SPACE_BITS, (space + 1) << sql.SPACE_BITS
    return max(after, low), high
