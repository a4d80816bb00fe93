"""The store in a PostgreSQL database, shared by any number of servers.

Reads and writes run on connections of a pool. Consistency between servers relies on database locks taken
in one order: the container row for its library, and for customers see `customers_tx.py`. PostgreSQL
groups the commits of its connections.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Self

from proffer.errors import Conflict
from proffer.model.audience import AudienceEvaluation
from proffer.model.capping import OfferCaps
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.model.lease import Lease
from proffer.model.token import StoredToken
from proffer.store.common.versions import (
    InstanceHead,
    check_order,
    check_revision,
    check_version,
    container_id_conflict,
    existing_at,
    unknown_container,
)
from proffer.store.postgres import statements as pg
from proffer.store.postgres.caps import PostgresCaps, cap_revision, put_limits
from proffer.store.postgres.connections import Connection, Connections
from proffer.store.postgres.customers import PostgresCustomers
from proffer.store.postgres.feedback import PostgresFeedback
from proffer.store.postgres.listening import Listener
from proffer.store.postgres.migrate import ensure_schema, pending_migrations
from proffer.store.postgres.record_batch import Recorder
from proffer.store.postgres.statements import dollar
from proffer.store.sql import cap_statements as cap_rows
from proffer.store.sql import rows, statements

_DECODE_BATCH = 200
"""Number of versions decoded before yielding to the event loop."""


class PostgresStore(PostgresCustomers, PostgresCaps, PostgresFeedback):
    """A `Store` in one database, created by `open`. Several processes may open the same one."""

    def __init__(
        self, url: str, *, connections: int, patience_s: float, write_wait_s: float | None, read_only: bool = False
    ) -> None:
        super().__init__()
        self._recorder = Recorder(self._record, write_wait_s)
        self._pool = Connections(url, size=connections, patience_s=patience_s, read_only=read_only)
        self._listener: Listener | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        migrate: bool = False,
        connections: int = 10,
        patience_s: float = 10,
        write_wait_s: float | None = None,
    ) -> Self:
        """Open the database at `url`, creating the schema when it is empty.

        `migrate` allows migrating an older database; without it an older one raises SchemaMismatch,
        as a newer one always does. The store has at most `connections` connections and one that
        listens. Waiting longer than `patience_s` for the database raises StoreUnavailable; a decision that cannot be
        committed after `write_wait_s`, because of locks, raises WriteDelayed.
        """
        await ensure_schema(url, migrating=migrate)
        return cls(url, connections=connections, patience_s=patience_s, write_wait_s=write_wait_s)

    @classmethod
    async def open_reader(cls, url: str, *, patience_s: float = 60) -> Self:
        """Open a database of this version or an earlier one as a `StoreReader`: its connections cannot write.

        Libraries and customers are stored as in the first version; a migration that changes their tables changes
        what this reads. Raises SchemaMismatch for a newer or another database.
        """
        await pending_migrations(url)
        return cls(url, connections=1, patience_s=patience_s, write_wait_s=None, read_only=True)

    async def close(self) -> None:
        """Finish running work, then close all connections."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        await self._recorder.close()
        await self._pool.close()

    @property
    def _connections(self) -> Connections:
        return self._pool

    async def containers(self) -> Sequence[Container]:
        return tuple(map(rows.to_container, await self._fetch(statements.ALL_CONTAINERS)))

    async def ensure_container(self, container: Container) -> Container:
        sandbox = (container.organisation, container.sandbox)
        if existing := await self._fetch(statements.CONTAINER_OF, *sandbox):
            return rows.to_container(existing[0])

        async def work(connection: Connection) -> Container:
            await connection.execute(pg.ADD_CONTAINER, *rows.from_container(container))
            stored_row = await connection.fetchrow(dollar(statements.CONTAINER_OF), *sandbox)
            if stored_row is None:
                raise container_id_conflict(container)
            return rows.to_container(stored_row)

        return await self._pool.write(work)

    async def live(self, container_id: str) -> tuple[int, Sequence[Instance]]:
        async def work(connection: Connection) -> tuple[int, Sequence[rows.Row]]:
            revision = await connection.fetchval(dollar(statements.REVISION_OF), container_id)
            if revision is None:
                return 0, ()
            version_rows = await connection.fetch(dollar(statements.LIVE), container_id, container_id)
            return int(revision), version_rows

        revision, version_rows = await self._pool.snapshot(work)
        return revision, await _decode_versions(version_rows)

    async def live_at(self, container_id: str, revision: int, *, changed_since: int = 0) -> Sequence[Instance] | None:
        values = (container_id, revision, container_id, revision, container_id, changed_since)
        version_rows = await self._fetch(statements.LIVE_AT, *values)
        return existing_at(await _decode_versions(version_rows), revision)

    async def version_at(self, container_id: str, revision: int, key: str) -> Instance | None:
        version_rows = await self._fetch(statements.VERSION_AT, container_id, container_id, key, revision)
        versions = await _decode_versions(version_rows)
        return versions[0] if versions else None

    async def since(self, container_id: str, revision: int) -> Sequence[Instance]:
        return await _decode_versions(await self._fetch(statements.SINCE, container_id, revision))

    async def commit(
        self,
        container_id: str,
        based_on: int,
        versions: Sequence[Instance],
        caps: Sequence[OfferCaps] | None = None,
    ) -> None:
        written = tuple(versions)
        check_order(container_id, based_on, written)
        records = [rows.from_version(version) for version in written]
        heads = {version.instance_id: rows.head_row(version) for version in written}

        async def work(connection: Connection) -> None:
            revision = await connection.fetchval(pg.LOCK_REVISION, container_id)
            check_revision(container_id, revision, based_on)
            if not written:
                return
            await _check_versions(connection, container_id, written)
            await connection.copy_records_to_table("versions", columns=pg.VERSION_COLUMNS, records=records)
            await connection.execute(pg.PUT_HEADS, *map(list, zip(*heads.values(), strict=True)))
            revision = written[-1].revision
            await connection.execute(dollar(statements.MOVE_REVISION), revision, container_id)
            if caps is not None:
                await put_limits(connection, container_id, caps)
                # If earlier commits wrote no limits, `ensure_caps` still has to.
                if await cap_revision(connection, container_id) == based_on:
                    await connection.execute(dollar(cap_rows.PUT_CAP_REVISION), container_id, revision)
            await connection.execute(pg.NOTIFY, pg.CHANGE_CHANNEL, f"{container_id} {revision}")

        await self._pool.write(work)
        if caps:
            await self._refresh_cache()

    async def history(self, container_id: str, instance_id: str) -> Sequence[Instance]:
        return await _decode_versions(await self._fetch(statements.HISTORY, container_id, instance_id))

    async def revisions(self) -> Mapping[str, int]:
        return MappingProxyType(dict(await self._fetch(statements.REVISIONS)))

    async def await_change(self) -> None:
        if self._listener is None:
            self._listener = Listener(self._pool)
        await self._listener.wait()

    async def counts(self, container_id: str) -> Mapping[EntityKind, int]:
        count_rows = await self._fetch(statements.COUNTS, container_id)
        return MappingProxyType({EntityKind(kind): count for kind, count in count_rows})

    async def add_token(self, token: StoredToken) -> None:
        values = rows.from_token(token)
        added = await self._pool.write(lambda connection: connection.fetchval(pg.ADD_TOKEN, *values))
        if added is None:
            raise Conflict(f"token `{token.id}` already exists", code="token-taken")

    async def token(self, digest: str) -> StoredToken | None:
        token_rows = await self._fetch(statements.TOKEN_BY_DIGEST, digest)
        return rows.to_token(token_rows[0]) if token_rows else None

    async def tokens(self) -> Sequence[StoredToken]:
        return tuple(map(rows.to_token, await self._fetch(statements.ALL_TOKENS)))

    async def lease(self, name: str) -> Lease:
        lease_rows = await self._fetch(statements.LEASE_OF, name)
        return rows.to_lease(name, lease_rows[0] if lease_rows else None)

    async def put_lease(self, lease: Lease) -> Lease | None:
        values = (lease.name, lease.owner, lease.until_us, lease.version)
        version = await self._pool.write(lambda connection: connection.fetchval(dollar(statements.PUT_LEASE), *values))
        return None if version is None else replace(lease, version=version)

    async def audience_evaluation(self, container_id: str) -> AudienceEvaluation | None:
        evaluation_rows = await self._fetch(statements.AUDIENCE_EVALUATION, container_id)
        return rows.to_evaluation(evaluation_rows[0]) if evaluation_rows else None

    async def put_audience_evaluation(self, evaluation: AudienceEvaluation) -> None:
        async def work(connection: Connection) -> None:
            if await connection.fetchval(dollar(statements.CONTAINER_EXISTS), evaluation.container) is None:
                raise unknown_container(evaluation.container)
            await connection.execute(dollar(statements.PUT_AUDIENCE_EVALUATION), *rows.from_evaluation(evaluation))

        await self._pool.write(work)

    async def revoke_token(self, token_id: str, now_us: int) -> bool:
        async def work(connection: Connection) -> bool:
            row = await connection.fetchrow(pg.LOCK_TOKEN, token_id)
            token = row and rows.to_token(row)
            if not token or token.revoked_us is not None:
                return False
            await connection.execute(dollar(statements.REVOKE_TOKEN), now_us, token_id)
            return token.expires_us is None or now_us < token.expires_us

        return await self._pool.write(work)

    async def _fetch(self, statement: str, *values: object) -> Sequence[Any]:
        return await self._pool.read(lambda connection: connection.fetch(dollar(statement), *values))


async def _decode_versions(version_rows: Sequence[rows.Row]) -> tuple[Instance, ...]:
    versions: list[Instance] = []
    for start in range(0, len(version_rows), _DECODE_BATCH):
        if start:
            await asyncio.sleep(0)  # decoding a large library would block the loop too long
        versions += map(rows.to_version, version_rows[start : start + _DECODE_BATCH])
    return tuple(versions)


async def _check_versions(connection: Connection, container_id: str, written: Sequence[Instance]) -> None:
    """Check that each version can follow the stored and preceding ones. Raises Conflict."""
    touched = await connection.fetch(
        pg.HEADS_TOUCHED,
        container_id,
        [version.instance_id for version in written],
        [version.key for version in written],
    )
    heads = {
        instance_id: InstanceHead(key=key, etag=etag, deleted=bool(deleted))
        for instance_id, key, etag, deleted in touched
    }
    holders = {head.key: instance_id for instance_id, head in heads.items()}
    for version in written:
        check_version(version, heads.get(version.instance_id), holders.get(version.key))
        heads[version.instance_id] = InstanceHead(key=version.key, etag=version.etag, deleted=version.deleted)
        holders[version.key] = version.instance_id
