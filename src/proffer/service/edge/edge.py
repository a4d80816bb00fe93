"""Edge service: sites and apps send events to a datastream and get offers (edge 2 to 7).

One identity selects the customer. Identities sent together are linked, unless that would merge two
people who share a device.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec import structs

from proffer.errors import Invalid, ProfferError, Violation
from proffer.model.customer import (
    EVENT_LIMITS,
    Customer,
    CustomerLookup,
    EventLimits,
    ProfileRecord,
)
from proffer.model.feedback import Feedback, normalize_event, read_feedback
from proffer.model.identity import (
    DEVICE_NAMESPACES,
    MAX_ID,
    MAX_MAP_IDENTITIES,
    IdentityKey,
    too_many_identities,
)
from proffer.model.ingest_parse import IngestMessage
from proffer.model.instance import format_timestamp
from proffer.model.placement import Placement
from proffer.model.profile import Profile, ProfileIdentity, without_prefixes
from proffer.model.request import DecisionRequest, RequestedScope, ScopeRequest
from proffer.service.customers.ingest import IngestService
from proffer.service.customers.profiles import ProfileService, resolve_keys
from proffer.service.decisions.decide import DecideService, DecisionResult
from proffer.service.edge.datastreams import AuthorizedDatastream
from proffer.service.edge.named_scopes import DecisionNames
from proffer.service.event_log.feedback import FeedbackService
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import ProfileStore
from proffer.validation import parse_timestamp_us

MAX_OPTIONS = 100
"""Maximum number of offers over all scopes of one request."""
SURFACE = "edge"
ECID = "ECID"
DATASET = "edge"
"""Dataset of the customer records written by the edge."""

FEEDBACK_PREFIXES = ("_experience", "https://ns.adobe.com/experience/decisioning")
"""Prefixes of the event members that carry feedback on propositions."""
_DEVICES = frozenset(name.lower() for name in DEVICE_NAMESPACES)
_CONTEXT = "_xdm.context.additionalParameters;version=1"
"""Context type under which rules written for the decisioning API read the request's data."""


class EventIdentity(NamedTuple):
    """An identity in an event.

    `logged_out`: authenticatedState is loggedOut; it does not identify the current person.
    """

    namespace: str
    id: str
    primary: bool = False
    logged_out: bool = False


