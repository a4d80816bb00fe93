"""Profiles of customers: resolve the profile of a decision; look up and erase customers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from msgspec import structs

from proffer.errors import Invalid
from proffer.model.capping import Counted, Subjects
from proffer.model.customer import (
    EVENT_LIMITS,
    NOBODY_KNOWN,
    Attributes,
    Customer,
    Erased,
    EventLimits,
    Fragment,
    Whom,
)
from proffer.model.identity import MAX_ASKED, IdentityKey, Namespaces, too_many, unknown_namespace
from proffer.model.merging import TIMESTAMP_ORDER, MergePolicy, join, merge, overlay
from proffer.model.profile import Identity, Profile
from proffer.model.xdm import profile_document
from proffer.service.library.customer_rules import CustomerRules
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
        asked: Profile,
        policy_id: str | None = None,
        *,
        at: str = "$.xdm:identityMap",
    ) -> Profile:
        """Return the profile for a decision: the stored one, overlaid with the request's attributes.

        An unknown customer has the request's attributes alone; identities of unknown namespaces are
        ignored. An unknown policy is replaced by the default (`policy_known` is false). While the
        database is unavailable the stored profile is `withheld`. Raises `Invalid` for too many
        identities; `path` is their JSON path.
        """
        state = access.state
        if len(asked.identities) > MAX_ASKED:
            raise Invalid.of([too_many(at)])
        rules = state.customers
        keys = primary_first(rules.namespaces, asked.identities)
        policy_known = rules.policy(policy_id) is not None
        standing = self._registry.standing
        if standing.away is None or not standing.bridged or not keys:
            try:
                return await self._kept(state, asked, keys, policy_id, policy_known=policy_known)
            except StoreUnavailable as error:
                standing.lost(error)
                if not standing.bridged:
                    raise
        whom = Subjects((), tuple(keys))
        return structs.replace(asked, subjects=whom, policy_known=policy_known, withheld=True)

    async def from_customer(
        self, state: ContainerState, identity: Identity, key: IdentityKey, whom: Whom
    ) -> Profile:
        """Return the profile for a decision from a lookup that the caller has made already."""
        policy_known = state.customers.policy(None) is not None
        asked = Profile(identities=(identity,))
        return await self._kept(state, asked, (key,), None, policy_known=policy_known, whom=whom)

    async def _kept(
        self,
        state: ContainerState,
        asked: Profile,
        keys: Sequence[IdentityKey],
        policy_id: str | None,
        *,
        policy_known: bool,
        whom: Whom | None = None,
    ) -> Profile:
        """Return the stored profile of these identities, overlaid with the request's attributes."""
        rules = state.customers
        if whom is None:
            whom = await self._store.whom(state.container.id, keys) if keys else NOBODY_KNOWN
        found = whom.customers
        subjects = _subjects(found, keys, whom.counted)
        if not found:
            return structs.replace(asked, subjects=subjects, policy_known=policy_known)
        policy = _policy(rules, policy_id)
        attributes: Attributes = await self._document(state, found, policy)
        events: Sequence[Attributes] = ()
        if rules.reads_events:
            events = await self._events(state, found)
        if asked.attributes:
            attributes = overlay(attributes, asked.attributes)
        return Profile(
            identities=asked.identities,
            attributes=attributes,
            found=True,
            events=events,
            subjects=subjects,
            policy_known=policy_known,
        )

    def key(self, access: AuthorizedContainer, namespace: str, entity_id: str) -> IdentityKey:
        """Return an identity under its namespace's code. Raises `Invalid` for an unknown namespace."""
        namespaces = access.state.customers.namespaces
        found = known_keys(namespaces, [(namespace, entity_id)])
        if not found:
            raise Invalid.of([unknown_namespace("entityIdNS", namespace)])
        return found[0]

    async def look_up(
        self,
        access: AuthorizedContainer,
        key: IdentityKey,
        policy_id: str | None = None,
    ) -> Person | None:
        """Return the person of this identity, or None."""
        state = access.state
        found = await self._store.customers(state.container.id, [key])
        if not found:
            return None
        rules = state.customers
        policy = _policy(rules, policy_id)
        person = await self._person(state, found, policy)
        return person if rules.policy(policy_id) else replace(person, policy_known=False)

    async def events_of(
        self, access: AuthorizedContainer, key: IdentityKey
    ) -> Sequence[Attributes]:
        """Return the stored experience events of the person of this identity, oldest first."""
        state = access.state
        found = await self._store.customers(state.container.id, [key])
        return await self._events(state, found) if found else ()

    async def erase(self, access: AuthorizedContainer, key: IdentityKey) -> Erased | None:
        """Erase a person with all stored data; None if there is nothing to erase.

        Decisions and feedback stay on record without personal data. If interrupted it can be
        repeated: the customer is erased only after the records are redacted.
        """
        container = access.id
        found = await self._store.customers(container, [key])
        identities = {key, *(known for one in found for known in one.identities)}
        first = await self._store.redact(container, identities)
        erased = await self._store.erase(container, key)
        # Redact what was recorded between the two steps.
        rest = await self._store.redact(container, identities, first.through)
        decisions, feedback = first.decisions + rest.decisions, first.feedback + rest.feedback
        if erased is None:
            if not decisions and not feedback:
                return None
            erased = Erased(identities=(key,))
        return replace(erased, decisions=decisions, feedback=feedback)

    async def _person(
        self, state: ContainerState, found: Sequence[Customer], policy: MergePolicy
    ) -> Person:
        return Person(
            customers=tuple(found),
            document=await self._document(state, found, policy),
            sources=tuple(sorted({source.dataset for one in found for source in one.sources})),
            modified_us=max(one.modified_us for one in found),
        )

    async def _document(
        self, state: ContainerState, found: Sequence[Customer], policy: MergePolicy
    ) -> dict[str, Any]:
        """Return the merged stored data of these customers as an XDM document."""
        audiences = state.customers.audiences
        if len(found) == 1 and (not policy.precedence or len(found[0].sources) == 1):
            (alone,) = found  # the stored attributes are merged already
            return profile_document(alone.attributes, alone.identities, alone.membership, audiences)
        fragments = await self._fragments(state, found)
        attributes = merge(fragments, policy) if fragments else {}
        membership = join(one.membership for one in found)
        identities: Sequence[IdentityKey] = found[0].identities
        if len(found) > 1:
            identities = sorted({known for one in found for known in one.identities})
        return profile_document(attributes, identities, membership, audiences)

    async def _fragments(self, state: ContainerState, found: Sequence[Customer]) -> list[Fragment]:
        container = state.container.id
        return [
            fragment
            for customer in found
            for fragment in await self._store.fragments(container, customer)
        ]

    async def _events(
        self, state: ContainerState, found: Sequence[Customer]
    ) -> Sequence[Attributes]:
        since_us = self._clock() - self._limits.age_us
        keys = [one.key for one in found]
        return await self._store.events(state.container.id, keys, since_us)


