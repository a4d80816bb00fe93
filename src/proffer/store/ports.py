"""What a store promises. `testing/store_contract.py` is the same promise as tests, run on every store.

Common to all: a method that writes returns only when the write is durable (it survives `kill -9` and,
at the default setting, a power cut), or raises and has written nothing. Methods may be called from
any number of tasks on one event loop. What a store gives back is immutable. Texts other than documents
hold no NUL; the surfaces refuse it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from proffer.model.attribution import Attributed
from proffer.model.capping import (
    CapLimit,
    CapUsage,
    OfferCaps,
    Recorded,
    Refused,
    Reservation,
    Subjects,
)
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
    Redacted,
    Taken,
    Whom,
)
from proffer.model.events import DecisionEvent
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Container, Instance
from proffer.model.token import StoredToken

POLL_SECONDS = 0.05
"""How often a store that is not told looks for what other processes wrote."""


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

    async def commit(
        self,
        container_id: str,
        based_on: int,
        versions: Sequence[Instance],
        caps: Sequence[OfferCaps] | None = None,
    ) -> None:
        """Write these versions, all or nothing, as revisions `based_on + 1`, `based_on + 2`, …

        `caps` are the limits of every offer among them, put in force by the same write; None leaves that
        to `ensure_caps`.

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

    async def await_change(self) -> None:
        """Return when another process may have moved a revision: told so, or after the pause of a poll.

        Whoever looks at `revisions` each time this returns is never more than 200 ms behind. Never raises.
        """
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


@runtime_checkable
class CommitsGroups(Protocol):
    """A store whose writes share commits, as those do that live on a disk."""

    @property
    def writes_waiting(self) -> int:
        """How many writes wait for their commit to begin."""
        ...

    def watch_groups(self, told: Callable[[int], object]) -> None:
        """From now on call this with the number of writes in each commit, from whatever thread."""
        ...


class ProfileStore(Protocol):
    """Customers, by container. A container nobody created has none, and writing to it raises `NotFound`."""

    async def customers(
        self, container_id: str, identities: Sequence[IdentityKey]
    ) -> Sequence[Customer]:
        """Every customer whom one of these identities names, once, oldest first. Cheap: one read for an identity."""
        ...

    async def whom(self, container_id: str, identities: Sequence[IdentityKey]) -> Whom:
        """The `customers` as one decision asks for them, with their counters where those come along for nothing."""
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


