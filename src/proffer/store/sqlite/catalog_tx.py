"""Catalog queries and writer jobs of the SQLite store, inside the caller's transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeVar

from proffer.errors import Conflict
from proffer.model.instance import Container, Instance
from proffer.model.token import StoredToken
from proffer.store.common.versions import Head, check_revision, check_version, container_taken
from proffer.store.sql import rows, statements

T = TypeVar("T")

_TOGETHER = 250
"""Maximum number of keys in one statement."""


def portions(of: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split into chunks of the size of one statement."""
    return (of[start : start + _TOGETHER] for start in range(0, len(of), _TOGETHER))


def every(connection: sqlite3.Connection, *, statement: str, values: rows.Row) -> list[rows.Row]:
    """Return all rows of a statement."""
    return connection.execute(statement, values).fetchall()


def first(connection: sqlite3.Connection, statement: str, *values: object) -> rows.Row | None:
    """Return the first row of a statement, or None. Leaves no cursor open on its snapshot."""
    found = every(connection, statement=statement, values=values)
    return found[0] if found else None


def surplus(connection: sqlite3.Connection, *, size: str, sizes: str, most: int) -> int | None:
    """Return the newest row to delete, with all older ones, to keep at most `max_bytes`; or None.

    `size`: statement for the bytes of all rows; `sizes`: number and bytes of each, oldest first.
    """
    ((bytes_,),) = every(connection, statement=size, values=())
    last, over = None, bytes_ - most
    if over > 0:
        for number, length in connection.execute(sizes):
            last, over = number, over - length
            if over <= 0:
                break
    return last


def live(connection: sqlite3.Connection, *, container_id: str) -> tuple[int, tuple[Instance, ...]]:
    found = first(connection, statements.REVISION_OF, container_id)
    if found is None:
        return 0, ()
    return found[0], versions(
        connection, statement=statements.LIVE, values=(container_id, container_id)
    )


def versions(
    connection: sqlite3.Connection, *, statement: str, values: rows.Row
) -> tuple[Instance, ...]:
    return tuple(rows.to_version(row) for row in connection.execute(statement, values))


def ensure_container(connection: sqlite3.Connection, *, container: Container) -> Container:
    sandbox = (container.organisation, container.sandbox)
    existing = first(connection, statements.CONTAINER_OF, *sandbox)
    if existing is not None:
        return rows.to_container(existing)
    if first(connection, statements.CONTAINER_EXISTS, container.id):
        raise container_taken(container)
    connection.execute(statements.ADD_CONTAINER, rows.from_container(container))
    return container


def commit(
    connection: sqlite3.Connection, *, container_id: str, based_on: int, written: Sequence[Instance]
) -> None:
    found = first(connection, statements.REVISION_OF, container_id)
    check_revision(container_id, found[0] if found else None, based_on)
    for version in written:
        check_version(version, *_heads_touched(connection, version))
        connection.execute(statements.ADD_VERSION, rows.from_version(version))
        connection.execute(statements.PUT_HEAD, rows.head_of(version))
    if written:
        connection.execute(statements.MOVE_REVISION, (written[-1].revision, container_id))


def _heads_touched(
    connection: sqlite3.Connection, version: Instance
) -> tuple[Head | None, str | None]:
    """Return the head of the version's object, and the instance id that holds its `@id`."""
    head = holder = None
    touched = (version.container, version.instance_id, version.key)
    for instance_id, key, etag, deleted in every(
        connection, statement=statements.HEADS_TOUCHED, values=touched
    ):
        if instance_id == version.instance_id:
            head = Head(key=key, etag=etag, deleted=bool(deleted))
        if key == version.key:
            holder = instance_id
    return head, holder


def add_token(connection: sqlite3.Connection, *, token: StoredToken) -> None:
    if first(connection, statements.TOKEN_EXISTS, token.id, token.digest):
        raise Conflict(f"token `{token.id}` is kept already", code="token-taken")
    connection.execute(statements.ADD_TOKEN, rows.from_token(token))


def revoke_token(connection: sqlite3.Connection, *, token_id: str, now_us: int) -> bool:
    found = first(connection, statements.TOKEN_BY_ID, token_id)
    token = found and rows.to_token(found)
    if not token or token.revoked_us is not None:
        return False
    connection.execute(statements.REVOKE_TOKEN, (now_us, token_id))
    return token.expires_us is None or now_us < token.expires_us
