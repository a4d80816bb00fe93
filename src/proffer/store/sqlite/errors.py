"""Conversion of SQLite errors to StoreUnavailable, and the error of a file that was replaced."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proffer.store.errors import StoreUnavailable


class FileReplaced(OSError):
    """The path of the database names another file than the open one, or none."""


class FileIdentity:
    """Identity of an open database file. What is written to a file without its name is lost."""

    def __init__(self, path: Path) -> None:
        self._path = str(path.absolute())
        self._identity = self._read()

    def check(self) -> None:
        """Raise FileReplaced if the path no longer names this file. Takes a microsecond or two."""
        try:
            is_same = self._read() == self._identity
        except FileNotFoundError:
            raise FileReplaced(_replaced("deleted")) from None
        if not is_same:
            raise FileReplaced(_replaced("replaced by another"))

    def _read(self) -> tuple[int, int]:
        status = os.stat(self._path)  # noqa: PTH116 - before every transaction: takes half the time of `Path.stat`
        return status.st_dev, status.st_ino


def _replaced(what: str) -> str:
    return f"its file was {what} while the server had it open; stop the server, put the right file there, start it"


def to_store_error(path: Path, error: Exception) -> StoreUnavailable:
    """Return a StoreUnavailable for an error of the database at `path`."""
    is_replaced = isinstance(error, FileReplaced) or isinstance(error.__cause__, FileReplaced)
    return StoreUnavailable(
        f"cannot use the database `{path}`: {error}", code="database-replaced" if is_replaced else None
    )


@contextmanager
def unavailable(path: Path) -> Iterator[None]:
    """Convert errors of the database and of its files to StoreUnavailable."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise to_store_error(path, error) from error
