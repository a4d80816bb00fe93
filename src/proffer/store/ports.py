"""What a store promises. `testing/store_contract.py` is the same promise as tests, run on every store.

Common to all: a method that writes returns only when the write is durable (it survives `kill -9` and,
at the default setting, a power cut), or raises and has written nothing. Methods may be called from
any number of tasks on one event loop. What a store gives back is immutable.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from proffer.model.customer import (
    EVENT_LIMITS,
    Attributes,
    Change,
    Customer,
    EncodedRecord,
    Erased,
    EventLimits,
    Fragment,
    Mark,
    Qualify,
    Taken,
)
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Container, Instance
from proffer.model.token import StoredToken


class CatalogStore(Protocol):
    """Libraries: containers and the versions of their objects."""

    async def containers(self) -> Sequence[Container]:
        """Every container, oldest first (by creation time, then id), with its current revision."""
        ...

    async def ensure_container(self, container: Container) -> Container:
        """The container of this organisation and sandbox: the one that exists, else this one, created.

        An existing container is returned as it is, whatever else `container` says. Two callers at
        once get the same one. Raises `Conflict` when the id of a new one belongs to another sandbox.
        """
        ...

    async def live(self, container_id: str) -> tuple[int, Sequence[Instance]]:
        """The container's revision and the newest version of every object that is not deleted.

        One consistent picture: nothing committed later than that revision is in it. Ordered by
        revision. An unknown container has revision 0 and no objects.
        """
        ...

    async def since(self, container_id: str, revision: int) -> Sequence[Instance]:
        """Every version with a revision above this one, deletions included, in order of revision."""
        ...

    async def commit(self, container_id: str, based_on: int, versions: Sequence[Instance]) -> None:
        """Write these versions, all or nothing, as revisions `based_on + 1`, `based_on + 2`, …

        Each version's own `revision` says so already, in this order (ValueError otherwise), and
        several of them may be versions of one object. Raises `StaleRevision` when the container's
        revision is no longer `based_on`, so whatever was checked against that revision still holds
        once this returns; `NotFound` when there is no such container; `Conflict` when an `@id` is
        that of another object, alive or deleted, in either spelling, or when an object would change
        its `@id`, return after its deletion, or not raise its etag. Every older version is kept for
        `history`. Documents come back as the same JSON: numbers, text and order of members.
        """
        ...

    async def history(self, container_id: str, instance_id: str) -> Sequence[Instance]:
        """Every version of one object there has been, oldest first, a deletion last; maybe none."""
        ...

    async def revisions(self) -> Mapping[str, int]:
        """Container id to current revision, as last committed by any process. Cheap: it is polled."""
        ...

    async def counts(self, container_id: str) -> Mapping[EntityKind, int]:
        """How many live objects of each kind there are; kinds without any are absent."""
        ...


class TokenStore(Protocol):
    """Access tokens, by digest."""

    async def add_token(self, token: StoredToken) -> None:
        """Keep a new token. Its `id` and `digest` are unique: `Conflict` when one of them is kept."""
        ...

    async def token(self, digest: str) -> StoredToken | None:
        """The token with this digest, revoked and expired ones included."""
        ...

    async def tokens(self) -> Sequence[StoredToken]:
        """Every token, oldest first (by creation time, then id)."""
        ...

    async def revoke_token(self, token_id: str, now_us: int) -> bool:
        """Mark it revoked; True if it was valid until now, neither revoked nor expired.

        A second call changes nothing and is False, and so is one for an unknown token.
        """
        ...


class ProfileStore(Protocol):
    """Customers, by container. A container nobody created has none, and writing to it raises `NotFound`."""

    async def customers(
        self, container_id: str, identities: Sequence[IdentityKey]
    ) -> Sequence[Customer]:
        """Every customer whom one of these identities names, once, oldest first. Cheap: one read for an identity."""
        ...

    async def fragments(self, container_id: str, customer: Customer) -> Sequence[Fragment]:
        """What each source says of the customer; as many as it has sources."""
        ...

    async def events(
        self, container_id: str, keys: Sequence[int], since_us: int
    ) -> Sequence[Attributes]:
        """The events of these customers from that moment on, oldest first, at most `MAX_EVENTS`, the newest."""
        ...

    async def take_in(
        self,
        container_id: str,
        changes: Sequence[Change],
        *,
        now_us: int,
        qualify: Qualify | None = None,
        limits: EventLimits = EVENT_LIMITS,
        mark: Mark | None = None,
    ) -> Sequence[Taken]:
        """Make these changes in order and say what became of each.

        One that is refused has no effect and leaves the others be; all the others are written together,
        with the mark, or none is. A change that names several customers makes them one, the oldest; a
        change that names nobody makes a new one. Of a record whose digest was taken in before, and of an
        event whose id is kept, nothing is written. Afterwards `qualify` gives the membership of every
        customer touched; it must not have effects.
        """
        ...

    async def bring_in(
        self,
        container_id: str,
        records: Sequence[EncodedRecord],
        *,
        now_us: int,
        qualify: Qualify | None = None,
        limits: EventLimits = EVENT_LIMITS,
        mark: Mark | None = None,
    ) -> Sequence[Taken]:
        """The same as `take_in` for records in another form, quick where nobody among them is known."""
        ...

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        """Customers with keys above `after`, in order of keys."""
        ...

    async def requalify(
        self,
        container_id: str,
        after: int,
        limit: int,
        *,
        now_us: int,
        qualify: Qualify,
        limits: EventLimits = EVENT_LIMITS,
    ) -> tuple[int | None, int]:
        """Evaluate one page of customers anew: the last key looked at (None: there are no more), how many changed.

        A `qualify` that `Prepares` is shown the page first.
        """
        ...

    async def sample(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        """Those of these customers that there are."""
        ...

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        """How many customers there are; the lowest and the highest key that may have been given out."""
        ...

    async def erase(self, container_id: str, identity: IdentityKey) -> Erased | None:
        """Remove the person whom the identity names, with everything kept of them; None where there is nobody."""
        ...

    async def mark(self, container_id: str, name: str) -> Mark | None:
        """The last mark of this name."""
        ...

    async def unmark(self, container_id: str, name: str) -> None:
        """Forget the mark of this name."""
        ...

    async def forget_digests(self, before_us: int) -> int:
        """Forget the digests taken in before this moment; how many."""
        ...


class Store(CatalogStore, TokenStore, ProfileStore, Protocol):
    """Everything one database keeps, so that one commit can cover it."""

    async def close(self) -> None:
        """Finish what was promised, then release files and connections. Safe to call twice."""
        ...


__all__ = [
    "Actor",
    "CatalogStore",
    "Container",
    "EntityKind",
    "Instance",
    "ProfileStore",
    "Store",
    "TokenStore",
]
