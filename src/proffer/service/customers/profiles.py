"""Customers as the rest of the house asks for them: whom a decision is about, and what is kept of one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from msgspec import structs

from proffer.auth.policy import require
from proffer.auth.principal import Permission, Principal
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
from proffer.service.library.library import Library
from proffer.service.library.registry import Libraries
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import FeedbackStore, ProfileStore


class PersonStore(ProfileStore, FeedbackStore, Protocol):
    """What is kept of people, and where they stand on record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What is kept of one person: everything their identities reach, merged, as an XDM document."""

    customers: tuple[Customer, ...]
    document: Attributes
    sources: tuple[str, ...]
    modified_us: int
    policy_known: bool = True


class ProfileService:
    """The use cases of one customer."""

    def __init__(
        self,
        store: PersonStore,
        libraries: Libraries,
        clock: Clock,
        limits: EventLimits = EVENT_LIMITS,
    ) -> None:
        self._store = store
        self._libraries = libraries
        self._clock = clock
        self._limits = limits

    async def asked_for(
        self,
        by: Principal,
        container: str,
        asked: Profile,
        policy_id: str | None = None,
        *,
        at: str = "$.xdm:identityMap",
    ) -> Profile:
        """Whom a decision is about: what is kept of them, and over it what the request says itself.

        An unknown customer is what the request says; identities of unknown namespaces name nobody. A
        policy that nobody knows is taken for the default one, and `policy_known` says so. While the
        database is away it is what the request says, `withheld`. Raises `Invalid` for too many identities,
        which stand at the path `at`.
        """
        require(by, Permission.DECISIONS_EXECUTE)
        library = self._libraries.find(by, container)
        if len(asked.identities) > MAX_ASKED:
            raise Invalid.of([too_many(at)])
        rules = library.customers
        keys = primary_first(rules.namespaces, asked.identities)
        policy_known = rules.policy(policy_id) is not None
        standing = self._libraries.standing
        if standing.away is None or not standing.bridged or not keys:
            try:
                return await self._kept(library, asked, keys, policy_id, policy_known=policy_known)
            except StoreUnavailable as error:
                standing.lost(error)
                if not standing.bridged:
                    raise
        whom = Subjects((), tuple(keys))
        return structs.replace(asked, subjects=whom, policy_known=policy_known, withheld=True)

    async def known_as(
        self, library: Library, identity: Identity, key: IdentityKey, whom: Whom
    ) -> Profile:
        """Whom a decision is about, where the caller has looked up already whom this identity, as it is kept, names."""
        policy_known = library.customers.policy(None) is not None
        asked = Profile(identities=(identity,))
        return await self._kept(library, asked, (key,), None, policy_known=policy_known, whom=whom)

    async def _kept(
        self,
        library: Library,
        asked: Profile,
        keys: Sequence[IdentityKey],
        policy_id: str | None,
        *,
        policy_known: bool,
        whom: Whom | None = None,
    ) -> Profile:
        """What is kept of whom these identities name, and over it what the request says."""
        rules = library.customers
        if whom is None:
            whom = await self._store.whom(library.container.id, keys) if keys else NOBODY_KNOWN
        found = whom.customers
        subjects = _subjects(found, keys, whom.counted)
        if not found:
            return structs.replace(asked, subjects=subjects, policy_known=policy_known)
        policy = _policy(rules, policy_id)
        attributes: Attributes = await self._document(library, found, policy)
        events: Sequence[Attributes] = ()
        if rules.reads_events:
            events = await self._events(library, found)
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

    def key(self, by: Principal, container: str, namespace: str, entity_id: str) -> IdentityKey:
        """An identity as it is kept. Raises `Invalid` where there is no such namespace."""
        namespaces = self._libraries.find(by, container).customers.namespaces
        found = known_keys(namespaces, [(namespace, entity_id)])
        if not found:
            raise Invalid.of([unknown_namespace("entityIdNS", namespace)])
        return found[0]

    async def look_up(
        self,
        by: Principal,
        container: str,
        key: IdentityKey,
        policy_id: str | None = None,
    ) -> Person | None:
        """What is kept of the person whom this identity names; None where there is nobody."""
        require(by, Permission.PROFILES_READ)
        library = self._libraries.find(by, container)
        found = await self._store.customers(library.container.id, [key])
        if not found:
            return None
        rules = library.customers
        policy = _policy(rules, policy_id)
        person = await self._person(library, found, policy)
        return person if rules.policy(policy_id) else replace(person, policy_known=False)

    async def events_of(
        self, by: Principal, container: str, key: IdentityKey
    ) -> Sequence[Attributes]:
        """The kept experience events of the person whom this identity names, oldest first."""
        require(by, Permission.PROFILES_READ)
        library = self._libraries.find(by, container)
        found = await self._store.customers(library.container.id, [key])
        return await self._events(library, found) if found else ()

    async def erase(self, by: Principal, container: str, key: IdentityKey) -> Erased | None:
        """Remove a person with everything that is kept of them; None where there is nobody.

        Decisions and feedback stay on record, without whom they are about. Killed in the middle, it is
        simply done again: the person is there until the record no longer names them.
        """
        require(by, Permission.PROFILES_WRITE)
        container = self._libraries.find(by, container).container.id
        found = await self._store.customers(container, [key])
        identities = {key, *(known for one in found for known in one.identities)}
        first = await self._store.redact(container, identities)
        erased = await self._store.erase(container, key)
        # What was decided for them in between.
        rest = await self._store.redact(container, identities, first.through)
        decisions, feedback = first.decisions + rest.decisions, first.feedback + rest.feedback
        if erased is None:
            if not decisions and not feedback:
                return None
            erased = Erased(identities=(key,))
        return replace(erased, decisions=decisions, feedback=feedback)

    async def _person(
        self, library: Library, found: Sequence[Customer], policy: MergePolicy
    ) -> Person:
        return Person(
            customers=tuple(found),
            document=await self._document(library, found, policy),
            sources=tuple(sorted({source.dataset for one in found for source in one.sources})),
            modified_us=max(one.modified_us for one in found),
        )

    async def _document(
        self, library: Library, found: Sequence[Customer], policy: MergePolicy
    ) -> dict[str, Any]:
        """What is kept of these customers together, as an XDM document."""
        audiences = library.customers.audiences
        if len(found) == 1 and (not policy.precedence or len(found[0].sources) == 1):
            (alone,) = found  # as they are kept: nothing is left to merge
            return profile_document(alone.attributes, alone.identities, alone.membership, audiences)
        fragments = await self._fragments(library, found)
        attributes = merge(fragments, policy) if fragments else {}
        membership = join(one.membership for one in found)
        identities: Sequence[IdentityKey] = found[0].identities
        if len(found) > 1:
            identities = sorted({known for one in found for known in one.identities})
        return profile_document(attributes, identities, membership, audiences)

    async def _fragments(self, library: Library, found: Sequence[Customer]) -> list[Fragment]:
        container = library.container.id
        return [
            fragment
            for customer in found
            for fragment in await self._store.fragments(container, customer)
        ]

    async def _events(self, library: Library, found: Sequence[Customer]) -> Sequence[Attributes]:
        since_us = self._clock() - self._limits.age_us
        keys = [one.key for one in found]
        return await self._store.events(library.container.id, keys, since_us)


def _subjects(
    found: Sequence[Customer], keys: Sequence[IdentityKey], counted: Sequence[Counted] | None
) -> Subjects:
    """Who is counted: these customers, and those of these identities that none of them has."""
    if len(keys) == 1:  # and by it they were found
        return Subjects(tuple([one.key for one in found]), tuple(keys), len(found), counted)
    held = 0
    for key in keys:
        for one in found:
            if key in one.identities:
                held += 1
                break
    return Subjects(tuple([one.key for one in found]), tuple(keys), held, counted)


def _policy(rules: CustomerRules, policy_id: str | None) -> MergePolicy:
    """The merge policy asked for, else the default one, else what stands where there is none."""
    return rules.policy(policy_id) or rules.policy(None) or TIMESTAMP_ORDER


def primary_first(namespaces: Namespaces, identities: Sequence[Identity]) -> list[IdentityKey]:
    """These identities as they are kept: the primary ones first, then by namespace and id (R43)."""
    primary: dict[IdentityKey, bool] = {}
    for one in identities:
        code = namespaces.code(one.namespace)
        if code is not None:
            key = IdentityKey(code, one.id)
            primary[key] = primary.get(key, False) or one.primary
    return sorted(primary, key=lambda key: (not primary[key], key))


def known_keys(namespaces: Namespaces, identities: Sequence[tuple[str, str]]) -> list[IdentityKey]:
    """These identities as they are kept; those of unknown namespaces are left out."""
    return [
        IdentityKey(code, key)
        for text, key in identities
        if (code := namespaces.code(text)) is not None
    ]
