"""Ports of the store. `testing/store_contract.py` tests the same contract on every store.

For all stores: a method that writes returns only when the write is durable (it survives `kill -9` and,
at the default setting, a power cut), or raises and has written nothing. Methods may be called from
any number of tasks on one event loop. Returned values are immutable. Strings other than documents
contain no NUL; the interfaces reject it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from proffer.model.attribution import AttributedFeedback
from proffer.model.audience import AudienceEvaluation
from proffer.model.capping import (
    CapKey,
    CapRefusal,
    CapSubjects,
    CapUsage,
    DecisionRecorded,
    OfferCaps,
    OfferLimits,
    Reservation,
)
from proffer.model.customer import (
    EVENT_LIMITS,
    Attributes,
    Change,
    ChangeResult,
    Checkpoint,
    Customer,
    CustomerLookup,
    EncodedRecord,
    ErasureResult,
    EventLimits,
    Fragment,
    MembershipEvaluator,
    RedactionResult,
)
from proffer.model.events import DecisionEvent
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.model.lease import Lease
from proffer.model.token import StoredToken

MAX_SEEN_DAYS = 40
"""Number of days on which a server ran that a store remembers."""
POLL_SECONDS = 0.05
"""Polling interval of a store that is not notified of writes by other processes."""


class CatalogStore(Protocol):
    """Catalog store: containers and the versions of their objects."""

    async def containers(self) -> Sequence[Container]:
        """Return all containers with their current revision, oldest first. The order is by creation time, then id."""
        ...

    async def ensure_container(self, container: Container) -> Container:
        """Return the container of this organisation and sandbox; create it if there is none.

        An existing container is returned unchanged. Concurrent callers get the same one. Raises
        `Conflict` when the id of a new one belongs to another sandbox.
        """
        ...

    async def live(self, container_id: str) -> tuple[int, Sequence[Instance]]:
        """Return the container's revision and the newest version of every undeleted object.

        A consistent snapshot: nothing committed after that revision is in it. Ordered by
        revision. An unknown container has revision 0 and no objects.
        """
        ...

    async def live_at(self, container_id: str, revision: int, *, changed_since: int = 0) -> Sequence[Instance] | None:
        """Return the undeleted objects as of an earlier revision, in order of revision.

        Only those of which the newest version has at least the revision `changed_since`, which is not above
        `revision`. None if the container has no such revision. Takes memory for these objects only, however
        long the history.
        """
        ...

    async def version_at(self, container_id: str, revision: int, key: str) -> Instance | None:
        """Return the newest version up to a revision of the object with this canonical id; None for none.

        It may be a deletion.
        """
        ...

    async def since(self, container_id: str, revision: int) -> Sequence[Instance]:
        """Return all versions above this revision, deletions included, in order of revision."""
        ...

    async def commit(
        self,
        container_id: str,
        based_on: int,
        versions: Sequence[Instance],
        caps: Sequence[OfferCaps] | None = None,
    ) -> None:
        """Write these versions atomically as consecutive revisions from `based_on + 1`.

        `caps` are the limits of all offers among them, activated by the same write; None leaves that
        to `ensure_caps`.

        Each version must carry its `revision`, in this order (else ValueError); several may be
        versions of one object. Raises `StaleRevision` when the container's revision is no longer
        `based_on`, so checks made against that revision still hold once this returns; `NotFound`
        when there is no such container; `Conflict` when an `@id` belongs to another object, live or
        deleted, in either spelling, or when an object would change its `@id`, return after its
        deletion, or not increase its etag. Older versions are kept for `history`. Documents are
        read back as the same JSON: numbers, text and order of members.
        """
        ...

    async def history(self, container_id: str, instance_id: str) -> Sequence[Instance]:
        """Return all versions of one object, oldest first, a deletion last; may be empty."""
        ...

    async def revisions(self) -> Mapping[str, int]:
        """Return container id → revision as last committed by any process. Cheap: it is polled."""
        ...

    async def await_change(self) -> None:
        """Wait until another process may have committed: a notification or the polling interval.

        A caller that reads `revisions` each time this returns is at most 200 ms behind. Never raises.
        """
        ...

    async def counts(self, container_id: str) -> Mapping[EntityKind, int]:
        """Return the number of live objects by kind; kinds without any are absent."""
        ...


class TokenStore(Protocol):
    """Store of access tokens by digest."""

    async def add_token(self, token: StoredToken) -> None:
        """Add a token. Raises `Conflict` when its `id` or `digest` exists already."""
        ...

    async def token(self, digest: str) -> StoredToken | None:
        """Return the token with this digest, even if revoked or expired."""
        ...

    async def tokens(self) -> Sequence[StoredToken]:
        """Return all tokens, oldest first (by creation time, then id)."""
        ...

    async def revoke_token(self, token_id: str, now_us: int) -> bool:
        """Revoke a token; True if it was valid until now, neither revoked nor expired.

        A second call changes nothing and returns False, as does a call for an unknown token.
        """
        ...


class LeaseStore(Protocol):
    """Store of leases, and of the audience evaluations that they protect."""

    async def lease(self, name: str) -> Lease:
        """Return the lease of a task; version 0 if there never was one."""
        ...

    async def put_lease(self, lease: Lease) -> Lease | None:
        """Write a lease if the stored version is still `lease.version`; return it with its new version.

        None if it was changed meanwhile, and then nothing is written.
        """
        ...

    async def audience_evaluation(self, container_id: str) -> AudienceEvaluation | None:
        """Return the last complete evaluation of a container's audiences."""
        ...

    async def put_audience_evaluation(self, evaluation: AudienceEvaluation) -> None:
        """Replace the last complete evaluation of a container. Raises `NotFound` for an unknown container."""
        ...


