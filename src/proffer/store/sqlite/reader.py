"""Libraries and customers of a database file, read only: also of earlier versions, while servers run.

Its tables have been as they are since the first version; a migration that changes them changes this module.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from proffer.model.customer import Attributes, Customer
from proffer.model.instance import Container, Instance
from proffer.store.sql import customer_statements as sql
from proffer.store.sql import rows, statements
from proffer.store.sqlite import catalog_tx, customers_tx
from proffer.store.sqlite.errors import unavailable
from proffer.store.sqlite.migrate import pending_migrations

Result = TypeVar("Result")


class SqliteReader:
    """A `StoreReader` of one file, created by `open`. It has one connection, which cannot write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        with unavailable(path):
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open a file of this version or an earlier one. Raises SchemaMismatch for any other."""
        await asyncio.to_thread(pending_migrations, path)
        return cls(path)

    async def close(self) -> None:
        self._connection.close()

    async def containers(self) -> Sequence[Container]:
        query = partial(catalog_tx.fetch_all, statement=statements.ALL_CONTAINERS, values=())
        return tuple(map(rows.to_container, await self._read(query)))

    async def live(self, container_id: str) -> tuple[int, Sequence[Instance]]:
        return await self._read(partial(catalog_tx.live, container_id=container_id))

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        row = await self._space(container_id)
        return (0, 1, 0) if row is None else (row[2], (row[0] << sql.SPACE_BITS) + 1, row[1])

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        row = await self._space(container_id)
        if row is None:
            return ()
        return await self._read(partial(customers_tx.page, space=row[0], after=after, limit=limit))

    async def customers_by_key(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        del container_id  # keys are unique over all containers
        return await self._read(partial(customers_tx.customers_by_key, keys=keys))

    async def events(self, container_id: str, keys: Sequence[int], since_us: int) -> Sequence[Attributes]:
        del container_id
        return await self._read(partial(customers_tx.events, keys=keys, since_us=since_us))

    async def _space(self, container_id: str) -> rows.Row | None:
        return await self._read(lambda connection: catalog_tx.fetch_one(connection, sql.SPACE_OF, container_id))

    async def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        async with self._lock:
            with unavailable(self._path):
                return await asyncio.to_thread(self._in_snapshot, query)

    def _in_snapshot(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        self._connection.execute("BEGIN")
        try:
            return query(self._connection)
        finally:
            self._connection.execute("ROLLBACK")
