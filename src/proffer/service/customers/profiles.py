"""Profiles of customers: resolve the profile of a decision; look up and erase customers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from msgspec import structs

from proffer.errors import Invalid
from proffer.model.capping import CapSubjects
from proffer.model.customer import (
    EVENT_LIMITS,
    NO_CUSTOMERS,
    Attributes,
    Customer,
    CustomerLookup,
    ErasureResult,
    EventLimits,
    Fragment,
)
from proffer.model.identity import (
    MAX_MAP_IDENTITIES,
    IdentityKey,
    Namespaces,
    too_many_identities,
    trim_id,
    unknown_namespace,
)
from proffer.model.merging import (
    TIMESTAMP_ORDER,
    MergePolicy,
    join_memberships,
    merge_fragments,
    overlay,
)
from proffer.model.profile import Profile, ProfileIdentity
from proffer.model.xdm import profile_document
from proffer.service.library.customer_rules import CustomerSchema
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import FeedbackStore, ProfileStore


class PersonStore(ProfileStore, FeedbackStore, Protocol):
    """Store of customers, and of the decisions and feedback about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Stored data of one person: all customers their identity reaches, merged as XDM document."""

    customers: tuple[Customer, ...]
    document: Attributes
    sources: tuple[str, ...]
    modified_us: int
    policy_known: bool = True


class ProfileService:
    """Use cases of a single customer."""

    def __init__(
        self,
        store: PersonStore,
        registry: ContainerRegistry,
        clock: Clock,
        limits: EventLimits = EVENT_LIMITS,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._limits = limits

    async def resolve(
        self,
        access: AuthorizedContainer,
        requested: Profile,
        policy_id: str | None = None,
        *,
        path: str = "$.xdm:identityMap",
    ) -> Profile:
        """Return the profile for a decision: the stored one, overlaid with the request's attributes.

        An unknown customer has the request's attributes alone; identities of unknown namespaces are
        ignored. An unknown policy is replaced by the default (`policy_known` is false). While the
        database is unavailable the stored profile is `withheld`. Raises `Invalid` for too many
        identities; `path` is their JSON path.
        """
        state = access.state
        if len(requested.identities) > MAX_MAP_IDENTITIES:
            raise Invalid.of([too_many_identities(path)])
        schema = state.customer_schema
        keys = tuple(primary_first(schema.namespaces, requested.identities))
        policy_known = schema.policy(policy_id) is not None
        database_status = self._registry.database_status
        if not database_status.is_bypassed or not keys:
            try:
                return await self._stored_profile(state, requested, keys, policy_id, policy_known=policy_known)
            except StoreUnavailable as error:
                database_status.record_failure(error)
                if not database_status.survives_outages:
                    raise
        subjects = CapSubjects(requested=keys)
        return structs.replace(requested, subjects=subjects, policy_known=policy_known, withheld=True)

    async def from_customer(
        self,
        state: ContainerState,
        identity: ProfileIdentity,
        key: IdentityKey,
        lookup: CustomerLookup,
    ) -> Profile:
        """Return the profile for a decision from the caller's lookup."""
        policy_known = state.customer_schema.policy(None) is not None
        requested = Profile(identities=(identity,))
        return await self._stored_profile(state, requested, (key,), None, policy_known=policy_known, lookup=lookup)

    async def _stored_profile(
        self,
        state: ContainerState,
        requested: Profile,
        keys: tuple[IdentityKey, ...],
        policy_id: str | None,
        *,
        policy_known: bool,
        lookup: CustomerLookup | None = None,
    ) -> Profile:
        """Return the stored profile of these identities, overlaid with the request's attributes."""
        schema = state.customer_schema
        if lookup is None:
            lookup = await self._store.lookup_for_decision(state.container.id, keys) if keys else NO_CUSTOMERS
        customers, subjects = lookup.customers, lookup.subjects
        if subjects.requested != keys:  # the caller looked up more identities
            subjects = structs.replace(subjects, requested=keys)
        if not customers:
            return structs.replace(requested, subjects=subjects, policy_known=policy_known)
        policy = _policy(schema, policy_id)
        attributes: Attributes = await self._document(state, customers, policy)
        events: Sequence[Attributes] = ()
        if schema.reads_events:
            events = await self._events(state, customers)
        if requested.attributes:
            attributes = overlay(attributes, requested.attributes)
        return Profile(
            identities=requested.identities,
            attributes=attributes,
            is_known=True,
            events=events,
            subjects=subjects,
            policy_known=policy_known,
        )

    def key(self, access: AuthorizedContainer, namespace: str, entity_id: str) -> IdentityKey:
        """Return an identity under its namespace's code. Raises `Invalid` for an unknown namespace."""
        namespaces = access.state.customer_schema.namespaces
        keys = resolve_keys(namespaces, [(namespace, entity_id)])
        if not keys:
            raise Invalid.of([unknown_namespace("entityIdNS", namespace)])
        return keys[0]

    async def look_up(
        self,
        access: AuthorizedContainer,
        key: IdentityKey,
        policy_id: str | None = None,
    ) -> Person | None:
        """Return the person of this identity, or None."""
        state = access.state
        customers = await self._store.customers(state.container.id, [key])
        if not customers:
            return None
        schema = state.customer_schema
        policy = _policy(schema, policy_id)
        person = await self._person(state, customers, policy)
        return person if schema.policy(policy_id) else replace(person, policy_known=False)

    async def events_of(self, access: AuthorizedContainer, key: IdentityKey) -> Sequence[Attributes]:
        """Return the stored experience events of an identity's person, oldest first."""
        state = access.state
        customers = await self._store.customers(state.container.id, [key])
        return await self._events(state, customers) if customers else ()

    async def erase(self, access: AuthorizedContainer, key: IdentityKey) -> ErasureResult | None:
        """Erase a person with all stored data; None if there is nothing to erase.

        Decisions and feedback stay on record without personal data. If interrupted it can be
        repeated: the customer is erased only after the records are redacted.
        """
        container = access.id
        customers = await self._store.customers(container, [key])
        identities = {
            key,
            *(identity for customer in customers for identity in customer.identities),
        }
        first = await self._store.redact(container, identities)
        erased = await self._store.erase(container, key)
        # Redact what was recorded between the two steps.
        later = await self._store.redact(container, identities, first.scanned_through)
        decisions, feedback = first.decisions + later.decisions, first.feedback + later.feedback
        if erased is None:
            if not decisions and not feedback:
                return None
            erased = ErasureResult(identities=(key,))
        return replace(erased, decisions=decisions, feedback=feedback)

    async def _person(self, state: ContainerState, customers: Sequence[Customer], policy: MergePolicy) -> Person:
        return Person(
            customers=tuple(customers),
            document=await self._document(state, customers, policy),
            sources=tuple(sorted({source.dataset for customer in customers for source in customer.sources})),
            modified_us=max(customer.modified_us for customer in customers),
        )

    async def _document(
        self, state: ContainerState, customers: Sequence[Customer], policy: MergePolicy
    ) -> dict[str, Any]:
        """Return the merged stored data of these customers as an XDM document."""
        audiences = state.customer_schema.audiences
        if len(customers) == 1 and (not policy.precedence or len(customers[0].sources) == 1):
            (single,) = customers  # the stored attributes are merged already
            return profile_document(single.attributes, single.identities, single.membership, audiences)
        fragments = await self._fragments(state, customers)
        attributes = merge_fragments(fragments, policy) if fragments else {}
        membership = join_memberships(customer.membership for customer in customers)
        identities: Sequence[IdentityKey] = customers[0].identities
        if len(customers) > 1:
            identities = sorted({identity for customer in customers for identity in customer.identities})
        return profile_document(attributes, identities, membership, audiences)

    async def _fragments(self, state: ContainerState, customers: Sequence[Customer]) -> list[Fragment]:
        container = state.container.id
        return [fragment for customer in customers for fragment in await self._store.fragments(container, customer)]

    async def _events(self, state: ContainerState, customers: Sequence[Customer]) -> Sequence[Attributes]:
        since_us = self._clock() - self._limits.max_age_us
        keys = [customer.key for customer in customers]
        return await self._store.events(state.container.id, keys, since_us)


def _policy(schema: CustomerSchema, policy_id: str | None) -> MergePolicy:
    """Return the merge policy of this id, else default, else timestamp order."""
    return schema.policy(policy_id) or schema.policy(None) or TIMESTAMP_ORDER


def primary_first(namespaces: Namespaces, identities: Sequence[ProfileIdentity]) -> list[IdentityKey]:
    """Return identity keys, primary ones first, then by namespace and id (R48)."""
    primary: dict[IdentityKey, bool] = {}
    for identity in identities:
        code = namespaces.code(identity.namespace)
        if code is not None:
            key = IdentityKey(code, trim_id(identity.id))
            primary[key] = primary.get(key, False) or identity.primary
    return sorted(primary, key=lambda key: (not primary[key], key))


def resolve_keys(namespaces: Namespaces, identities: Sequence[tuple[str, str]]) -> list[IdentityKey]:
    """Return identity keys of (namespace, id) pairs, without those of unknown namespaces."""
    return [
        IdentityKey(code, trim_id(key))
        for namespace, key in identities
        if (code := namespaces.code(namespace)) is not None
    ]
