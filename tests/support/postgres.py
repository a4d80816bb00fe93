"""A PostgreSQL for the tests: the one that PROFFER_TEST_POSTGRES names, else one of this run's own.

Everybody in one run, the workers of xdist included, shares one server (`postgres_keeper.py`), and each
test has a database to itself.
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
    """The database to connect to for making others."""
    given = os.environ.get("PROFFER_TEST_POSTGRES")
    if given:
        return given
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")[:12]
    folder = Path(tempfile.gettempdir()) / f"proffer-pg-{run}"
    if len(str(folder)) > 80:  # a socket's path is short
        folder = Path("/tmp") / folder.name  # noqa: S108 - the name is this run's own
    join(folder, ())
    return url_of(folder)


def url_of(folder: Path, database: str = "postgres") -> str:
    return f"postgresql://proffer@/{database}?host={folder}"


_held: dict[Path, list[Any]] = {}


def join(folder: Path, settings: tuple[str, ...]) -> None:
    """Become a user of the server in `folder`, until this process ends; start it if nobody has."""
    with Path(f"{folder}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        folder.mkdir(mode=0o700, exist_ok=True)
        users = (folder / "users").open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
        _held[folder] = [users]
        if not (folder / "ready").exists():
            keeper = subprocess.Popen(
                [sys.executable, KEEPER, folder, *settings],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            _held[folder].append(keeper)
            _wait(folder)
    Path(f"{folder}.lock").unlink(missing_ok=True)


def leave(folder: Path) -> None:
    """Be a user of it no longer; wait until it is gone, if this was the last."""
    users, *keepers = _held.pop(folder)
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


def named(url: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


_free: list[str] = []
_made = 0


async def fresh_database() -> str:
    """The URL of a database that is migrated and empty, and of this process alone."""
    if _free:
        url = _free.pop()
        await _empty(url)
        return url
    return await new_database(template=await _template())


async def new_database(*, template: str = "template1") -> str:
    """The URL of a new database."""
    global _made  # noqa: PLW0603 - a number for each
    _made += 1
    name = f"proffer_test_{os.getpid()}_{_made}"
    await _on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await _on_server(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return named(server_url(), name)


def give_back(url: str) -> None:
    """Whoever asks next gets this one."""
    _free.append(url)


async def drop_database(url: str) -> None:
    await _on_server(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')


_template_made: list[str] = []


async def _template() -> str:
    """A migrated database to copy; each process makes its own, as it may know other migrations."""
    if not _template_made:
        url = await new_database()
        await migrate.migrate(url)
        _template_made.append(urlsplit(url).path[1:])
    return _template_made[0]


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


class LentStore(PostgresStore):
    """A store over a database of its own, which the next test gets when it is closed."""

    lent: str | None = None

    @classmethod
    async def fresh(cls, **options: Any) -> Self:
        url = await fresh_database()
        store = await cls.open(url, **options)
        store.lent = url
        return store

    async def close(self) -> None:
        await super().close()
        if self.lent is not None:
            give_back(self.lent)
            self.lent = None


@asynccontextmanager
async def a_database() -> AsyncIterator[str]:
    """A database for one story."""
    url = await fresh_database()
    try:
        yield url
    finally:
        give_back(url)


@contextmanager
def lent_database() -> Iterator[str]:
    """A database for one test that has no event loop."""
    url = asyncio.run(fresh_database())
    try:
        yield url
    finally:
        give_back(url)
