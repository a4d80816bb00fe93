"""Edge service: sites and apps send events to a datastream and get offers (edge 2 to 7).

One identity selects the customer. Identities sent together are linked, unless that would merge two
people who share a device.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from proffer.errors import Finding, Invalid, ProfferError
from proffer.model.customer import EVENT_LIMITS, Customer, EventLimits, Record, Whom
from proffer.model.feedback import Feedback, plain_event, read_feedback
from proffer.model.identity import (
    DEVICE_NAMESPACES,
    MAX_ASKED,
    MAX_ID,
    IdentityKey,
    too_many,
)
from proffer.model.ingest_parse import Message
from proffer.model.instance import timestamp
from proffer.model.placement import Placement
from proffer.model.profile import Identity, Profile, without_prefixes
from proffer.model.request import DecisionRequest, RequestedScope, ScopeRequest
from proffer.service.customers.ingest import IngestService
from proffer.service.customers.profiles import ProfileService, known_keys
from proffer.service.decisions.decide import DecideService, DecisionResult
from proffer.service.edge.datastreams import Stream
from proffer.service.event_log.feedback import FeedbackService
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import ProfileStore
from proffer.validation import parse_moment

MAX_OPTIONS = 100
"""Maximum number of offers over all scopes of one request."""
SURFACE = "edge"
ECID = "ECID"
DATASET = "edge"
"""Dataset of the customer records written by the edge."""

REPORTING = ("_experience", "https://ns.adobe.com/experience/decisioning")
"""Prefixes of the event members that carry feedback on propositions."""
_DEVICES = frozenset(name.lower() for name in DEVICE_NAMESPACES)
_CONTEXT = "_xdm.context.additionalParameters;version=1"
"""Context type under which rules written for the decisioning API read the request's data."""