class EdgeService:
    """Use cases of the edge. The caller is the datastream itself."""

    def __init__(
        self,
        store: ProfileStore,
        registry: ContainerRegistry,
        decide: DecideService,
        profiles: ProfileService,
        ingest: IngestService,
        feedback: FeedbackService,
        clock: Clock,
        limits: EventLimits = EVENT_LIMITS,
    ) -> None:
        self._store = store
        self._registry = registry
        self._decide = decide
        self._profiles = profiles
        self._ingest = ingest
        self._feedback = feedback
        self._clock = clock
        self._limits = limits
        self._decision_names = DecisionNames()

    @property
    def now_us(self) -> int:
        return self._clock()

    async def resolve_profile(self, stream: AuthorizedDatastream, identities: Sequence[EventIdentity]) -> Profile:
        """Return the profile of the selected identity.

        It is the primary one, else a person's that is not logged out, else the device's. Raises
        `Invalid` for too many identities.
        """
        if len(identities) > MAX_MAP_IDENTITIES:
            raise Invalid.of([too_many_identities("$.xdm.identityMap")])
        if not identities:
            return await self._profiles.resolve(stream.access, Profile())
        ordered = sorted(identities, key=_rank) if len(identities) > 1 else identities
        chosen = ordered[0]
        identity = ProfileIdentity(namespace=chosen.namespace, id=chosen.id, primary=True)
        database_status = self._registry.database_status
        if stream.datastream.link_identities and len(identities) > 1 and not database_status.is_bypassed:
            state = stream.access.state
            namespaces = state.customer_schema.namespaces
            linkable = [(candidate.namespace, candidate.id) for candidate in ordered if not candidate.logged_out]
            keys = list(dict.fromkeys(resolve_keys(namespaces, linkable)))
            try:
                lookup = await self._link_identities(state, keys)
            except StoreUnavailable as error:
                if not database_status.survives_outages:
                    raise
                database_status.record_failure(error)  # a later request can link them
            else:
                chosen_keys = resolve_keys(namespaces, [(chosen.namespace, chosen.id)])
                if lookup is not None and chosen_keys and chosen_keys[0] in lookup.customers[0].identities:
                    return await self._profiles.from_customer(state, identity, chosen_keys[0], lookup)
        return await self._profiles.resolve(stream.access, Profile(identities=(identity,)))

    async def decide(
        self,
        stream: AuthorizedDatastream,
        profile: Profile,
        scopes: Sequence[RequestedScope],
        *,
        event: Mapping[str, Any],
        languages: Sequence[str],
        request_id: str,
        is_plain: bool = False,
        dry_run: bool = False,
        explain: bool = False,
    ) -> DecisionResult:
        """Decide every scope; unknown scopes are reported in the outcome.

        `event`: the request's event data; `is_plain`: its names have no prefixes. A scope without an
        item count takes its placement's. A `dry_run` is neither counted nor recorded.
        """
        sees_writes = await self._decide.see_scopes(stream.access, scopes, partial=True)
        placements = stream.access.state.publisher.snapshot.placements
        scope_requests, item_count, allow_duplicates = [], 0, True
        for requested_scope in scopes:
            placement = placements.get(requested_scope.placement)
            scope = _scope_request(requested_scope, placement)
            scope_requests.append(scope)
            item_count += scope.item_count
            if placement is not None and not placement.allow_duplicates:
                allow_duplicates = False
        _check_item_count(item_count)
        plain = event if is_plain else without_prefixes(event)
        request = DecisionRequest(
            scopes=tuple(scope_requests),
            across_decisions=False,
            across_placements=allow_duplicates,
            languages=tuple(languages),
            context={_CONTEXT: plain},
            event=plain,
        )
        result = await self._decide.decide(
            stream.access,
            request,
            profile,
            surface=SURFACE,
            explain=explain,
            partial=True,
            dry_run=dry_run,
            request_id=request_id,
        )
        return result if sees_writes else structs.replace(result, misses_writes=True)

    async def named_scopes(
        self, stream: AuthorizedDatastream, names: Collection[str]
    ) -> Mapping[str, RequestedScope | str | None]:
        """Return by name the scope of the one live decision that has it, or why there is none.

        The decision must have one placement. Unknown names are looked for in the store first (R50); None if
        that fails.
        """
        scopes = self._decision_names.scopes(stream.access.state.publisher.snapshot, names, self._clock())
        if all(isinstance(scope, RequestedScope) for scope in scopes.values()):
            return scopes
        try:
            await self._registry.see_all_writes()
        except StoreUnavailable:
            return {name: scope if isinstance(scope, RequestedScope) else None for name, scope in scopes.items()}
        return self._decision_names.scopes(stream.access.state.publisher.snapshot, names, self._clock())

    def feedback(
        self,
        stream: AuthorizedDatastream,
        event: Mapping[str, Any],
        identities: Sequence[EventIdentity],
        path: str,
    ) -> Feedback | None:
        """Return the feedback in an event, or None if it has none.

        The event has an id and a time; `path` is its JSON path in the request. Raises `Invalid` for malformed
        feedback.
        """
        plain = normalize_event(without_prefixes(event))
        schema = stream.access.state.customer_schema
        return read_feedback(
            plain,
            event_id=event["_id"],
            at_us=parse_timestamp_us(event["timestamp"]),
            identities=resolve_keys(schema.namespaces, [(identity.namespace, identity.id) for identity in identities]),
            at=path,
        )

    async def report(self, stream: AuthorizedDatastream, events: Sequence[Feedback]) -> None:
        """Count this feedback for all later decisions. Repeated events count once."""
        await self._feedback.record(stream.access, events)

    def with_id_and_time(self, event: Mapping[str, Any], event_id: str) -> dict[str, Any]:
        """Return the event with an id and a time: its own if valid; never in the future."""
        now_us = self._clock()
        moment_us = now_us
        with suppress(ValueError, TypeError):
            moment_us = min(parse_timestamp_us(event.get("timestamp")), now_us)  # type: ignore[arg-type]
        sent_id = event.get("_id")
        is_usable = isinstance(sent_id, str) and 0 < len(sent_id) <= MAX_ID
        return {
            **event,
            "_id": sent_id if is_usable else event_id,
            "timestamp": format_timestamp(max(moment_us, 0)),
        }

    async def store_event(
        self,
        stream: AuthorizedDatastream,
        event: Mapping[str, Any],
        identities: Sequence[EventIdentity],
    ) -> ProfferError | None:
        """Store an experience event that has an id and a time; return the refusal, if any."""
        entity = {**event, "identityMap": _identity_map(identities)}
        database_status = self._registry.database_status
        try:
            if database_status.is_bypassed:
                assert database_status.outage is not None
                return StoreUnavailable(database_status.outage)
            message = IngestMessage(entity=entity, dataset=DATASET, is_event=True)
            (refusal,) = await database_status.in_time(self._ingest.ingest(stream.access, [message]))
        except StoreUnavailable as error:
            if not database_status.survives_outages:
                raise
            database_status.record_failure(error)
            return error
        return refusal

    async def _link_identities(self, state: ContainerState, keys: Sequence[IdentityKey]) -> CustomerLookup | None:
        """Link these identities, unless that would merge two people.

        Returns the lookup if they all belong to one customer already, else None.
        """
        if len(keys) < 2:
            return None
        container, schema = state.container.id, state.customer_schema
        customers: Sequence[Customer] = ()
        for key_subset in (keys[:1], keys):  # the first lookup nearly always suffices
            lookup = await self._store.lookup_for_decision(container, key_subset)
            customers = lookup.customers
            if _is_single_customer(customers, keys):
                return lookup
        if _would_merge_people(customers, keys):
            return None
        now_us = self._clock()
        change = self._store.apply_changes(
            container,
            [ProfileRecord(identities=tuple(keys), dataset=DATASET, stamped_us=now_us)],
            now_us=now_us,
            qualify=schema.qualify(),
            limits=self._limits,
        )
        await self._registry.database_status.in_time(change)
        return None