def _subjects(
    found: Sequence[Customer], keys: Sequence[IdentityKey], counted: Sequence[Counted] | None
) -> Subjects:
    """Return whose counters apply: these customers, and the identities that none of them has."""
    if len(keys) == 1:  # the customers were found by it
        return Subjects(tuple([one.key for one in found]), tuple(keys), len(found), counted)
    held = 0
    for key in keys:
        for one in found:
            if key in one.identities:
                held += 1
                break
    return Subjects(tuple([one.key for one in found]), tuple(keys), held, counted)


def _policy(rules: CustomerRules, policy_id: str | None) -> MergePolicy:
    """Return the merge policy of this id, else the default, else timestamp order."""
    return rules.policy(policy_id) or rules.policy(None) or TIMESTAMP_ORDER


def primary_first(namespaces: Namespaces, identities: Sequence[Identity]) -> list[IdentityKey]:
    """Return identity keys, primary ones first, then by namespace and id (R43)."""
    primary: dict[IdentityKey, bool] = {}
    for one in identities:
        code = namespaces.code(one.namespace)
        if code is not None:
            key = IdentityKey(code, one.id)
            primary[key] = primary.get(key, False) or one.primary
    return sorted(primary, key=lambda key: (not primary[key], key))


def known_keys(namespaces: Namespaces, identities: Sequence[tuple[str, str]]) -> list[IdentityKey]:
    """Return identity keys of (namespace, id) pairs, without those of unknown namespaces."""
    return [
        IdentityKey(code, key)
        for text, key in identities
        if (code := namespaces.code(text)) is not None
    ]
