"""The store in one SQLite file: WAL, one writer thread with group commit, concurrent reads.

Single rows are read on the event loop: that takes ten microseconds and needs no thread, since in WAL
mode a reader does not wait. Lists are read in a reader thread, from one snapshot. Writes are jobs for
`group_commit.py`; the jobs and queries are in the `*_tx.py` modules.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self, TypeAlias, TypeVar

from proffer.model.audience import AudienceEvaluation
from proffer.model.capping import OfferCaps
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.model.lease import Lease
from proffer.model.token import StoredToken
from proffer.store.common.versions import check_order, existing_at
from proffer.store.ports import POLL_SECONDS
from proffer.store.sql import rows, statements
from proffer.store.sqlite import caps_tx as caps_work
from proffer.store.sqlite import catalog_tx as work
from proffer.store.sqlite.caps import SqliteCaps
from proffer.store.sqlite.customers import SqliteCustomers
from proffer.store.sqlite.errors import FileIdentity, to_store_error, unavailable
from proffer.store.sqlite.feedback import SqliteFeedback
from proffer.store.sqlite.group_commit import BatchHandler, GroupCommitter, Job
from proffer.store.sqlite.migrate import ensure_schema
from proffer.store.sqlite.write_lock import WriteLock

Result = TypeVar("Result")
Item = TypeVar("Item")
_CACHED_STATEMENTS = 512
"""Size of the statement cache; multi-row statements come in many sizes."""
Synchronous: TypeAlias = Literal["FULL", "NORMAL", "OFF"]

_POINT_READ_PATIENCE_S = 0.05
"""A reader waits only during WAL recovery; on the event loop the timeout is short."""


class SqliteStore(SqliteCustomers, SqliteCaps, SqliteFeedback):
    """A `Store` in one file, created by `open`. Several processes may open the same file."""

    def __init__(
        self, path: Path, *, synchronous: Synchronous, busy_timeout_s: float, write_wait_s: float | None
    ) -> None:
        super().__init__()
        self._path = path
        self._close_lock = threading.Lock()
        self._closed = False
        with unavailable(path), ExitStack() as stack:
            write_lock = WriteLock(path, busy_timeout_s)
            stack.callback(write_lock.close)
            write_connection = _connect(path, busy_timeout_s, stack)
            write_connection.execute(f"PRAGMA synchronous = {synchronous}")
            # A checkpoint blocks the writer for some syncs, so it is rare; decisions mostly rewrite the
            # same pages. Above this, the WAL index needs a second table, which slows readers.
            write_connection.execute("PRAGMA wal_autocheckpoint = 4000")
            write_connection.execute("PRAGMA cache_size = -8000")  # KiB; the cache of the file system has the rest
            self._list_connection = _connect(path, busy_timeout_s, stack)
            self._point_connection = _connect(path, _POINT_READ_PATIENCE_S, stack)
            self._file_identity = FileIdentity(path)
            self._snapshot_loop: asyncio.AbstractEventLoop | None = None
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="proffer-reader")
            stack.callback(self._reader.shutdown)
            self._writer = GroupCommitter(
                write_connection,
                write_lock,
                partial(to_store_error, path),
                round(busy_timeout_s * 1000),
                write_wait_s,
                self._file_identity.check,
            )
            stack.callback(self._writer.close)
            self._exit_stack = stack.pop_all()

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        synchronous: Synchronous = "FULL",
        busy_timeout_s: float = 10,
        write_wait_s: float | None = None,
        migrate: bool = False,
    ) -> Self:
        """Open the database at `path`, creating it when absent or empty.

        `migrate` allows migrating an older database; without it an older one raises SchemaMismatch,
        as a newer one always does. With `synchronous` other than FULL a power cut may lose the last
        commits; a killed process loses none. A write that waits longer than `busy_timeout_s` for
        another process raises StoreUnavailable; a decision that has not begun to be written after
        `write_wait_s` raises WriteDelayed.
        """
        path = Path(path)
        await asyncio.to_thread(ensure_schema, path, migrating=migrate, patience_s=busy_timeout_s)
        return await asyncio.to_thread(
            cls, path, synchronous=synchronous, busy_timeout_s=busy_timeout_s, write_wait_s=write_wait_s
        )

    async def close(self) -> None:
        """Finish all submitted writes, then release files and threads."""
        # Prevents reads on the loop while a thread closes their connection.
        self._closed = True
        self._end_snapshot()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._close_lock:
            self._exit_stack.close()  # does nothing the second time

    def submit(self, job: Job[Result]) -> asyncio.Future[Result]:
        """Run a job in the group commits; see `GroupCommitter.submit`."""
        return self._writer.submit(job)

    def submit_to(
        self, batch: BatchHandler[Item, Result], item: Item, *, may_be_withdrawn: bool = False
    ) -> asyncio.Future[Result]:
        """Submit an item to a batch handler; see `GroupCommitter.submit_to`."""
        return self._writer.submit_to(batch, item, may_be_withdrawn=may_be_withdrawn)

    @property
    def pending_writes(self) -> int:
        return self._writer.pending

    def on_group_commit(self, callback: Callable[[int], object]) -> None:
        self._writer.on_commit = callback

    async def containers(self) -> Sequence[Container]:
        return tuple(map(rows.to_container, await self._read_rows(statements.ALL_CONTAINERS)))

    async def ensure_container(self, container: Container) -> Container:
        # Read far more often than created, and containers are never deleted.
        sandbox = (container.organisation, container.sandbox)
        existing = self._read_row(statements.CONTAINER_OF, *sandbox)
        if existing is not None:
            return rows.to_container(existing)
        return await self.submit(partial(work.ensure_container, container=container))

    async def live(self, container_id: str) -> tuple[int, Sequence[Instance]]:
        return await self._read_in_thread(partial(work.live, container_id=container_id))

    async def live_at(self, container_id: str, revision: int, *, changed_since: int = 0) -> Sequence[Instance] | None:
        values = (container_id, revision, container_id, revision, container_id, changed_since)
        return existing_at(await self._read_versions(statements.LIVE_AT, *values), revision)

    async def version_at(self, container_id: str, revision: int, key: str) -> Instance | None:
        versions = await self._read_versions(statements.VERSION_AT, container_id, container_id, key, revision)
        return versions[0] if versions else None

    async def since(self, container_id: str, revision: int) -> Sequence[Instance]:
        return await self._read_versions(statements.SINCE, container_id, revision)

    async def commit(
        self,
        container_id: str,
        based_on: int,
        versions: Sequence[Instance],
        caps: Sequence[OfferCaps] | None = None,
    ) -> None:
        written = tuple(versions)
        check_order(container_id, based_on, written)
        await self.submit(
            partial(
                caps_work.commit,
                container_id=container_id,
                based_on=based_on,
                written=written,
                caps=None if caps is None else tuple(caps),
            )
        )
        if caps:
            self._refresh_cache()

    async def history(self, container_id: str, instance_id: str) -> Sequence[Instance]:
        return await self._read_versions(statements.HISTORY, container_id, instance_id)

    async def revisions(self) -> Mapping[str, int]:
        with unavailable(self._path):
            self._file_identity.check()  # this is polled
            result_rows = work.fetch_all(self._loop_connection(), statement=statements.REVISIONS, values=())
        return MappingProxyType(dict(result_rows))

    async def await_change(self) -> None:
        await asyncio.sleep(POLL_SECONDS)

    async def counts(self, container_id: str) -> Mapping[EntityKind, int]:
        result_rows = await self._read_rows(statements.COUNTS, container_id)
        return MappingProxyType({EntityKind(kind): count for kind, count in result_rows})

    async def add_token(self, token: StoredToken) -> None:
        await self.submit(partial(work.add_token, token=token))

    async def token(self, digest: str) -> StoredToken | None:
        row = self._read_row(statements.TOKEN_BY_DIGEST, digest)
        return None if row is None else rows.to_token(row)

    async def tokens(self) -> Sequence[StoredToken]:
        return tuple(map(rows.to_token, await self._read_rows(statements.ALL_TOKENS)))

    async def lease(self, name: str) -> Lease:
        return rows.to_lease(name, self._read_row(statements.LEASE_OF, name))

    async def put_lease(self, lease: Lease) -> Lease | None:
        return await self.submit(partial(work.put_lease, lease=lease))

    async def audience_evaluation(self, container_id: str) -> AudienceEvaluation | None:
        row = self._read_row(statements.AUDIENCE_EVALUATION, container_id)
        return None if row is None else rows.to_evaluation(row)

    async def put_audience_evaluation(self, evaluation: AudienceEvaluation) -> None:
        await self.submit(partial(work.put_audience_evaluation, evaluation=evaluation))

    async def revoke_token(self, token_id: str, now_us: int) -> bool:
        return await self.submit(partial(work.revoke_token, token_id=token_id, now_us=now_us))

    def _loop_connection(self) -> sqlite3.Connection:
        """Return the connection for single rows on the event loop.

        All reads of one loop iteration share a read transaction, which halves their cost. Callers cannot
        see stale data: whoever has learned of a commit reads in a later iteration.
        """
        if self._closed:
            raise sqlite3.ProgrammingError("the store is closed")
        loop = asyncio.get_running_loop()
        if self._snapshot_loop is not loop:
            self._end_snapshot()  # of a loop that has ended
            loop.call_soon(self._end_snapshot)
            self._point_connection.execute("BEGIN")
            self._snapshot_loop = loop
        return self._point_connection

    def _end_snapshot(self) -> None:
        if self._snapshot_loop is not None:
            self._snapshot_loop = None
            with suppress(sqlite3.Error):
                self._point_connection.execute("ROLLBACK")

    def _read_row(self, statement: str, *values: object) -> rows.Row | None:
        """Return the first row of a statement, read on the event loop."""
        with unavailable(self._path):
            return work.fetch_one(self._loop_connection(), statement, *values)

    def _read_on_loop(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a query of a few single rows on the event loop."""
        try:  # cheaper than `unavailable`: every decision runs this
            return query(self._loop_connection())
        except (sqlite3.Error, OSError) as error:
            raise to_store_error(self._path, error) from error

    async def _read_rows(self, statement: str, *values: object) -> Sequence[rows.Row]:
        return await self._read_in_thread(partial(work.fetch_all, statement=statement, values=values))

    async def _read_versions(self, statement: str, *values: object) -> Sequence[Instance]:
        return await self._read_in_thread(partial(work.versions, statement=statement, values=values))

    async def _read_in_thread(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a query in the reader thread, on one database snapshot."""
        if self._closed:
            raise to_store_error(self._path, ValueError("the store is closed"))
        loop = asyncio.get_running_loop()
        with unavailable(self._path):
            return await loop.run_in_executor(self._reader, _in_snapshot, self._list_connection, query)


def _connect(path: Path, patience_s: float, stack: ExitStack) -> sqlite3.Connection:
    """Open a connection usable from any one thread at a time. It is closed with `stack`."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",  # mode=rw: the file must exist
        uri=True,
        timeout=patience_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    stack.callback(connection.close)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _in_snapshot(connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], Result]) -> Result:
    connection.execute("BEGIN")
    try:
        return query(connection)
    finally:
        connection.execute("ROLLBACK")  # read only: nothing to commit
