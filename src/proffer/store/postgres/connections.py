"""PostgreSQL connections: a pool, retried reads, and retried transactions.

A transaction lost before its COMMIT was sent is run again. One lost during COMMIT may have been committed
and must not run twice: each transaction writes a unique mark, and the database is queried for it. (A
transaction id would not do: ids are reused after a crash.)
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import asyncpg

from proffer.store.errors import StoreUnavailable
from proffer.store.postgres.errors import (
    CONFLICT_ERRORS,
    is_lost,
    redacted_url,
    to_store_error,
    unavailable,
)
from proffer.store.postgres.statements import MARK_EXISTS, MARK_WRITE, WRITER_ALIVE, dollar

Result = TypeVar("Result")
Connection: TypeAlias = Any
"""An `asyncpg` connection; it publishes no types."""
Work: TypeAlias = Callable[[Connection], Awaitable[Result]]

_CONNECT_S = 5
_MAX_LOST = 3
_MAX_CONFLICTS = 20
_MAX_SLEEP_S = 0.05

_SETTINGS = {
    "application_name": "proffer",
    "jit": "off",  # JIT compilation takes longer than any statement here
    # Releases the locks of a process that hangs in a transaction.
    "idle_in_transaction_session_timeout": "5000",
}


def execute_and_count(statement: str, *values: int | None) -> Work[int]:
    """Return a transaction that runs this portable statement. It returns the number of rows changed."""

    async def work(connection: Connection) -> int:
        return rows_changed(await connection.execute(dollar(statement), *values))

    return work


def rows_changed(status: str) -> int:
    """Return the row count in a command status such as `DELETE 3`."""
    return int(status.rpartition(" ")[2])


class RetryTransaction(Exception):
    """Raised in a transaction whose assumptions no longer hold: roll back and run it again."""


class _CommitUnknown(Exception):
    """The connection was lost during COMMIT; `result` is valid if the mark was committed."""

    def __init__(self, writer: str, mark: str, result: Any) -> None:
        super().__init__(mark)
        self.writer = writer
        self.mark = mark
        self.result = result


class Connections:
    """Pool of at most `size` connections to the database at `url`.

    They are opened on demand. The pool belongs to one event loop; use from another loop creates a new pool.
    """

    def __init__(self, url: str, *, size: int, patience_s: float, read_only: bool = False) -> None:
        self.url = url
        self._settings = {**_SETTINGS, "default_transaction_read_only": "on"} if read_only else _SETTINGS
        self._size = size
        self._patience_s = patience_s
        self._pool: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._name = secrets.token_hex(8)

    async def connect(self) -> Connection:
        """Open a connection owned by the caller."""
        with unavailable(self.url):
            return await asyncpg.connect(
                self.url,
                timeout=_CONNECT_S,
                command_timeout=self._patience_s,
                server_settings=self._settings,
            )

    async def close(self) -> None:
        """Wait for running work, then close all connections."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is None or self._loop is not asyncio.get_running_loop():
            return
        try:
            async with asyncio.timeout(self._patience_s):
                await pool.close()
        except Exception:  # noqa: BLE001 - an unavailable database must not block shutdown
            pool.terminate()

    async def read(self, work: Work[Result]) -> Result:
        """Run a read-only query; retry on another connection if one is lost."""
        with unavailable(self.url):
            for _ in range(_MAX_LOST - 1):
                with suppress(_ConnectionLost):
                    return await self._attempt(work)
            try:
                return await self._attempt(work)
            except _ConnectionLost as lost:
                raise lost.error from None

    async def snapshot(self, work: Work[Result]) -> Result:
        """Run several queries on one snapshot of the database."""

        async def in_snapshot(connection: Connection) -> Result:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await work(connection)

        return await self.read(in_snapshot)

    async def write(self, work: Work[Result], *, first: str = "") -> Result:
        """Run `work` in a transaction, after the statement `first`.

        `first` costs no round trip. Returns once `work` is committed, or raises and nothing is written.

        `work` may run several times, so it must not have effects beyond its connection. Raises
        StoreUnavailable when the database fails; if the connection is lost during COMMIT and cannot be
        restored, the message says that the outcome is unknown.
        """
        lost = conflicts = 0
        with unavailable(self.url):
            while True:
                try:
                    return await self._attempt(lambda connection: self._transaction(connection, work, first))
                except _CommitUnknown as unknown:
                    if await self._is_committed(unknown.writer, unknown.mark):
                        result: Result = unknown.result
                        return result
                    lost += 1
                except _ConnectionLost as error:
                    lost += 1
                    if lost >= _MAX_LOST:
                        raise error.error from None
                except (RetryTransaction, *CONFLICT_ERRORS):
                    conflicts += 1
                    if conflicts >= _MAX_CONFLICTS:
                        raise StoreUnavailable(
                            f"concurrent writes kept changing the same rows of `{redacted_url(self.url)}`: try again"
                        ) from None
                    await asyncio.sleep(random.uniform(0, _MAX_SLEEP_S))  # noqa: S311 - not a secret

    async def _attempt(self, work: Work[Result]) -> Result:
        pool = await self._get_pool()
        try:
            async with pool.acquire(timeout=self._patience_s) as connection:
                try:
                    return await work(connection)
                except Exception as error:
                    if is_lost(error):
                        with suppress(asyncpg.InterfaceError):  # closed already
                            connection.terminate()  # so that the pool does not reuse it
                    raise
        except Exception as error:
            if is_lost(error):
                raise _ConnectionLost(error) from error
            raise

    async def _get_pool(self) -> Any:
        if self._closed:
            raise to_store_error(self.url, ValueError("the store is closed"))
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            self._loop = loop
            self._pool = await asyncpg.create_pool(
                self.url,
                min_size=0,  # opens no connection here
                max_size=self._size,
                timeout=_CONNECT_S,
                command_timeout=self._patience_s,
                server_settings=self._settings,
                reset=_skip_reset,
            )
        return self._pool

    async def _transaction(self, connection: Connection, work: Work[Result], first: str = "") -> Result:
        writer, mark = f"{self._name}/{connection.get_server_pid()}", secrets.token_hex(8)
        try:
            await connection.execute(f"BEGIN; {first}")
            result = await work(connection)
            await connection.execute(MARK_WRITE, writer, mark, time.time_ns() // 1000)
        except BaseException:
            with suppress(Exception):  # if the connection is lost, so is the transaction
                await connection.execute("ROLLBACK")
            raise
        try:
            await connection.execute("COMMIT")
        except Exception as error:
            if not is_lost(error):
                raise
            raise _CommitUnknown(writer, mark, result) from error
        return result

    async def _is_committed(self, writer: str, mark: str) -> bool:
        """Return whether a transaction lost during COMMIT was committed."""

        async def is_marked(connection: Connection) -> bool:
            return await connection.fetchval(MARK_EXISTS, writer, mark) is not None

        async def is_ended(connection: Connection) -> bool:
            """Return whether the server process has ended; until then it may still commit."""
            pid = int(writer.rpartition("/")[2])
            return await connection.fetchval(WRITER_ALIVE, pid) is None

        deadline = asyncio.get_running_loop().time() + self._patience_s
        while asyncio.get_running_loop().time() < deadline:
            with suppress(_ConnectionLost):
                connection_ended = await self._attempt(is_ended)
                if await self._attempt(is_marked):
                    return True
                if connection_ended:
                    return False
            await asyncio.sleep(_MAX_SLEEP_S)
        raise StoreUnavailable(
            f"the connection to `{redacted_url(self.url)}` was lost during a write, "
            "and its outcome is not known: read again",
            code="write-unknown",
        )


class _ConnectionLost(Exception):
    """The connection was lost during work; `error` is the original exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def _skip_reset(connection: Connection) -> None:
    """Skip the session reset of the pool, which saves a round trip: no session state is changed."""
    del connection
