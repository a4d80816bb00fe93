"""Contract tests of counting owners (R48). Subclass `CountingContract` as in `store_contract.py`."""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import structs

from proffer.model.attribution import AttributedFeedback, CounterIncrement
from proffer.model.capping import CapLimit, OfferLimits, ReservationState
from proffer.model.counting import MAX_COUNTED_IDENTITIES
from proffer.model.customer import ExperienceEvent, ProfileRecord
from proffer.model.events import DecisionEvent
from proffer.model.feedback import Feedback, FeedbackKind
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityKey
from proffer.store.ports import Store
from proffer.testing.caps_contract import a_decision, a_limit, caps_of, create_caps, link_identities, try_record
from proffer.testing.store_contract import NOON, Contract, store_test

DAY = 86_400_000_000
MAIL, CRM, PHONE, OTHER_MAIL, COOKIE, DEVICE = (
    IdentityKey(*pair)
    for pair in (
        ("Email", "m@x"),
        ("CRMID", "c:1"),
        ("Phone", "1"),
        ("Email", "other@x"),
        ("ECID", "e"),
        ("IDFA", "d"),
    )
)
NOTHING = (("free", "web"),)
"""A decision that gives an offer without limits."""


def once(limit: int = 1) -> CapLimit:
    return a_limit(limit, "profile")


async def used(store: Store, *who: IdentityKey, now: int = NOON) -> int:
    """Return the use of a profile limit of `gold` that a request with these identities sees."""
    lookup = await store.lookup_for_decision("c1", who)
    limits = OfferLimits([("gold", once())])
    usage = await store.usage("c1", limits, lookup.subjects, now)
    bare = structs.replace(lookup.subjects, counters=None)
    assert await store.usage("c1", limits, bare, now) == usage
    return usage.counts.get(("gold", "1", ""), 0)


async def record(store: Store, *who: IdentityKey, **more: Any) -> DecisionEvent | None:
    """Record a decision that gives `gold`; return it as stored, None if it was refused."""
    event = a_decision(who=who, **more)
    await store.record("c1", event)
    return await store.decision_event("c1", event.id)


async def customer_of(store: Store, identity: IdentityKey) -> int | None:
    return next((customer.key for customer in await store.customers("c1", [identity])), None)


def custom(number: int) -> IdentityKey:
    return IdentityKey(f"custom{number:02}", "1")