def _rank(identity: EventIdentity) -> tuple[int, str, str]:
    """Return the sort key of identities: primary, people, browser; then by namespace and id."""
    is_device = identity.namespace.lower() in _DEVICES
    if identity.primary and identity.namespace != ECID:
        rank = 0
    elif not is_device and not identity.logged_out:
        rank = 1
    else:
        rank = 2 if identity.namespace == ECID else 3
    return rank, identity.namespace, identity.id


def _is_single_customer(customers: Sequence[Customer], keys: Sequence[IdentityKey]) -> bool:
    if len(customers) != 1:
        return False
    identities = customers[0].identities
    for key in keys:  # noqa: SIM110 - three times faster than all()
        if key not in identities:
            return False
    return True


def _would_merge_people(customers: Sequence[Customer], keys: Sequence[IdentityKey]) -> bool:
    """Return whether linking gives a customer two ids of one person namespace.

    Ids that one stored customer already has together do not count.
    """
    keys_by_namespace: dict[str, set[IdentityKey]] = {}
    for key in (*keys, *(identity for customer in customers for identity in customer.identities)):
        if key.namespace not in DEVICE_NAMESPACES:
            keys_by_namespace.setdefault(key.namespace, set()).add(key)
    return any(
        len(ids) > 1 and not any(ids <= set(customer.identities) for customer in customers)
        for ids in keys_by_namespace.values()
    )


def _scope_request(requested_scope: RequestedScope, placement: Placement | None) -> ScopeRequest:
    count = requested_scope.item_count
    if count is None:
        count = placement.item_count if placement is not None else 1
    return ScopeRequest(requested_scope.decision, requested_scope.placement, count)


def _check_item_count(item_count: int) -> None:
    if item_count > MAX_OPTIONS:
        raise Invalid.of(
            [
                Violation(
                    code="limit",
                    message=f"{item_count} offers are more than the limit of {MAX_OPTIONS} per request",
                    path="$.query.personalization.decisionScopes",
                    help="ask for fewer, or send several requests",
                )
            ]
        )


def _identity_map(identities: Sequence[EventIdentity]) -> dict[str, list[dict[str, Any]]]:
    identity_map: dict[str, list[dict[str, Any]]] = {}
    for identity in identities:
        identity_map.setdefault(identity.namespace, []).append({"id": identity.id, "primary": identity.primary})
    return identity_map
