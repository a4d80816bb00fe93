"""SQLite catalog queries and writer jobs, inside the caller's transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from proffer.errors import Conflict
from proffer.model.audience import AudienceEvaluation
from proffer.model.instance import Container, Instance
from proffer.model.lease import Lease
from proffer.model.token import StoredToken
from proffer.store.common.versions import (
    InstanceHead,
    check_revision,
    check_version,
    container_id_conflict,
    unknown_container,
)
from proffer.store.sql import rows, statements

T = TypeVar("T")

_CHUNK_SIZE = 250
"""Maximum number of keys in one statement."""


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split into chunks of the size of one statement."""
    return (items[start : start + _CHUNK_SIZE] for start in range(0, len(items), _CHUNK_SIZE))


def fetch_all(connection: sqlite3.Connection, *, statement: str, values: rows.Row) -> list[rows.Row]:
    """Return all rows of a statement."""
    return connection.execute(statement, values).fetchall()


def fetch_one(connection: sqlite3.Connection, statement: str, *values: object) -> rows.Row | None:
    """Return the first row of a statement, or None. Leaves no cursor open on its snapshot."""
    result_rows = fetch_all(connection, statement=statement, values=values)
    return result_rows[0] if result_rows else None


def surplus_through(connection: sqlite3.Connection, *, size: str, sizes: str, max_bytes: int) -> int | None:
    """Return the newest row to delete to keep at most `max_bytes`.

    All older rows must be deleted too. None if there is no excess. `size`: statement for the bytes of all
    rows; `sizes`: number and bytes of each, oldest first.
    """
    ((total_bytes,),) = fetch_all(connection, statement=size, values=())
    last, excess = None, total_bytes - max_bytes
    if excess > 0:
        for number, length in connection.execute(sizes):
            last, excess = number, excess - length
            if excess <= 0:
                break
    return last


def live(connection: sqlite3.Connection, *, container_id: str) -> tuple[int, tuple[Instance, ...]]:
    row = fetch_one(connection, statements.REVISION_OF, container_id)
    if row is None:
        return 0, ()
    return row[0], versions(connection, statement=statements.LIVE, values=(container_id, container_id))


def versions(connection: sqlite3.Connection, *, statement: str, values: rows.Row) -> tuple[Instance, ...]:
    return tuple(rows.to_version(row) for row in connection.execute(statement, values))


def ensure_container(connection: sqlite3.Connection, *, container: Container) -> Container:
    sandbox = (container.organisation, container.sandbox)
    existing = fetch_one(connection, statements.CONTAINER_OF, *sandbox)
    if existing is not None:
        return rows.to_container(existing)
    if fetch_one(connection, statements.CONTAINER_EXISTS, container.id):
        raise container_id_conflict(container)
    connection.execute(statements.ADD_CONTAINER, rows.from_container(container))
    return container


def commit(connection: sqlite3.Connection, *, container_id: str, based_on: int, written: Sequence[Instance]) -> None:
    row = fetch_one(connection, statements.REVISION_OF, container_id)
    check_revision(container_id, row[0] if row else None, based_on)
    for version in written:
        check_version(version, *_current_heads(connection, version))
        connection.execute(statements.ADD_VERSION, rows.from_version(version))
        connection.execute(statements.PUT_HEAD, rows.head_row(version))
    if written:
        connection.execute(statements.MOVE_REVISION, (written[-1].revision, container_id))


def _current_heads(connection: sqlite3.Connection, version: Instance) -> tuple[InstanceHead | None, str | None]:
    """Return the head of the version's object, and its `@id`'s holder. The holder is an instance id."""
    head = holder = None
    touched = (version.container, version.instance_id, version.key)
    for instance_id, key, etag, deleted in fetch_all(connection, statement=statements.HEADS_TOUCHED, values=touched):
        if instance_id == version.instance_id:
            head = InstanceHead(key=key, etag=etag, deleted=bool(deleted))
        if key == version.key:
            holder = instance_id
    return head, holder


def add_token(connection: sqlite3.Connection, *, token: StoredToken) -> None:
    if fetch_one(connection, statements.TOKEN_EXISTS, token.id, token.digest):
        raise Conflict(f"token `{token.id}` already exists", code="token-taken")
    connection.execute(statements.ADD_TOKEN, rows.from_token(token))


def put_lease(connection: sqlite3.Connection, *, lease: Lease) -> Lease | None:
    row = fetch_one(connection, statements.PUT_LEASE, lease.name, lease.owner, lease.until_us, lease.version)
    return None if row is None else replace(lease, version=row[0])


def put_audience_evaluation(connection: sqlite3.Connection, *, evaluation: AudienceEvaluation) -> None:
    if fetch_one(connection, statements.CONTAINER_EXISTS, evaluation.container) is None:
        raise unknown_container(evaluation.container)
    connection.execute(statements.PUT_AUDIENCE_EVALUATION, rows.from_evaluation(evaluation))


def revoke_token(connection: sqlite3.Connection, *, token_id: str, now_us: int) -> bool:
    row = fetch_one(connection, statements.TOKEN_BY_ID, token_id)
    token = row and rows.to_token(row)
    if not token or token.revoked_us is not None:
        return False
    connection.execute(statements.REVOKE_TOKEN, (now_us, token_id))
    return token.expires_us is None or now_us < token.expires_us
