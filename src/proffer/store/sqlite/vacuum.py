"""VACUUM of a database: removes deleted data from the file and from its WAL."""

import sqlite3
from contextlib import closing
from pathlib import Path

from proffer.store.errors import StoreUnavailable
from proffer.store.sqlite.errors import unavailable
from proffer.store.sqlite.write_lock import WriteLock


def vacuum(path: Path, *, patience_s: float = 60) -> tuple[int, int]:
    """Rewrite the file; return its size in bytes before and after.

    Raises StoreUnavailable when there is no such file, when another process writes for longer than
    `patience_s`, or when a reader keeps the old WAL in use: no data is lost then, try again.
    """
    if not path.exists():
        raise StoreUnavailable(f"there is no database `{path}`")
    before = path.stat().st_size
    with (
        unavailable(path),
        closing(WriteLock(path, patience_s)) as write_lock,
        write_lock.held(),
        closing(sqlite3.connect(path, timeout=patience_s, isolation_level=None)) as connection,
    ):
        connection.execute("VACUUM")
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreUnavailable(
            f"`{path}` was rewritten, but another process reads the old log, which may hold erased data: "
            "run the command again"
        )
    return before, path.stat().st_size
