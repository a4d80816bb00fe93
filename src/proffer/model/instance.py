"""Stored entities: containers, and object versions with document and envelope.

The document is the truth: it is stored verbatim, with xcore names and unknown members. The typed model
is derived from it by `model/parse.py` when a snapshot is built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proffer.model.ids import EntityKind, canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The author of a write: a user (`<id>@AdobeID`, a token's label) and the client program."""

    user: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """The container of one sandbox of one organisation. `revision` is the number of its writes."""

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

    `etag` starts at 1 and increases by one with each write; `revision` is the number of the write in the
    container. Times are microseconds since 1970, UTC. `document` holds the object's own members including
    `@id`, and must not be mutated. A deletion is a version too: `deleted` is set and the document is the
    last one.
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
        """The canonical id, as used for references."""
        return canonical(self.id)

    @property
    def name(self) -> str:
        """The `xdm:name` or, of audiences and datastreams, the `name`; the id if there is none."""
        name = self.document.get("xdm:name", self.document.get("name"))
        return name if isinstance(name, str) else self.id


def format_timestamp(moment_us: int) -> str:
    """Format a time for the repository API: RFC 3339, microseconds, `Z`."""
    moment = datetime.fromtimestamp(moment_us // 1_000_000, UTC).replace(microsecond=moment_us % 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
