"""Validation of versions to commit, independent of the database. Shared by all stores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from proffer.errors import Conflict, NotFound
from proffer.model.instance import Container, Instance
from proffer.store.errors import StaleRevision


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHead:
    """Current state of an object, which its next version is checked against."""

    key: str
    etag: int
    deleted: bool


def existing_at(newest: Sequence[Instance], revision: int) -> Sequence[Instance] | None:
    """Return the undeleted among the newest versions at a revision; None if the last one is earlier."""
    if not newest or newest[-1].revision != revision:
        return None
    return [version for version in newest if not version.deleted]


def check_order(container_id: str, based_on: int, versions: Sequence[Instance]) -> None:
    """Raise ValueError when versions have a wrong container or revision. That is a caller's bug."""
    for revision, version in enumerate(versions, based_on + 1):
        if (version.container, version.revision) != (container_id, revision):
            raise ValueError(
                f"version of `{version.id}` says {version.container} at {version.revision}, "
                f"but it is written to {container_id} at {revision}"
            )


def check_revision(container_id: str, current: int | None, based_on: int) -> None:
    """Raise NotFound for an unknown container, StaleRevision when its revision differs."""
    if current is None:
        raise NotFound(f"there is no container `{container_id}`", code="container-not-found")
    if current != based_on:
        raise StaleRevision(
            f"container `{container_id}` is at revision {current}, not {based_on}: read again and retry",
            extra={"revision": current},
        )


def check_version(version: Instance, head: InstanceHead | None, holder: str | None) -> None:
    """Raise Conflict when this version is not a valid successor.

    `head`: current state of the object with this instance id, if any; `holder`: instance id of the
    object, live or deleted, with this version's `@id`, if any.
    """
    if holder is not None and holder != version.instance_id:
        raise Conflict(f"the id `{version.id}` is already in use by instance `{holder}`", code="id-taken")
    if head is None:
        return
    if head.key != version.key:
        raise Conflict(
            f"instance `{version.instance_id}` has the id `{head.key}`, which cannot become `{version.id}`",
            code="instance-taken",
        )
    if head.deleted:
        raise Conflict(f"`{version.id}` is deleted, and ids are not reused", code="deleted")
    if version.etag <= head.etag:
        raise Conflict(
            f"`{version.id}` is at etag {head.etag}, which {version.etag} cannot follow",
            code="old-etag",
        )


def container_id_conflict(container: Container) -> Conflict:
    """Return the Conflict for a container id of another organisation or sandbox."""
    return Conflict(f"the container id `{container.id}` is already in use", code="container-taken")


def unknown_container(container_id: str) -> NotFound:
    return NotFound(f"there is no container `{container_id[:100]}`", code="container-not-found")


def encode_document(version: Instance) -> bytes:
    """Encode the document as JSON, with member order and exact numbers."""
    return msgspec.json.encode(dict(version.document))


def decode_document(text: bytes) -> dict[str, Any]:
    """Decode a document written by `encode_document`."""
    return msgspec.json.decode(text, type=dict[str, Any])
