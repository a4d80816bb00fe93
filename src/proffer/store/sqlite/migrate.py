"""Migration of a SQLite database to the current schema, by numbered files.

A migration and its version row are one transaction, so a kill leaves the schema before it. Migrating
holds the write lock, so concurrent calls apply each file once.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from proffer.store.errors import SchemaMismatch, StoreUnavailable
from proffer.store.sql import migrations as scripts
from proffer.store.sql.migrations import PROGRESS_TABLE, Migration, migrations_of
from proffer.store.sqlite.errors import unavailable
from proffer.store.sqlite.write_lock import WriteLock

__all__ = ["Migration", "ensure_schema", "known_migrations", "migrate", "pending_migrations"]


def known_migrations() -> Sequence[Migration]:
    """Return the SQLite migrations, in order."""
    return migrations_of("sqlite")


def newest_version() -> int:
    """Return the current schema version."""
    return known_migrations()[-1].version


def pending_migrations(path: Path) -> Sequence[str]:
    """Return the names of the migrations pending for `path`; all when the file is absent.

    Raises SchemaMismatch when the schema is newer, or the database is not Proffer's.
    """
    version = 0
    if path.exists():
        with unavailable(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
            version = schema_version(connection, path)
    return tuple(each.name for each in known_migrations() if each.version > version)


def migrate(path: Path, *, patience_s: float = 10, up_to: int | None = None) -> Sequence[str]:
    """Create or migrate the database at `path`; return the names of the migrations applied.

    `up_to` limits the version.

    Idempotent, safe against kills and concurrent processes. Raises SchemaMismatch when the schema is
    newer than this Proffer's.
    """
    with (
        unavailable(path),
        closing(WriteLock(path, patience_s)) as write_lock,
        write_lock.held(),
        closing(sqlite3.connect(path, timeout=patience_s, isolation_level=None)) as connection,
    ):
        version = schema_version(connection, path)
        # Persistent setting: readers do not block the writer, and a commit is one write and one sync.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        last = newest_version() if up_to is None else up_to
        pending = [each for each in known_migrations() if version < each.version <= last]
        for migration in pending:
            try:
                _apply(connection, migration)
            except sqlite3.Error as error:
                is_full = error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
                message = scripts.failed_message(str(path), migration, error, is_full=is_full)
                raise StoreUnavailable(message) from error
        return tuple(each.name for each in pending)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(scripts.VERSION_TABLE)
        for statement in _statements(migration.script):
            connection.execute(statement)
        connection.execute(
            scripts.ADD_VERSION,
            (migration.version, migration.name, time.time_ns() // 1000),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of the database, 0 for one without tables.

    Raises SchemaMismatch when it is newer than this Proffer's, or not Proffer's at all.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    if PROGRESS_TABLE in tables:
        raise SchemaMismatch(scripts.unfinished_message(str(path)))
    if "schema_version" not in tables:
        raise SchemaMismatch(f"`{path}` belongs to another program: use another file")
    (version,) = connection.execute(scripts.SCHEMA_VERSION).fetchone()
    if version > newest_version():
        raise SchemaMismatch(scripts.newer_schema_message(str(path), version, newest_version()))
    return int(version)


def ensure_schema(path: Path, *, migrating: bool, patience_s: float = 10) -> None:
    """Ensure that the database at `path` has the current schema. Raises SchemaMismatch.

    An absent or empty database is always migrated, an older one only with `migrating`.
    """
    pending = pending_migrations(path)
    if not pending:
        return
    if not migrating and len(pending) < len(known_migrations()):
        # Another process may be creating it, one migration at a time: check again when it is done.
        with (
            unavailable(path),
            closing(WriteLock(path, patience_s)) as write_lock,
            write_lock.held(),
        ):
            pending = pending_migrations(path)
        if not pending:
            return
        raise SchemaMismatch(scripts.pending_migrations_message(str(path), pending))
    migrate(path, patience_s=patience_s)


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