class CountingContract(Contract):
    """Contract of counting owners, in all parts of a store."""

    @store_test
    async def test_identities_named_together_are_one_person(self, store: Store) -> None:
        """Strangers named together are counted by one owner, whichever is named later."""
        await create_caps(store, caps_of(once(2)))
        together = await record(store, MAIL, CRM)
        assert [await used(store, *who) for who in ([MAIL], [CRM], [MAIL, CRM], [PHONE])] == [1, 1, 1, 0]
        later = await record(store, CRM)

        assert together is not None
        assert later is not None
        assert isinstance(together.subject, int)
        assert together.subject == later.subject
        assert [await try_record(store, who=who) for who in ([MAIL], [CRM], [CRM, MAIL])] == [False] * 3

    @store_test
    async def test_counts_are_added_once(self, store: Store) -> None:
        """What two identities had is added when they join, and never again."""
        await create_caps(store, caps_of(once(9)))
        for who in ([MAIL], [MAIL], [CRM], [MAIL, CRM], [CRM, MAIL], [MAIL]):
            assert await try_record(store, who=who)

        assert [await used(store, *who) for who in ([MAIL], [CRM], [MAIL, CRM])] == [6, 6, 6]

    @store_test
    async def test_a_stranger_joins_the_customer_and_reads_nothing(self, store: Store) -> None:
        """An identity that joined a customer reads only its counters."""
        await create_caps(store, caps_of(once()))
        await link_identities(store, MAIL)
        assert await try_record(store, who=[MAIL, CRM])
        (customer,) = await store.customers("c1", [MAIL])

        lookup = await store.lookup_for_decision("c1", [CRM])
        assert (list(lookup.customers), lookup.subjects.owners) == ([], (customer.key,))
        assert list(await store.customers("c1", [CRM])) == []
        assert [person.identities for person in await store.page("c1", 0, 9)] == [(MAIL,)]
        assert (await store.customer_count("c1"))[0] == 1
        assert list(await store.customers_by_key("c1", [customer.key])) == [customer]
        assert [await try_record(store, who=who) for who in ([CRM], [MAIL], [CRM, PHONE])] == [False] * 3

    @store_test
    async def test_strangers_are_no_customers(self, store: Store) -> None:
        """An owner without a customer is found by nothing."""
        await create_caps(store, caps_of(once()))
        event = await record(store, MAIL, CRM)

        assert event is not None
        assert list(await store.customers("c1", [MAIL, CRM])) == []
        assert (await store.lookup_for_decision("c1", [MAIL])).customers == ()
        assert list(await store.page("c1", 0, 9)) == []
        assert isinstance(event.subject, int)
        assert list(await store.customers_by_key("c1", [event.subject])) == []
        assert (await store.customer_count("c1"))[0] == 0

    @store_test
    async def test_a_refused_claim_joins_nothing(self, store: Store) -> None:
        """Only a decision that is recorded makes its identities one person."""
        await create_caps(store, caps_of(once()))
        assert await try_record(store, who=[MAIL])
        assert not await try_record(store, who=[MAIL, CRM])
        assert await used(store, CRM) == 0
        assert await try_record(store, *NOTHING, who=[MAIL, CRM])

        assert await used(store, CRM) == 1
        assert not await try_record(store, who=[CRM])

    @store_test
    async def test_without_limits_for_each_profile_nobody_joins(self, store: Store) -> None:
        """Where nothing counts profiles, no identity is stored."""
        await create_caps(store, caps_of(a_limit(3)))
        assert await try_record(store, who=[MAIL, CRM])

        assert (await store.lookup_for_decision("c1", [MAIL])).subjects.owners == ()

    @store_test
    async def test_devices_do_not_take_part_beside_persons(self, store: Store) -> None:
        """A device that several people share is counted alone, or with other devices."""
        await create_caps(store, caps_of(once()))
        assert await try_record(store, who=[COOKIE, MAIL])
        assert [await used(store, *who) for who in ([COOKIE], [MAIL], [COOKIE, PHONE], [MAIL, COOKIE])] == [0, 1, 0, 1]
        assert await try_record(store, who=[COOKIE, DEVICE])

        assert not await try_record(store, who=[DEVICE])
        assert await try_record(store, who=[DEVICE, PHONE])

    @store_test
    async def test_two_ids_of_one_namespace_are_two_persons(self, store: Store) -> None:
        """An identity takes no part if its person would have two ids of one namespace."""
        await create_caps(store, caps_of(once()))
        await link_identities(store, PHONE, MAIL)
        assert await try_record(store, who=[OTHER_MAIL, PHONE])
        assert [await used(store, OTHER_MAIL), await used(store, OTHER_MAIL, PHONE)] == [0, 1]
        first, second = IdentityKey("CRMID", "7"), IdentityKey("CRMID", "8")
        assert await try_record(store, who=[first, second])
        assert await try_record(store, who=[second, OTHER_MAIL])

        assert await used(store, first) == 1
        assert await try_record(store, *NOTHING, who=[first, OTHER_MAIL])  # their owners stay two
        assert [await try_record(store, who=[one]) for one in (first, second, OTHER_MAIL)] == [False] * 3
        assert [await used(store, first), await used(store, OTHER_MAIL)] == [1, 1]

    @store_test
    async def test_two_known_customers_stay_two(self, store: Store) -> None:
        """Their counters are summed; the oldest is incremented and gets the strangers."""
        await create_caps(store, caps_of(once(3)))
        await link_identities(store, CRM)
        await link_identities(store, MAIL)
        assert await try_record(store, who=[MAIL])
        event = await record(store, MAIL, CRM, PHONE)

        assert event is not None
        assert event.subject == await customer_of(store, CRM)
        assert [await used(store, one) for one in (MAIL, CRM, PHONE)] == [1, 1, 1]
        assert await used(store, MAIL, CRM) == 2
        assert [await try_record(store, who=[MAIL, PHONE]) for _ in range(2)] == [True, False]

    @store_test
    async def test_owners_become_one(self, store: Store) -> None:
        """An owner without a customer takes over younger ones; a customer takes over all."""
        await create_caps(store, caps_of(once(9)))
        tail = IdentityKey("loyalty", "1")
        for who in ([MAIL, CRM], [PHONE, tail], [PHONE]):
            assert await try_record(store, who=who)
        first = await record(store, CRM)
        assert await try_record(store, who=[CRM, tail])
        both = await record(store, PHONE)
        assert first is not None
        assert both is not None
        assert first.subject == both.subject
        assert [await used(store, one) for one in (MAIL, CRM, PHONE, tail)] == [6] * 4
        customer = IdentityKey("account", "1")
        await link_identities(store, customer)
        assert await try_record(store, who=[tail, customer])

        assert [await used(store, one) for one in (MAIL, CRM, PHONE, tail, customer)] == [7] * 5
        assert list(await store.customers("c1", [MAIL])) == []

    @store_test
    async def test_reservations_move_with_their_counts(self, store: Store) -> None:
        """A reservation made before a join is given back to the owner."""
        await create_caps(store, caps_of(once(2)))
        before = a_decision(who=[MAIL])
        await store.record("c1", before, ttl_us=DAY)
        joining = a_decision(who=[MAIL, CRM])
        await store.record("c1", joining, ttl_us=DAY)
        assert not await try_record(store, who=[CRM])
        assert (await store.release("c1", before.id, NOON)).state is ReservationState.RELEASED
        assert [await used(store, one) for one in (MAIL, CRM)] == [1, 1]
        assert (await store.release("c1", joining.id, NOON)).state is ReservationState.RELEASED

        assert [await used(store, one) for one in (MAIL, CRM)] == [0, 0]

    @store_test
    async def test_ingestion_of_a_stranger_brings_the_counts(self, store: Store) -> None:
        """A customer of one of the owner's identities gets the counts; the others count for it."""
        await create_caps(store, caps_of(once(9)))
        assert await try_record(store, who=[MAIL, CRM])
        assert await try_record(store, who=[PHONE])
        await link_identities(store, CRM, PHONE)

        assert [await used(store, one) for one in (MAIL, CRM, PHONE)] == [2, 2, 2]
        assert list(await store.customers("c1", [MAIL])) == []
        event = await record(store, MAIL)
        assert event is not None
        assert event.subject == await customer_of(store, CRM)

    @store_test
    async def test_ingestion_links_what_had_joined(self, store: Store) -> None:
        """When a record links an identity to its owner, the counts are already together."""
        await create_caps(store, caps_of(once(9)))
        await link_identities(store, MAIL)
        assert await try_record(store, who=[MAIL, CRM])
        await link_identities(store, CRM, MAIL)

        assert [await used(store, one) for one in (MAIL, CRM)] == [1, 1]
        assert [person.identities for person in await store.page("c1", 0, 9)] == [(CRM, MAIL)]

    @store_test
    async def test_a_joined_identity_can_become_another_customer(self, store: Store) -> None:
        """The counts stay with the customer it had joined; named together, both are summed."""
        await create_caps(store, caps_of(once(9)))
        await link_identities(store, MAIL)
        assert await try_record(store, who=[MAIL, CRM])
        await link_identities(store, CRM, PHONE)
        assert await try_record(store, who=[PHONE])

        assert [await used(store, *who) for who in ([MAIL], [CRM], [CRM, MAIL])] == [1, 1, 2]

    @store_test
    async def test_imports_bring_the_counts_too(self, store: Store) -> None:
        """Bulk import and events assign identities as single records do."""
        await create_caps(store, caps_of(once(9)))
        for who in ([MAIL, CRM], [PHONE, custom(1)]):
            assert await try_record(store, who=who)
        records = [(((one.namespace, one.id),), "crm", NOON, b"{}") for one in (MAIL, OTHER_MAIL)]
        await store.bulk_apply("c1", records, now_us=NOON)
        event = ExperienceEvent(identities=(PHONE,), id="e", stamped_us=NOON, document={})
        row = ProfileRecord(identities=(OTHER_MAIL,), dataset="crm", stamped_us=NOON)
        await store.apply_changes("c1", [row, event], now_us=NOON)

        assert [await used(store, one) for one in (MAIL, CRM, PHONE, custom(1))] == [1] * 4
        for one, other in ((MAIL, CRM), (PHONE, custom(1))):
            found = await record(store, other)
            assert found is not None
            assert found.subject == await customer_of(store, one)

    @store_test
    async def test_merged_customers_keep_those_who_joined(self, store: Store) -> None:
        """What counts for a merged customer counts for the one that remains."""
        await create_caps(store, caps_of(once(9)))
        for one, other in ((MAIL, CRM), (PHONE, custom(1))):
            await link_identities(store, one)
            assert await try_record(store, who=[one, other])
        await link_identities(store, MAIL, PHONE)

        assert [await used(store, one) for one in (MAIL, CRM, PHONE, custom(1))] == [2] * 4

    @store_test
    async def test_erasure_of_a_customer_forgets_those_who_joined(self, store: Store) -> None:
        """The counters are deleted, and each identity counts for itself again."""
        await create_caps(store, caps_of(once()))
        await link_identities(store, MAIL)
        assert await try_record(store, who=[MAIL, CRM])
        erased = await store.erase("c1", MAIL)

        assert erased is not None
        assert (erased.identities, erased.counters) == ((MAIL,), 1)
        assert [await try_record(store, who=[one]) for one in (MAIL, CRM, MAIL, CRM)] == [True, True, False, False]

    @store_test
    async def test_erasure_of_one_who_joined_leaves_the_customer(self, store: Store) -> None:
        """Its own join is undone; the customer keeps data and counters."""
        await create_caps(store, caps_of(once()))
        await link_identities(store, MAIL)
        assert await try_record(store, who=[MAIL, CRM])
        await store.erase("c1", CRM)

        assert [await used(store, MAIL), await used(store, CRM)] == [1, 0]
        assert len(await store.customers("c1", [MAIL])) == 1

    @store_test
    async def test_erasure_of_a_stranger_forgets_the_owner(self, store: Store) -> None:
        """The counters of all its identities are one person's; none of them is shown."""
        await create_caps(store, caps_of(once()))
        assert await try_record(store, who=[MAIL, CRM])
        erased = await store.erase("c1", CRM)

        assert erased is not None
        assert (erased.identities, erased.counters) == ((CRM,), 1)
        assert [await used(store, MAIL), await used(store, CRM)] == [0, 0]
        assert await store.erase("c1", MAIL) is None

    @store_test
    async def test_feedback_counts_for_the_same_owner(self, store: Store) -> None:
        """A report on a decision is counted for the owner of its identities, now and later."""
        seen = a_limit(9, "profile", name="2", events=frozenset({"impression"}))
        await create_caps(store, caps_of(once(9), seen))
        assert await try_record(store, who=[COOKIE, MAIL, CRM])
        await store.add_feedback("c1", [_an_impression("1", COOKIE, MAIL, CRM), _an_impression("2", CRM)])
        await link_identities(store, MAIL)
        await store.add_feedback("c1", [_an_impression("3", CRM)])

        for one in (MAIL, CRM):
            subjects = (await store.lookup_for_decision("c1", [one])).subjects
            usage = await store.usage("c1", OfferLimits([("gold", seen)]), subjects, NOON)
            assert usage.counts["gold", "2", ""] == 3

    @store_test
    async def test_ten_identities_take_part(self, store: Store) -> None:
        """Of more identities the first ten are one person."""
        await create_caps(store, caps_of(once()))
        many = [custom(number) for number in range(MAX_COUNTED_IDENTITIES + 2)]
        assert await try_record(store, who=many)

        assert [await used(store, one) for one in many] == [1] * MAX_COUNTED_IDENTITIES + [0, 0]

    @store_test
    async def test_an_owner_has_at_most_fifty_identities(self, store: Store) -> None:
        """Further identities count for themselves."""
        await create_caps(store, caps_of(once(99)))
        for number in range(1, MAX_LINKED_IDENTITIES + 1):
            assert await try_record(store, *NOTHING, who=[custom(0), custom(number)])
        assert await try_record(store, who=[custom(0)])

        counts = [await used(store, custom(number)) for number in range(MAX_LINKED_IDENTITIES + 1)]
        assert counts == [1] * MAX_LINKED_IDENTITIES + [0]

    @store_test
    async def test_decisions_that_are_recorded_together_see_each_other(self, store: Store) -> None:
        """Of decisions in one commit, each sees the joins of those before it."""
        await create_caps(store, caps_of(once(2)))
        assert await try_record(store, *NOTHING)  # creates the container's space, which would change the order
        people: Sequence[Sequence[IdentityKey]] = [[CRM], [MAIL, CRM], [MAIL], [CRM], [PHONE], [CRM, PHONE], [PHONE]]
        outcomes = await asyncio.gather(*(try_record(store, who=who) for who in people))

        assert outcomes == [True, True, False, False, True, False, True]
        assert [await used(store, *who) for who in ([CRM], [MAIL], [PHONE])] == [2, 2, 2]

    @store_test
    async def test_concurrent_strangers_get_no_more(self, store: Store) -> None:
        """After a decision that names both, either gets what is left."""
        await create_caps(store, caps_of(once(3)))
        assert await try_record(store, who=[MAIL, CRM])
        people = [[MAIL, CRM], [CRM], [MAIL]] * 20
        outcomes = await asyncio.gather(*(try_record(store, who=who) for who in people))

        assert sum(outcomes) == 2
        assert [await used(store, one) for one in (MAIL, CRM)] == [3, 3]

    @store_test
    async def test_decisions_given_already_join_too(self, store: Store) -> None:
        """A decision from the spool counts beyond the limit and joins when it is recorded."""
        await create_caps(store, caps_of(once()))
        assert await try_record(store, who=[MAIL])
        await store.record("c1", a_decision(who=[MAIL, CRM]), forced=True)

        assert [await used(store, one) for one in (MAIL, CRM)] == [2, 2]

    @store_test
    async def test_owners_that_count_nothing_are_forgotten(self, store: Store) -> None:
        """Joins are deleted with the last counter of their owner, not before."""
        await create_caps(store, caps_of(once(), end_us=NOON + DAY), caps_of(once(), offer="silver"))
        assert await try_record(store, who=[MAIL, CRM])
        assert await try_record(store, ("silver", "web"), who=[PHONE, custom(1)])
        await store.purge_counters(NOON + DAY)
        assert (await store.lookup_for_decision("c1", [CRM])).subjects.owners
        await store.purge_counters(NOON + 9 * DAY)

        assert not (await store.lookup_for_decision("c1", [CRM])).subjects.owners
        assert (await store.lookup_for_decision("c1", [PHONE])).subjects.owners
        assert not await try_record(store, ("silver", "web"), who=[custom(1)])


def _an_impression(key: str, *who: IdentityKey) -> AttributedFeedback:
    return AttributedFeedback(
        feedback=Feedback(
            id=key, kind=FeedbackKind.DISPLAY, at_us=NOON, propositions=(), identities=who, document={"_id": key}
        ),
        received_us=NOON,
        increments=(CounterIncrement("gold", "web", who, NOON),),
        cap_events=frozenset({"impression"}),
    )
