"""Customers of a `SqliteStore`. The reads of a decision run on the event loop."""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from proffer.model.capping import CapSubjects
from proffer.model.customer import (
    EVENT_LIMITS,
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
from proffer.model.identity import IdentityKey
from proffer.store.sql import customer_statements as sql
from proffer.store.sql import rows
from proffer.store.sqlite import customers_bulk as bulk
from proffer.store.sqlite import customers_tx as work
from proffer.store.sqlite.catalog_tx import fetch_all
from proffer.store.sqlite.group_commit import Job

Result = TypeVar("Result")

_MAX_LOOP_LOOKUPS = 20
"""Up to this many identities are looked up on the event loop, more in the reader thread."""


class SqliteCustomers(ABC):
    """Customer mixin; needs point reads, reads in the reader thread, and writer jobs."""

    def __init__(self) -> None:
        super().__init__()
        self._spaces: dict[str, int] = {}

    @abstractmethod
    def submit(self, job: Job[Result]) -> asyncio.Future[Result]: ...

    @abstractmethod
    def _read_row(self, statement: str, *values: object) -> rows.Row | None: ...

    @abstractmethod
    def _read_on_loop(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    @abstractmethod
    async def _read_in_thread(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    def _space(self, container_id: str) -> int | None:
        """Return the number of the container's space; None before its first customer."""
        space = self._spaces.get(container_id)
        if space is None:
            row = self._read_row(sql.SPACE_OF, container_id)
            if row is None:
                return None
            space = self._spaces[container_id] = int(row[0])
        return space

    async def customers(self, container_id: str, identities: Sequence[IdentityKey]) -> Sequence[Customer]:
        space = self._space(container_id)
        if space is None or not identities:
            return ()
        query = partial(work.find_customers, space=space, identities=identities)
        return self._read_on_loop(query) if len(identities) <= _MAX_LOOP_LOOKUPS else await self._read_in_thread(query)

    async def lookup_for_decision(self, container_id: str, identities: Sequence[IdentityKey]) -> CustomerLookup:
        if not identities:
            return NO_CUSTOMERS
        space = self._space(container_id)
        if space is None:
            return CustomerLookup((), CapSubjects(requested=tuple(identities)))
        if len(identities) == 1:
            return self._read_on_loop(partial(work.lookup_by_identity, space=space, identity=identities[0]))
        query = partial(work.lookup_by_identities, space=space, identities=identities)
        return self._read_on_loop(query) if len(identities) <= _MAX_LOOP_LOOKUPS else await self._read_in_thread(query)

    async def fragments(self, container_id: str, customer: Customer) -> Sequence[Fragment]:
        del container_id
        if len(customer.sources) == 1:
            return (Fragment(customer.sources[0], customer.attributes),)
        return await self._read_in_thread(partial(_fragments, key=customer.key))

    async def events(
        self,
        container_id: str,
        keys: Sequence[int],
        since_us: int,
    ) -> Sequence[Attributes]:
        del container_id  # keys are unique over all containers
        return self._read_on_loop(partial(work.events, keys=keys, since_us=since_us))

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
        return await self.submit(
            partial(
                bulk.apply_changes,
                container_id=container_id,
                changes=changes,
                now_us=now_us,
                qualify=qualify,
                limits=limits,
                checkpoint=checkpoint,
            )
        )

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
        return await self.submit(
            partial(
                bulk.bulk_apply,
                container_id=container_id,
                records=records,
                now_us=now_us,
                qualify=qualify,
                limits=limits,
                checkpoint=checkpoint,
            )
        )

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        space = self._space(container_id)
        if space is None:
            return ()
        return await self._read_in_thread(partial(work.page, space=space, after=after, limit=limit))

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
        if self._space(container_id) is None:
            return None, 0
        return await self.submit(
            partial(
                work.requalify,
                container_id=container_id,
                after=after,
                limit=limit,
                now_us=now_us,
                qualify=qualify,
                limits=limits,
            )
        )

    async def customers_by_key(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        del container_id
        return await self._read_in_thread(partial(work.customers_by_key, keys=keys))

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        row = self._read_row(sql.SPACE_OF, container_id)
        if row is None:
            return 0, 1, 0
        space, newest, count = row
        return count, (space << sql.SPACE_BITS) + 1, newest

    async def erase(self, container_id: str, identity: IdentityKey) -> ErasureResult | None:
        if self._space(container_id) is None:
            return None
        return await self.submit(partial(work.erase, container_id=container_id, identity=identity))

    async def checkpoint(self, container_id: str, name: str) -> Checkpoint | None:
        space = self._space(container_id)
        row = None if space is None else self._read_row(sql.CHECKPOINT, space, name)
        return None if row is None else Checkpoint(name=name, note=row[0])

    async def delete_checkpoint(self, container_id: str, name: str) -> None:
        if self._space(container_id) is not None:
            await self.submit(partial(work.delete_checkpoint, container_id=container_id, name=name))

    async def untrimmed_identities(self, limit: int) -> Sequence[tuple[str, IdentityKey]]:
        triples = await self._read_in_thread(partial(fetch_all, statement=sql.UNTRIMMED, values=(limit,)))
        return [(container_id, IdentityKey(namespace, name)) for container_id, namespace, name in triples]

    async def delete_untrimmed(self, identities: Sequence[tuple[str, IdentityKey]]) -> None:
        await self.submit(partial(work.delete_untrimmed, identities=identities))

    async def purge_digests(self, before_us: int) -> int:
        return await self.submit(partial(work.purge_digests, before_us=before_us))


def _fragments(connection: sqlite3.Connection, *, key: int) -> Sequence[Fragment]:
    fragment_rows = connection.execute(sql.FRAGMENTS, (key,)).fetchall()
    return tuple(map(sql.to_fragment, fragment_rows))