class Known(NamedTuple):
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

    @property
    def now_us(self) -> int:
        return self._clock()

    async def customer(self, stream: Stream, known: Sequence[Known]) -> Profile:
        """Return the profile of the selected identity.

        It is the primary one, else a person's that is not logged out, else the device's. Raises
        `Invalid` for too many identities.
        """
        if len(known) > MAX_ASKED:
            raise Invalid.of([too_many("$.xdm.identityMap")])
        if not known:
            return await self._profiles.resolve(stream.access, Profile())
        ordered = sorted(known, key=_rank) if len(known) > 1 else known
        chosen = ordered[0]
        identity = Identity(namespace=chosen.namespace, id=chosen.id, primary=True)
        standing = self._registry.standing
        if stream.datastream.link and len(known) > 1 and not (standing.away and standing.bridged):
            state = stream.access.state
            code = state.customers.namespaces.code
            keys = [_key_of(code(candidate.namespace), candidate) for candidate in ordered]
            try:
                lookup = await self._link(state, _to_link(ordered, keys))
            except StoreUnavailable as error:
                if not standing.bridged:
                    raise
                standing.lost(error)  # a later request can link them
            else:
                key = keys[0]
                if lookup is not None and key is not None and key in lookup.customers[0].identities:
                    return await self._profiles.from_customer(state, identity, key, lookup)
        return await self._profiles.resolve(stream.access, Profile(identities=(identity,)))

    async def decide(
        self,
        stream: Stream,
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
        placements = stream.access.state.publisher.snapshot.placements
        settled, many, duplicates = [], 0, True
        for asked in scopes:
            placement = placements.get(asked.placement)
            scope = _settled(asked, placement)
            settled.append(scope)
            many += scope.item_count
            if placement is not None and not placement.allow_duplicates:
                duplicates = False
        _refuse_many(many)
        plain = event if is_plain else without_prefixes(event)
        request = DecisionRequest(
            scopes=tuple(settled),
            across_decisions=False,
            across_placements=duplicates,
            languages=tuple(languages),
            context={_CONTEXT: plain},
            event=plain,
        )
        return await self._decide.decide(
            stream.access,
            request,
            profile,
            surface=SURFACE,
            explain=explain,
            partial=True,
            dry_run=dry_run,
            request_id=request_id,
        )

    def feedback(
        self, stream: Stream, event: Mapping[str, Any], known: Sequence[Known], at: str
    ) -> Feedback | None:
        """Return the feedback in an event that has an id and a time; None if it has none.

        Raises `Invalid` for malformed feedback; `path` is the event's JSON path in the request.
        """
        plain = plain_event(without_prefixes(event))
        rules = stream.access.state.customers
        return read_feedback(
            plain,
            event_id=event["_id"],
            at_us=parse_moment(event["timestamp"]),
            identities=known_keys(rules.namespaces, [(one.namespace, one.id) for one in known]),
            at=at,
        )

    async def report(self, stream: Stream, events: Sequence[Feedback]) -> None:
        """Count this feedback for all later decisions. Repeated events count once."""
        await self._feedback.take(stream.access, events)

    def stamped(self, event: Mapping[str, Any], event_id: str) -> dict[str, Any]:
        """Return the event with an id and a time: its own if valid; never in the future."""
        now_us = self._clock()
        moment_us = now_us
        with suppress(ValueError, TypeError):
            moment_us = min(parse_moment(event.get("timestamp")), now_us)  # type: ignore[arg-type]
        own = event.get("_id")
        usable = isinstance(own, str) and 0 < len(own) <= MAX_ID
        return {
            **event,
            "_id": own if usable else event_id,
            "timestamp": timestamp(max(moment_us, 0)),
        }

    async def keep(
        self, stream: Stream, event: Mapping[str, Any], known: Sequence[Known]
    ) -> ProfferError | None:
        """Store an experience event that has an id and a time; return the refusal, if any."""
        entity = {**event, "identityMap": _identity_map(known)}
        standing = self._registry.standing
        try:
            if standing.bridged and standing.away is not None:
                return StoreUnavailable(standing.away)
            (refusal,) = await self._ingest.take_in(
                stream.access,
                [Message(entity=entity, dataset=DATASET, is_event=True)],
            )
        except StoreUnavailable as error:
            if not standing.bridged:
                raise
            standing.lost(error)
            return error
        return refusal

    async def _link(self, state: ContainerState, keys: Sequence[IdentityKey]) -> Whom | None:
        """Link these identities, unless that would merge two people.

        Returns the lookup if they all belong to one customer already, else None.
        """
        if len(keys) < 2:
            return None
        container, rules = state.container.id, state.customers
        found: Sequence[Customer] = ()
        for some in (keys[:1], keys):  # the first lookup nearly always suffices
            whom = await self._store.whom(container, some)
            found = whom.customers
            if _is_one(found, keys):
                return whom
        if _would_mix(found, keys):
            return None
        now_us = self._clock()
        await self._store.take_in(
            container,
            [Record(identities=tuple(keys), dataset=DATASET, stamped_us=now_us)],
            now_us=now_us,
            qualify=rules.qualify(),
            limits=self._limits,
        )
        return None


def _key_of(code: str | None, one: Known) -> IdentityKey | None:
    """Return the identity under its namespace's code; None for an unknown namespace."""
    return None if code is None else IdentityKey(code, one.id)


def _to_link(known: Sequence[Known], keys: Sequence[IdentityKey | None]) -> list[IdentityKey]:
    """Return the distinct keys to link, without those of logged-out identities."""
    found: dict[IdentityKey, None] = {}
    for one, key in zip(known, keys, strict=True):
        if key is not None and not one.logged_out:
            found[key] = None
    return list(found)


def _rank(one: Known) -> tuple[int, str, str]:
    """Return the sort key of identities: primary, people, browser; then by namespace and id."""
    is_device = one.namespace.lower() in _DEVICES
    if one.primary and one.namespace != ECID:
        place = 0
    elif not is_device and not one.logged_out:
        place = 1
    else:
        place = 2 if one.namespace == ECID else 3
    return place, one.namespace, one.id


def _is_one(found: Sequence[Customer], keys: Sequence[IdentityKey]) -> bool:
    if len(found) != 1:
        return False
    held = found[0].identities
    for key in keys:  # noqa: SIM110 - three times faster than all()
        if key not in held:
            return False
    return True


def _would_mix(found: Sequence[Customer], keys: Sequence[IdentityKey]) -> bool:
    """Return whether linking would give a customer two ids of one person namespace.

    Ids that one stored customer already has together do not count.
    """
    together: dict[str, set[IdentityKey]] = {}
    for key in (*keys, *(known for one in found for known in one.identities)):
        if key.namespace not in DEVICE_NAMESPACES:
            together.setdefault(key.namespace, set()).add(key)
    return any(
        len(ids) > 1 and not any(ids <= set(one.identities) for one in found)
        for ids in together.values()
    )


def _settled(asked: RequestedScope, placement: Placement | None) -> ScopeRequest:
    count = asked.item_count
    if count is None:
        count = placement.item_count if placement is not None else 1
    return ScopeRequest(asked.decision, asked.placement, count)


def _refuse_many(asked: int) -> None:
    if asked > MAX_OPTIONS:
        raise Invalid.of(
            [
                Finding(
                    code="limit",
                    message=f"{asked} offers are more than the limit of {MAX_OPTIONS} per request",
                    path="$.query.personalization.decisionScopes",
                    help="ask for fewer, or send several requests",
                )
            ]
        )


def _identity_map(known: Sequence[Known]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in known:
        found.setdefault(one.namespace, []).append({"id": one.id, "primary": one.primary})
    return found
