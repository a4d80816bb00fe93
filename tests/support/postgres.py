"""PostgreSQL for tests: the server that PROFFER_TEST_POSTGRES names, else a temporary one.

All processes of a run, the workers of xdist included, share one server (`postgres_keeper.py`); each test
has its own database.
"""

import asyncio
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from proffer.store.postgres import migrate
from proffer.store.postgres.store import PostgresStore
from support import postgres_keeper

KEEPER = Path(postgres_keeper.__file__)
_CLEAN = """
    SELECT 'TRUNCATE ' || string_agg(quote_ident(c.relname), ', ') || ' RESTART IDENTITY CASCADE'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> 'schema_version'"""


@cache
def server_url() -> str:
    """Return the URL of the database from which others are created."""
    url = os.environ.get("PROFFER_TEST_POSTGRES")
    if url:
        return url
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")[:12]
    folder = Path(tempfile.gettempdir()) / f"proffer-pg-{run}"
    if len(str(folder)) > 80:  # a socket's path is short
        folder = Path("/tmp") / folder.name  # noqa: S108 - the name is this run's own
    join(folder, ())
    return url_of(folder)


def url_of(folder: Path, database: str = "postgres") -> str:
    return f"postgresql://proffer@/{database}?host={folder}"


_users: dict[Path, list[Any]] = {}


def join(folder: Path, settings: tuple[str, ...]) -> None:
    """Use the server in `folder` until this process ends; start it if it does not run."""
    with Path(f"{folder}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        folder.mkdir(mode=0o700, exist_ok=True)
        users = (folder / "users").open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
        _users[folder] = [users]
        if not (folder / "ready").exists():
            keeper = subprocess.Popen(
                [sys.executable, KEEPER, folder, *settings],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            _users[folder].append(keeper)
            _wait(folder)
    Path(f"{folder}.lock").unlink(missing_ok=True)


def leave(folder: Path) -> None:
    """Stop using the server; wait for its end if this process started it."""
    users, *keepers = _users.pop(folder)
    users.close()
    for keeper in keepers:
        keeper.wait(60)


def _wait(folder: Path) -> None:
    until = time.monotonic() + 90
    while not (folder / "ready").exists():
        if (folder / "failed").exists():
            raise RuntimeError((folder / "failed").read_text())
        if time.monotonic() > until:
            raise RuntimeError(f"PostgreSQL did not start in {folder}")
        time.sleep(0.02)


def with_database(url: str, database: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


_free: list[str] = []
_database_count = 0


async def fresh_database() -> str:
    """Return the URL of a migrated, empty database for this process."""
    if _free:
        url = _free.pop()
        await _empty(url)
        return url
    return await new_database(template=await _template())


async def new_database(*, template: str = "template1") -> str:
    """Create a database and return its URL."""
    global _database_count  # noqa: PLW0603 - a number for each
    _database_count += 1
    name = f"proffer_test_{os.getpid()}_{_database_count}"
    await _on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await _on_server(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return with_database(server_url(), name)


def return_database(url: str) -> None:
    """Make a database available for the next test."""
    _free.append(url)


async def drop_database(url: str) -> None:
    await _on_server(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')


_templates: list[str] = []


async def _template() -> str:
    """Return a migrated template; one per process, as processes may have different migrations."""
    if not _templates:
        url = await new_database()
        await migrate.migrate(url)
        _templates.append(urlsplit(url).path[1:])
    return _templates[0]


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(await connection.fetchval(_CLEAN))
    await connection.execute("ALTER SEQUENCE customer_keys RESTART")
    await connection.close()


async def _on_server(statement: str) -> None:
    connection = await asyncpg.connect(server_url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class PooledStore(PostgresStore):
    """A store over its own database, which is reused after the store is closed."""

    url: str | None = None

    @classmethod
    async def create(cls, **options: Any) -> Self:
        url = await fresh_database()
        store = await cls.open(url, **options)
        store.url = url
        return store

    async def close(self) -> None:
        await super().close()
        if self.url is not None:
            return_database(self.url)
            self.url = None


@asynccontextmanager
async def a_database() -> AsyncIterator[str]:
    """Provide a database for one test."""
    url = await fresh_database()
    try:
        yield url
    finally:
        return_database(url)


@contextmanager
def lent_database() -> Iterator[str]:
    """Provide a database for a test without an event loop."""
    url = asyncio.run(fresh_database())
    try:
        yield url
    finally:
        return_database(url)