@runtime_checkable
class GroupCommitStore(Protocol):
    """Store whose concurrent writes share commits (group commit)."""

    @property
    def pending_writes(self) -> int:
        """Number of writes whose commit has not started."""
        ...

    def on_group_commit(self, callback: Callable[[int], object]) -> None:
        """Call `callback` with each commit's number of writes, from any thread."""
        ...


class ProfileStore(Protocol):
    """Store of customers by container. Writing to an unknown container raises `NotFound`."""

    async def customers(self, container_id: str, identities: Sequence[IdentityKey]) -> Sequence[Customer]:
        """Return the distinct customers with these identities, oldest first. One read per identity."""
        ...

    async def lookup_for_decision(self, container_id: str, identities: Sequence[IdentityKey]) -> CustomerLookup:
        """Return `customers` for one decision, and whose counters apply to it.

        Counters are included where the same read gives them. An identity that joined a customer for counting
        finds no customer. Identities are in order, primary first.
        """
        ...

    async def fragments(self, container_id: str, customer: Customer) -> Sequence[Fragment]:
        """Return the customer's fragments, one for each source."""
        ...

    async def events(self, container_id: str, keys: Sequence[int], since_us: int) -> Sequence[Attributes]:
        """Return the newest `MAX_EVENTS` events of these customers since `since_us`, oldest first."""
        ...

    async def apply_changes(
        self,
        container_id: str,
        changes: Sequence[Change],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        checkpoint: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        """Apply these changes in order and return the result of each.

        A rejected change has no effect on the others; all others are written atomically, with the
        checkpoint. A change that names several customers merges them into the oldest; one that names
        none creates a customer. A record whose digest is known and an event whose id exists are not
        written. Afterwards `qualify`, which must have no side effects, gives the membership of every
        customer changed.
        """
        ...

    async def bulk_apply(
        self,
        container_id: str,
        records: Sequence[EncodedRecord],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        checkpoint: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        """Do what `apply_changes` does for encoded records; fast where all customers are new."""
        ...

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        """Return at most `limit` customers with keys above `after`, in key order."""
        ...

    async def requalify(
        self,
        container_id: str,
        after: int,
        limit: int,
        *,
        now_us: int,
        qualify: MembershipEvaluator,
        limits: EventLimits = EVENT_LIMITS,
    ) -> tuple[int | None, int]:
        """Evaluate the membership of one page of customers again.

        Returns the last key read (None: no more customers) and how many changed. A `qualify` that is a
        `PageEvaluator` gets the page first.
        """
        ...

    async def customers_by_key(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        """Return those of these customers that exist."""
        ...

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        """Return the number of customers, and the lowest and highest possible key."""
        ...

    async def erase(self, container_id: str, identity: IdentityKey) -> ErasureResult | None:
        """Delete the customer with this identity and all their data; None where there is none.

        An identity that joined a customer only leaves it. One of a counting owner without a customer deletes that
        owner's counters.
        """
        ...

    async def checkpoint(self, container_id: str, name: str) -> Checkpoint | None:
        """Return the last checkpoint of this name."""
        ...

    async def delete_checkpoint(self, container_id: str, name: str) -> None:
        """Delete the checkpoint of this name."""
        ...

    async def untrimmed_identities(self, limit: int) -> Sequence[tuple[str, IdentityKey]]:
        """Return (container, identity) pairs that an earlier version stored with blanks around the id."""
        ...

    async def delete_untrimmed(self, identities: Sequence[tuple[str, IdentityKey]]) -> None:
        """Delete these pairs from the list of `untrimmed_identities`."""
        ...

    async def purge_digests(self, before_us: int) -> int:
        """Delete record digests older than this moment; return how many."""
        ...


class CapStore(Protocol):
    """Store of cap counters, reservations and decision events. An unknown container has none."""

    async def ensure_caps(self, container_id: str, revision: int, caps: Iterable[OfferCaps]) -> None:
        """Activate the limits of all live offers at this revision.

        Needed where commits did not do so. Does nothing when the limits in force are of this revision or a
        later one. Raises `StaleRevision` when they are older and the container's revision is already higher.
        """
        ...

    async def usage(
        self,
        container_id: str,
        limits: OfferLimits,
        subjects: CapSubjects,
        now_us: int,
    ) -> CapUsage:
        """Return the use of these limits: in total, or summed over these subjects.

        May lag behind other processes by the interval between calls of `catch_up`; `record` never does.
        Cheap: at most one read per subject. Global limits far from reached may be left out.
        """
        ...

    async def global_usage(self, container_id: str, offer: str, now_us: int) -> Mapping[CapKey, int]:
        """Return the use of an offer's global limits, zeros included; it may lag as that of `usage`."""
        ...

    async def record(
        self,
        container_id: str,
        event: DecisionEvent,
        *,
        ttl_us: int | None = None,
        forced: bool = False,
    ) -> DecisionRecorded | CapRefusal:
        """Count the offers of this decision and store its event.

        Does both in one write, or nothing. Compares with the limits in force at that moment, not those the
        decision saw (R22). Identities are resolved in the same transaction. The check uses the sum over all
        customers named, and over the identities that nobody holds; those join the oldest customer, else the
        oldest counting owner, else a new one, which is incremented (R48). A refused decision joins nothing. With
        `ttl_us` the counts are a reservation, which expires after that time unless confirmed. Concurrent
        calls share a write. `forced` counts offers already given, whatever the limits are.
        """
        ...

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        """Confirm the reservation of a decision. Idempotent.

        Raises `NotFound` where there is no reservation, `Conflict` where it was released or expired.
        """
        ...

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        """Release the reservation of a decision. Idempotent.

        Raises `NotFound` where there is no reservation, `Conflict` where it is confirmed.
        """
        ...

    async def reservation(self, container_id: str, decision: str, now_us: int) -> Reservation | None:
        """Return the reservation of a decision as of now; None where there is none."""
        ...

    async def catch_up(self, now_us: int) -> None:
        """Read counts of other processes and release expired reservations. Cheap: called often."""
        ...

    async def check_writable(self) -> None:
        """Commit a write that changes nothing. Raises `StoreUnavailable` where that is not possible."""
        ...

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        """Return the decision with this id. An edge proposition id of one of its scopes also identifies it."""
        ...

    async def index_edge_ids(self) -> None:
        """Index the packs that edge id look-ups left out. May take long; works in short steps."""
        ...

    async def decisions_of(self, container_id: str, propositions: Sequence[str]) -> Mapping[str, DecisionEvent]:
        """Return the decisions of many propositions by id; unknown ids are absent.

        For edge ids not indexed yet, a bounded number of the newest decisions is scanned. An older
        decision is found after `index_edge_ids`.
        """
        ...

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        """Return at most `limit` packs of events after pack `after`, with numbers.

        Numbers increase; continuing from the last one read misses nothing and repeats nothing.
        """
        ...

    async def record_day(self, day: int, count: int) -> int | None:
        """Record that a server ran on this day; return the first of the last `count` such days up to it.

        None if there are fewer. Days are numbered from 1970-01-01. At most `MAX_SEEN_DAYS` are kept.
        """
        ...

    async def purge_counters(self, before_us: int) -> int:
        """Delete counters ended and reservations settled before this moment; return how many counters.

        Identities that joined an owner before it leave if the owner then has neither.
        The value of a counter at any later moment does not change. Works in short writes.
        """
        ...

    async def purge_decisions(self, before_us: int, max_bytes: int | None = None) -> int:
        """Delete packs that exceed the limits of age and size.

        First those whose newest event is older than `before_us`, then the oldest while they exceed `max_bytes`.
        Returns the number of events deleted. Works in short writes.
        """
        ...


class FeedbackStore(Protocol):
    """Store of feedback events, attributed to decisions."""

    async def add_feedback(self, container_id: str, events: Sequence[AttributedFeedback]) -> Sequence[bool]:
        """Store and count these events in one write; return for each whether it is new.

        An event whose id exists changes nothing. Every limit in force that the event counts for, by
        offer and placement, is incremented even when it is reached. The subject is resolved from the
        decision's identities in the same transaction, as for a decision (R48); the period is that of
        the increment's time.
        """
        ...

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, unattributed_only: bool = False
    ) -> Sequence[tuple[int, AttributedFeedback]]:
        """Return at most `limit` events after number `after`, with their numbers.

        Numbers increase; continuing from the last one read misses nothing and repeats nothing.
        `unattributed_only`: events with an unattributed report. Increments are not included.
        """
        ...

    async def attribute_late(self, container_id: str, events: Sequence[tuple[int, AttributedFeedback]]) -> int:
        """Update the attribution of stored events, by number, in one write; return how many.

        Only new attributions are counted. An event without new attributions, or deleted meanwhile,
        changes nothing, so concurrent calls are safe.
        """
        ...

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        """Return the approximate time of the oldest decision in ms; None where there is none. Cheap."""
        ...

    async def purge_feedback(self, before_us: int, max_bytes: int | None = None) -> int:
        """Delete events received before, then the oldest while they exceed `max_bytes`; how many.

        Works in short writes. The newest event stays.
        """
        ...

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> RedactionResult:
        """Remove personal data from decisions and feedback with one of these identities.

        Decisions and attributions stay; identities, profile data read and feedback documents are
        removed. Works in short writes; can be repeated after a failure. `after` skips what an earlier
        call returned as scanned.
        """
        ...


class StoreReader(Protocol):
    """The part of a store that reads libraries and customers."""

    async def containers(self) -> Sequence[Container]: ...

    async def live(self, container_id: str) -> tuple[int, Sequence[Instance]]: ...

    async def customer_count(self, container_id: str) -> tuple[int, int, int]: ...

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]: ...

    async def customers_by_key(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]: ...

    async def events(self, container_id: str, keys: Sequence[int], since_us: int) -> Sequence[Attributes]: ...

    async def close(self) -> None: ...


class Store(CatalogStore, TokenStore, ProfileStore, CapStore, FeedbackStore, LeaseStore, Protocol):
    """All stores in one database, so that one commit can span them."""

    async def close(self) -> None:
        """Finish pending writes, then release files and connections. Idempotent."""
        ...
