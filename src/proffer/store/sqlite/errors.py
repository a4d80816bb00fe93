"""Conversion of SQLite errors to StoreUnavailable."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proffer.store.errors import StoreUnavailable


def to_store_error(path: Path, error: Exception) -> StoreUnavailable:
    """Return a StoreUnavailable for an error of the database at `path`."""
    return StoreUnavailable(f"cannot use the database `{path}`: {error}")


@contextmanager
def unavailable(path: Path) -> Iterator[None]:
    """Convert errors of the database and of its files to StoreUnavailable."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise to_store_error(path, error) from error
