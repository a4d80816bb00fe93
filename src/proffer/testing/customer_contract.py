"""Contract tests of customer storage. Subclass `CustomerContract` as in `store_contract.py`."""

import asyncio
from typing import Any

import msgspec
import pytest

from proffer.errors import NotFound
from proffer.model.customer import (
    MAX_EVENTS,
    AudienceMembership,
    Checkpoint,
    Customer,
    EncodedRecord,
    EventLimits,
    EventLoader,
    ExperienceEvent,
    IdentityTrim,
    MembershipChange,
    Memberships,
    MembershipStatus,
    ProfileRecord,
)
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityKey
from proffer.store.ports import Store
from proffer.testing.store_contract import (
    HARD_JSON,
    NOON,
    SECOND,
    Contract,
    a_container,
    store_test,
)

ANN, ANNE, BOB, COOKIE = (
    IdentityKey(*pair) for pair in (("Email", "ann@x"), ("CRMID", "7"), ("Email", "bob@x"), ("ECID", "1"))
)


def a_record(*identities: IdentityKey, at: int = 0, dataset: str = "crm", **attributes: Any) -> ProfileRecord:
    return ProfileRecord(identities=identities, dataset=dataset, stamped_us=NOON + at * SECOND, attributes=attributes)


def an_event(*identities: IdentityKey, at: int = 0, key: str = "e", **members: Any) -> ExperienceEvent:
    return ExperienceEvent(
        identities=identities,
        id=key,
        stamped_us=NOON + at * SECOND,
        document={"_id": key, **members},
    )


async def apply_changes(store: Store, *changes: Any, **options: Any) -> Any:
    await store.ensure_container(a_container())
    return await store.apply_changes("c1", changes, now_us=NOON, **options)


async def attributes_of(store: Store, *identities: IdentityKey) -> list[dict[str, Any]]:
    return [dict(customer.attributes) for customer in await store.customers("c1", identities)]


