"""What is kept: a container of a library, and one version of one object in it, document and envelope.

The document is the truth (it is kept verbatim, in the xcore spelling, unknown members included); the
typed model is derived from it by `model/parse.py` when a snapshot is built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proffer.model.ids import EntityKind, canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who writes: a user (`<id>@AdobeID`, a token's label) and the client program they used."""

    user: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """The library of one sandbox of one organisation. `revision` counts the writes it has seen."""

    id: str
    organisation: str
    sandbox: str
    name: str
    created_us: int
    created_by: Actor
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One version of one object.

    `etag` starts at 1 and rises by one with each write; `revision` is the version's place in the order
    of all writes to its container. Times are microseconds since 1970, UTC. `document` holds the
    object's own members, `@id` among them, and must not be changed by anyone. A deletion is a version
    too: `deleted` is set and the document is the last one.
    """

    container: str
    instance_id: str
    kind: EntityKind
    id: str
    etag: int
    revision: int
    created_us: int
    modified_us: int
    created_by: Actor
    modified_by: Actor
    document: Mapping[str, Any]
    deleted: bool = False

    @property
    def key(self) -> str:
        """The id under which references find it."""
        return canonical(self.id)

    @property
    def name(self) -> str:
        """Its `xdm:name`, or its id where it has none."""
        name = self.document.get("xdm:name")
        return name if isinstance(name, str) else self.id


def timestamp(moment_us: int) -> str:
    """A moment as the repository API prints it: RFC 3339, microseconds, `Z`."""
    moment = datetime.fromtimestamp(moment_us // 1_000_000, UTC).replace(
        microsecond=moment_us % 1_000_000
    )
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
