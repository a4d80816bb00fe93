"""Which versions a container may take: the rules of `commit` that need no database. Shared by all stores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from proffer.errors import Conflict, NotFound
from proffer.model.instance import Container, Instance
from proffer.store.errors import StaleRevision


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the next version of an object is checked against: where the object stands now."""

    key: str
    etag: int
    deleted: bool


def check_order(container_id: str, based_on: int, versions: Sequence[Instance]) -> None:
    """Raise ValueError when the versions do not say the place they are written to: a mistake in the caller."""
    for revision, version in enumerate(versions, based_on + 1):
        if (version.container, version.revision) != (container_id, revision):
            raise ValueError(
                f"version of `{version.id}` says {version.container} at {version.revision}, "
                f"but it is written to {container_id} at {revision}"
            )


def check_revision(container_id: str, current: int | None, based_on: int) -> None:
    """Raise when there is no such container, or it is not at the revision the write was checked against."""
    if current is None:
        raise NotFound(f"there is no container `{container_id}`", code="container-not-found")
    if current != based_on:
        raise StaleRevision(
            f"container `{container_id}` is at revision {current}, not {based_on}: read again and retry",
            extra={"revision": current},
        )


def check_version(version: Instance, head: Head | None, holder: str | None) -> None:
    """Raise Conflict when this version cannot follow.

    `head` is where the object with this instance id stands, if there is one; `holder` the instance id
    of the object that has this version's `@id`, alive or deleted, if there is one.
    """
    if holder is not None and holder != version.instance_id:
        raise Conflict(f"the id `{version.id}` is taken by instance `{holder}`", code="id-taken")
    if head is None:
        return
    if head.key != version.key:
        raise Conflict(
            f"instance `{version.instance_id}` has the id `{head.key}`, which cannot become `{version.id}`",
            code="instance-taken",
        )
    if head.deleted:
        raise Conflict(f"`{version.id}` is deleted, and ids are not used again", code="deleted")
    if version.etag <= head.etag:
        raise Conflict(
            f"`{version.id}` is at etag {head.etag}, which {version.etag} cannot follow",
            code="old-etag",
        )


def container_taken(container: Container) -> Conflict:
    """The refusal of a new container whose id belongs to another organisation or sandbox."""
    return Conflict(f"the container id `{container.id}` is taken", code="container-taken")


def encode_document(version: Instance) -> bytes:
    """The document as JSON text, members in their order, numbers exact."""
    return msgspec.json.encode(dict(version.document))


def decode_document(text: bytes) -> dict[str, Any]:
    """The document of a JSON text as `encode_document` writes it."""
    return msgspec.json.decode(text, type=dict[str, Any])