class CustomerContract(Contract):
    """Contract of `ProfileStore`."""

    @store_test
    async def test_a_customer_is_found_by_any_identity(self, store: Store) -> None:
        """A record with two identities is found by either, once by both."""
        await apply_changes(store, a_record(ANN, COOKIE, city="Ulm"))

        for identities in ([ANN], [COOKIE], [COOKIE, ANN, BOB]):
            assert await attributes_of(store, *identities) == [{"city": "Ulm"}]
        assert await attributes_of(store, BOB) == []
        assert await store.customers("c1", []) == ()
        (customer,) = await store.customers("c1", [ANN])
        assert customer.identities == (COOKIE, ANN)

    @store_test
    async def test_documents_come_back_as_they_were(self, store: Store) -> None:
        """Attributes are returned exactly."""
        hard: dict[str, Any] = {**HARD_JSON, "others": [True, False, "", "null"]}
        record = ProfileRecord(identities=(ANN,), dataset="crm", stamped_us=NOON, attributes=hard)
        await apply_changes(store, record)

        assert await attributes_of(store, ANN) == [hard]

    @store_test
    async def test_containers_share_nobody(self, store: Store) -> None:
        """The same identity in another container is another customer."""
        await store.ensure_container(a_container("c2", sandbox="dev"))
        await apply_changes(store, a_record(ANN, city="Ulm"))
        await store.apply_changes("c2", [a_record(ANN, city="Rome")], now_us=NOON)

        assert await attributes_of(store, ANN) == [{"city": "Ulm"}]
        assert (await store.customer_count("c1"))[0] == (await store.customer_count("c2"))[0] == 1
        assert len(await store.page("c2", 0, 10)) == 1
        assert await store.erase("c2", ANN) is not None
        assert await attributes_of(store, ANN) == [{"city": "Ulm"}]

    @store_test
    async def test_a_container_nobody_created_takes_nothing(self, store: Store) -> None:
        """Reading an unknown container finds nothing; writing raises NotFound."""
        assert await store.customers("none", [ANN]) == ()
        assert await store.customer_count("none") == (0, 1, 0)
        with pytest.raises(NotFound):
            await store.apply_changes("none", [a_record(ANN)], now_us=NOON)

    @store_test
    async def test_a_later_record_is_merged_and_null_removes(self, store: Store) -> None:
        """Objects are merged, lists replaced, null removes a member."""
        await apply_changes(store, a_record(ANN, person={"age": 3, "name": "Ann"}, tags=[1, 2], city="Ulm"))
        await apply_changes(store, a_record(ANN, at=1, person={"age": 4}, tags=[3], city=None))

        assert await attributes_of(store, ANN) == [{"person": {"age": 4, "name": "Ann"}, "tags": [3]}]

    @store_test
    async def test_a_record_that_comes_late_fills_gaps_only(self, store: Store) -> None:
        """An older record that arrives late does not overwrite newer values."""
        await apply_changes(store, a_record(ANN, at=2, city="Ulm"))
        await apply_changes(store, a_record(ANN, at=1, city="Rome", zip="1"))

        assert await attributes_of(store, ANN) == [{"city": "Ulm", "zip": "1"}]

    @store_test
    async def test_datasets_are_kept_apart(self, store: Store) -> None:
        """The newest record wins over datasets; the attributes per dataset are kept."""
        await apply_changes(store, a_record(ANN, at=2, city="Ulm"))
        await apply_changes(store, a_record(ANN, at=1, dataset="web", city="Rome", zip="1"))

        (customer,) = await store.customers("c1", [ANN])
        assert customer.attributes == {"city": "Ulm", "zip": "1"}
        attributes_by_dataset = {
            fragment.source.dataset: fragment.attributes for fragment in await store.fragments("c1", customer)
        }
        assert attributes_by_dataset == {
            "crm": {"city": "Ulm"},
            "web": {"city": "Rome", "zip": "1"},
        }
        assert [fragment.dataset for fragment in customer.sources] == ["web", "crm"]

    @store_test
    async def test_identities_of_several_customers_make_them_one(self, store: Store) -> None:
        """Linked customers merge into the oldest; circular links are harmless."""
        await apply_changes(store, a_record(ANN, at=1, city="Ulm"), a_record(BOB, at=2, city="Rome", zip="1"))
        await apply_changes(store, an_event(ANN, key="e1"), an_event(BOB, key="e2", at=1))
        (ann,) = await store.customers("c1", [ANN])
        await apply_changes(store, a_record(ANN, BOB, at=0, tag="x"))
        await apply_changes(store, a_record(BOB, COOKIE), a_record(COOKIE, ANN))

        (customer,) = await store.customers("c1", [ANN, BOB, COOKIE])
        assert customer.key == ann.key
        assert customer.attributes == {"city": "Rome", "zip": "1", "tag": "x"}
        assert customer.identities == (COOKIE, ANN, BOB)
        assert (await store.customer_count("c1"))[0] == 1
        events = await store.events("c1", [customer.key], 0)
        assert [event["_id"] for event in events] == ["e1", "e2"]

    @store_test
    async def test_an_identity_is_replaced_by_the_one_without_blanks(self, store: Store) -> None:
        """The customer keeps its data; if another has that identity, they merge, also records of one source."""
        blank, other_blank = (IdentityKey("Email", text) for text in (" ann@x", "ann@x\xa0"))
        await apply_changes(store, a_record(blank, COOKIE, city="Ulm"), a_record(blank, at=1, dataset="web", zip="1"))
        await apply_changes(store, a_record(COOKIE, at=1, nick="A"))
        await apply_changes(store, a_record(other_blank, at=2, city="Rome"), an_event(other_blank))
        trims = [IdentityTrim(identities=(ANN, identity)) for identity in (blank, other_blank, blank)]
        results = await apply_changes(store, *trims)

        (customer,) = await store.customers("c1", [ANN])
        assert [result.is_duplicate for result in results] == [False, False, True]
        assert customer.identities == (COOKIE, ANN)
        assert customer.attributes == {"city": "Rome", "zip": "1", "nick": "A"}
        assert {
            (fragment.source.dataset, fragment.source.origin): fragment.attributes
            for fragment in await store.fragments("c1", customer)
        } == {("crm", ANN): {"city": "Rome"}, ("crm", COOKIE): {"nick": "A"}, ("web", ANN): {"zip": "1"}}
        assert await store.customers("c1", [blank, other_blank]) == ()
        assert (await store.customer_count("c1"))[0] == 1
        assert len(await store.events("c1", [customer.key], 0)) == 1
        await apply_changes(store, a_record(ANN, at=3, city=None))
        assert await attributes_of(store, ANN) == [{"zip": "1", "nick": "A"}]

    @store_test
    async def test_too_many_linked_identities_are_refused_alone(self, store: Store) -> None:
        """A record that would exceed the link limit is refused; others in the call are applied."""
        many = [IdentityKey("ECID", str(number)) for number in range(MAX_LINKED_IDENTITIES)]
        first, second, third = await apply_changes(
            store,
            a_record(*many, city="Ulm"),
            a_record(ANN, many[0], zip="1"),
            a_record(ANN, zip="2"),
        )

        assert second.refusal is not None
        assert first.refusal is third.refusal is None
        assert await attributes_of(store, *many) == [{"city": "Ulm"}]
        assert await attributes_of(store, ANN) == [{"zip": "2"}]

    @store_test
    async def test_the_same_record_again_changes_nothing(self, store: Store) -> None:
        """A known digest is skipped; once forgotten it is applied again."""
        early = ProfileRecord(identities=(ANN,), dataset="crm", stamped_us=NOON, attributes={"n": 1}, digest=b"1")
        await apply_changes(store, early, a_record(ANN, n=2))
        (again,) = await apply_changes(store, early)
        assert again.is_duplicate
        assert again.key is not None
        assert await attributes_of(store, ANN) == [{"n": 2}]

        assert await store.purge_digests(NOON) == 0
        assert await store.purge_digests(NOON + 1) == 1
        (anew,) = await apply_changes(store, early)
        assert not anew.is_duplicate

    @store_test
    async def test_events_are_kept_in_order_once_and_not_for_ever(self, store: Store) -> None:
        """Events are ordered, unique by id, and limited by number and age."""
        await apply_changes(store, an_event(ANN, key="b", at=2), an_event(ANN, key="a", at=1))
        (again,) = await apply_changes(store, an_event(ANN, key="a", at=1))
        assert again.is_duplicate
        (customer,) = await store.customers("c1", [ANN])

        async def ids(since_us: int = 0) -> list[Any]:
            return [event["_id"] for event in await store.events("c1", [customer.key], since_us)]

        assert await ids() == ["a", "b"]
        assert await ids(NOON + 2 * SECOND) == ["b"]
        await apply_changes(store, *[an_event(ANN, key=f"{n:03}", at=n) for n in range(3, MAX_EVENTS + 9)])
        assert await ids() == [f"{n:03}" for n in range(9, MAX_EVENTS + 9)]
        young = EventLimits(max_age_us=-SECOND * MAX_EVENTS)
        await apply_changes(store, an_event(ANN, key="z", at=500), limits=young)
        assert await ids() == [f"{n:03}" for n in range(100, MAX_EVENTS + 9)] + ["z"]

    @store_test
    async def test_an_event_of_nobody_makes_a_customer(self, store: Store) -> None:
        """An event creates a customer without attributes, which can be added later."""
        await apply_changes(store, an_event(COOKIE))
        assert await attributes_of(store, COOKIE) == [{}]
        await apply_changes(store, a_record(COOKIE, ANN, city="Ulm"))
        assert await attributes_of(store, ANN) == [{"city": "Ulm"}]
        assert (await store.customer_count("c1"))[0] == 1

    @store_test
    async def test_membership_is_what_qualify_says(self, store: Store) -> None:
        """`qualify` sees the customer after the change, with events; pages can be re-evaluated."""

        def qualify(customer: Customer, events: EventLoader, now_us: int) -> Memberships:
            member = len(events()) > 0 and customer.attributes.get("city") == "Ulm"
            return {"a1": AudienceMembership(MembershipStatus.REALIZED, now_us)} if member else {}

        await apply_changes(store, a_record(ANN, city="Ulm"), an_event(ANN), a_record(BOB), qualify=qualify)
        ann, bob = await store.page("c1", 0, 10)
        assert ann.membership == {"a1": AudienceMembership(MembershipStatus.REALIZED, NOON)}
        assert bob.membership == {}

        def all_out(_: Customer, __: EventLoader, ___: int) -> Memberships:
            return {}

        last, changed = await store.requalify("c1", 0, 1, now_us=NOON, qualify=all_out)
        assert (last, changed) == (ann.key, 1)
        last, changed = await store.requalify("c1", ann.key, 9, now_us=NOON, qualify=all_out)
        assert (last, changed) == (bob.key, 0)
        assert await store.requalify("c1", bob.key, 9, now_us=NOON, qualify=all_out) == (None, 0)
        assert [customer.membership for customer in await store.page("c1", 0, 10)] == [{}, {}]

    @store_test
    async def test_a_list_puts_its_customers_in_the_audience(self, store: Store) -> None:
        """A membership change stores its columns; a second one replaces them."""
        line = MembershipChange(identities=(ANN,), audience="a1", columns={"tier": "gold"}, stamped_us=NOON)
        await apply_changes(store, a_record(BOB), line)
        (customer,) = await store.customers("c1", [ANN])
        assert customer.membership == {"a1": AudienceMembership(MembershipStatus.REALIZED, NOON, {"tier": "gold"})}

        later = MembershipChange(identities=(ANN,), audience="a1", columns={"n": 1}, stamped_us=NOON + 1)
        await apply_changes(store, later)
        (customer,) = await store.customers("c1", [ANN])
        assert customer.membership == {"a1": AudienceMembership(MembershipStatus.EXISTING, NOON + 1, {"n": 1})}

    @store_test
    async def test_pages_show_everybody_once(self, store: Store) -> None:
        """Keyset pages are in order of key; a sample returns existing customers."""
        identities = [IdentityKey("CRMID", str(number)) for number in range(25)]
        await apply_changes(store, *[a_record(item) for item in identities])
        keys: list[int] = []
        while page := await store.page("c1", keys[-1] if keys else 0, 10):
            keys += [item.key for item in page]

        assert len(keys) == 25 == len(set(keys))
        assert keys == sorted(keys)
        count, low, high = await store.customer_count("c1")
        assert (count, low <= keys[0], keys[-1] <= high) == (25, True, True)
        assert [item.key for item in await store.customers_by_key("c1", [keys[3], high + 7])] == [keys[3]]

    @store_test
    async def test_erasing_leaves_nothing(self, store: Store) -> None:
        """Erasure deletes all data of a customer and returns the counts."""
        line = MembershipChange(identities=(ANN,), audience="a1", columns={}, stamped_us=NOON)
        await apply_changes(store, a_record(ANN, COOKIE, city="Ulm", zip="1"), an_event(COOKIE), line)
        await apply_changes(store, a_record(ANN, dataset="web", city="Rome"), a_record(BOB, city="Bonn"))

        erased = await store.erase("c1", COOKIE)

        assert erased is not None
        assert erased.identities == (COOKIE, ANN)
        assert (erased.attributes, erased.events, erased.audiences) == (2, 1, 1)
        assert await attributes_of(store, ANN, COOKIE) == []
        assert await store.erase("c1", ANN) is None
        assert (await store.customer_count("c1"))[0] == 1
        await apply_changes(store, a_record(ANN))
        assert await attributes_of(store, ANN) == [{}]

    @store_test
    async def test_a_mark_is_kept_with_what_was_written(self, store: Store) -> None:
        """A checkpoint is stored with its changes; the next replaces it."""
        await apply_changes(store, a_record(ANN), checkpoint=Checkpoint(name="f", note=b"1"))
        await apply_changes(store, a_record(BOB), checkpoint=Checkpoint(name="f", note=b"2"))
        assert await store.checkpoint("c1", "f") == Checkpoint(name="f", note=b"2")
        await store.delete_checkpoint("c1", "f")
        assert await store.checkpoint("c1", "f") is None

    @store_test
    async def test_writers_at_once_lose_nothing(self, store: Store) -> None:
        """Fifty concurrent writes to one identity give one customer with all attributes."""
        await store.ensure_container(a_container())
        await asyncio.gather(
            *(
                store.apply_changes(
                    "c1",
                    [a_record(IdentityKey("CRMID", str(n % 9)), ANN, said={f"n{n}": n})],
                    now_us=NOON,
                )
                for n in range(50)
            )
        )

        (customer,) = await store.customers("c1", [ANN])
        assert customer.attributes == {"said": {f"n{n}": n for n in range(50)}}
        assert (await store.customer_count("c1"))[0] == 1

    @store_test
    async def test_many_records_at_once_are_evaluated(self, store: Store) -> None:
        """New and existing customers are evaluated once each, after all their records."""
        await store.ensure_container(a_container())
        evaluated_keys: list[int] = []

        def qualify(customer: Customer, _: EventLoader, now_us: int) -> Memberships:
            evaluated_keys.append(customer.key)
            lives_there = customer.attributes.get("city") == "Ulm"
            return {"a1": AudienceMembership(MembershipStatus.REALIZED, now_us)} if lives_there else {}

        async def members(at: int, *cities: tuple[IdentityKey, str]) -> list[bool]:
            records: list[EncodedRecord] = [
                ((item,), "crm", NOON + at, msgspec.json.encode({"city": city})) for item, city in cities
            ]
            evaluated_keys.clear()
            await store.bulk_apply("c1", records, now_us=NOON + at, qualify=qualify)
            assert len(evaluated_keys) == len(set(evaluated_keys))
            return [bool(item.membership) for item in await store.page("c1", 0, 10)]

        assert await members(0, (ANN, "Ulm"), (BOB, "Rome")) == [True, False]
        assert await members(1, (ANN, "Rome"), (BOB, "Ulm")) == [False, True]
        assert await members(2, (BOB, "Rome"), (BOB, "Ulm"), (COOKIE, "Ulm")) == [False, True, True]
        ann, *_ = await store.page("c1", 0, 10)
        assert (ann.membership, ann.attributes) == ({}, {"city": "Rome"})

    @store_test
    async def test_many_records_at_once_are_what_they_are_one_by_one(self, store: Store) -> None:
        """Bulk and single application agree: new, existing and repeated customers."""
        await store.ensure_container(a_container())

        def encoded(at: int, city: str, *identities: IdentityKey) -> EncodedRecord:
            return identities, "crm", NOON + at, msgspec.json.encode({"city": city})

        new = [encoded(0, "Ulm", ANN, COOKIE), encoded(0, "Rome", BOB)]
        first, second = await store.bulk_apply("c1", new, now_us=NOON)
        assert first.key != second.key
        again = [encoded(1, "Bonn", BOB), encoded(1, "Kiel", ANNE), encoded(2, "Linz", ANNE)]
        taken_again = await store.bulk_apply("c1", again, now_us=NOON, checkpoint=Checkpoint(name="f", note=b"1"))
        assert taken_again[0].key == second.key
        assert taken_again[1].key == taken_again[2].key
        assert await attributes_of(store, ANN, BOB, ANNE) == [
            {"city": "Ulm"},
            {"city": "Bonn"},
            {"city": "Linz"},
        ]
        assert (await store.customer_count("c1"))[0] == 3
        assert await store.checkpoint("c1", "f") == Checkpoint(name="f", note=b"1")
