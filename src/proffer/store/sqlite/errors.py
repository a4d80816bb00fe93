"""What goes wrong with a database, in words for whoever runs it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proffer.store.errors import StoreUnavailable


def fault(path: Path, error: Exception) -> StoreUnavailable:
    """The error of the database at `path` as our own, with its reason."""
    return StoreUnavailable(f"cannot use the database `{path}`: {error}")


@contextmanager
def unavailable(path: Path) -> Iterator[None]:
    """Raise StoreUnavailable in place of any error of the database or of the files it lives in."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise fault(path, error) from error