class CapStore(Protocol):
    """Counters, and the decisions that moved them. A container nobody created has none."""

    async def ensure_caps(
        self, container_id: str, revision: int, caps: Iterable[OfferCaps]
    ) -> None:
        """Put the limits of all live offers at this revision in force, where commits have not said them.

        Does nothing where the limits in force are those of this revision or a later one. Raises
        `StaleRevision` where they are not, and the container has moved on: what is said is old.
        """
        ...

    async def usage(
        self,
        container_id: str,
        caps: Iterable[tuple[str, CapLimit]],
        subjects: Subjects,
        now_us: int,
    ) -> CapUsage:
        """How far these limits, each with its offer, are used by everybody, or by these subjects together.

        May lag behind other processes by the time between two calls of `catch_up`; `record` never does.
        Cheap: at most one read for a subject. Limits far from spent may be left out.
        """
        ...

    async def record(
        self,
        container_id: str,
        event: DecisionEvent,
        *,
        ttl_us: int | None = None,
        forced: bool = False,
    ) -> Recorded | Refused:
        """Count everything that this decision gives and put it on record, in one write, or do nothing.

        Compares with the limits in force at that moment, whatever the decision knew (R22). Whom the
        identities name is found out in the same transaction; all they reach is summed, and the oldest
        customer, else the first identity, is counted (R43). With `ttl_us` what is counted is a
        reservation: it comes back by itself after so long unless it is confirmed. Several calls at once
        share a write. `forced` counts what was given already, whatever the limits are.
        """
        ...

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        """Keep what a decision reserved. Done twice, it is done once.

        Raises `NotFound` where the decision reserved nothing, `Conflict` where it was given back.
        """
        ...

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        """Give back what a decision reserved. Done twice, it is done once.

        Raises `NotFound` where the decision reserved nothing, `Conflict` where it is confirmed.
        """
        ...

    async def reservation(
        self, container_id: str, decision: str, now_us: int
    ) -> Reservation | None:
        """How what a decision reserved stands at this moment; None where it reserved nothing."""
        ...

    async def catch_up(self, now_us: int) -> None:
        """Take in what other processes counted, and give back what expired. Cheap: it is called often."""
        ...

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        """The decision of this id, or the one that has the scope with this edge proposition id."""
        ...

    async def index_edge_ids(self) -> None:
        """Take in what look-ups for ids of the edge have left out. May take long; works in short steps."""
        ...

    async def decisions_of(
        self, container_id: str, propositions: Sequence[str]
    ) -> Mapping[str, DecisionEvent]:
        """The same for many, by the ids asked for; those that are on no record are left out.

        For ids of the edge that stand in no index yet, so many of the newest decisions are looked through
        as one request may wait for. A decision that is older is found after `index_edge_ids`.
        """
        ...

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        """At most `limit` packs of events written after the pack `after`, each with its number, in order.

        Numbers rise; going on from the last one seen misses nothing and repeats nothing.
        """
        ...

    async def forget_counters(self, before_us: int) -> int:
        """Forget the counters that ended before this moment, and reservations settled by then; how many counters.

        What a counter says at any moment from then on is the same as before. Works in short writes.
        """
        ...

    async def forget_decisions(self, before_us: int, most_bytes: int | None = None) -> int:
        """Forget the packs whose newest event is older, then the oldest until the rest take no more room.

        How many events are gone. Works in short writes.
        """
        ...


class FeedbackStore(Protocol):
    """What came back: events that report on decisions, with what they are about."""

    async def take_feedback(
        self, container_id: str, events: Sequence[Attributed]
    ) -> Sequence[bool]:
        """Keep these events and count them, in one write: for each whether it is new.

        One whose id is kept already changes nothing. Every limit in force of an offer moved, that the
        event counts for in that placement, counts one more, whatever it is compared with: what has happened
        has happened. It counts for whom the identities of the decision name in the same transaction, as
        a decision does (R43), and in the period of the moved moment.
        """
        ...

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, missed: bool = False
    ) -> Sequence[tuple[int, Attributed]]:
        """At most `limit` events kept after the one numbered `after`, with their numbers, in order.

        Numbers rise; going on from the last one seen misses nothing and repeats nothing. With `missed`
        only those in which something could not be attributed. What they moved is not said.
        """
        ...

    async def attribute_late(
        self, container_id: str, events: Sequence[tuple[int, Attributed]]
    ) -> int:
        """Give kept events, by their numbers, what they are about by now, in one write; how many.

        What is new of each is counted. One that is about no more than what is kept of it already, or is
        kept no more, changes nothing: two may do this at once.
        """
        ...

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        """About when the oldest decision on record was made, in milliseconds; None where there is none. Cheap."""
        ...

    async def forget_feedback(self, before_us: int, most_bytes: int | None = None) -> int:
        """Forget the events received before, then the oldest until the rest take no more room; how many.

        Works in short writes. The newest event stays.
        """
        ...

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> Redacted:
        """Take a person out of the decisions and the feedback on record, wherever one of these identities stands.

        What was decided and reported stays; who it was for, what was read of them and what the events
        say beyond that goes. Works in short writes; done again, it does what was left to do. `after`
        leaves out what an earlier call said it has been through.
        """
        ...


class Store(CatalogStore, TokenStore, ProfileStore, CapStore, FeedbackStore, Protocol):
    """Everything one database keeps, so that one commit can cover it."""

    async def close(self) -> None:
        """Finish what was promised, then release files and connections. Safe to call twice."""
        ...


__all__ = [
    "Actor",
    "CapStore",
    "CatalogStore",
    "Container",
    "EntityKind",
    "FeedbackStore",
    "Instance",
    "ProfileStore",
    "Store",
    "TokenStore",
]
