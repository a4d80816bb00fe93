"""The fields of stored profiles: those of all of them, or of a bounded number, and read again when they change."""

import asyncio
from collections.abc import Sequence

import pytest

from proffer.app import DEV_CONTAINER
from proffer.model.customer import Customer, ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.pql import check_text
from proffer.pql.check.schema import XDM
from proffer.pql.check.types import ANY, Type
from proffer.service.rules import stored_fields as module
from proffer.service.rules.stored_fields import StoredFields
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from proffer.testing.store_contract import a_container
from support.containers import open_services


class CountingStore(MemoryStore):
    """Counts the customers that are read, and can be away."""

    read = 0
    away = False

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        if self.away:
            raise StoreUnavailable("away")
        return await super().customer_count(container_id)

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        customers = await super().page(container_id, after, limit)
        self.read += len(customers)
        return customers

    async def customers_by_key(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        customers = await super().customers_by_key(container_id, keys)
        self.read += len(customers)
        return customers


async def add(store: MemoryStore, first: int, count: int, **attributes: object) -> None:
    records = [
        ProfileRecord(
            identities=(IdentityKey("CRMID", str(number)),), dataset="crm", stamped_us=1, attributes=attributes
        )
        for number in range(first, first + count)
    ]
    await store.apply_changes(DEV_CONTAINER, records, now_us=1)


def is_known(observed: Type, field: str) -> bool:
    return check_text(f"{field} = 1", schema=XDM.with_profiles(observed)) == []


async def test_the_fields_of_all_profiles_are_known_as_soon_as_there_are_any() -> None:
    """Customers without attributes have none; a store that is away tells nothing."""
    store = CountingStore()
    async with open_services(store):
        fields = StoredFields(store)
        assert await fields.of(DEV_CONTAINER) is ANY
        await add(store, 0, 1)
        assert await fields.of(DEV_CONTAINER) is ANY
        await add(store, 1, 2, _acme={"n": 1})
        observed = await fields.of(DEV_CONTAINER)
        store.away = True
        assert await fields.of(DEV_CONTAINER) is ANY

    assert [is_known(observed, field) for field in ("_acme.n", "_acme.m", "person.age")] == [True, False, True]


async def test_only_a_bounded_number_of_many_profiles_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are among them; they are not read again while their number stays about the same."""
    monkeypatch.setattr(module, "MAX_CUSTOMERS", 40)
    monkeypatch.setattr(module, "_NEWEST", 10)
    monkeypatch.setattr(module, "_REUSE", 1_000_000)
    store = CountingStore()
    async with open_services(store):
        fields = StoredFields(store)
        await add(store, 0, 200, old=1)
        await add(store, 200, 1, new=1)
        observed = await fields.of(DEV_CONTAINER)
        read = store.read
        await add(store, 201, 1, newer=1)
        assert await fields.of(DEV_CONTAINER) is observed
        assert store.read == read
        await add(store, 202, 20, newer=1)
        again = await fields.of(DEV_CONTAINER)

    assert read <= 40
    assert [is_known(observed, field) for field in ("old", "new", "newer")] == [True, True, False]
    assert is_known(again, "newer")


async def test_a_container_does_not_wait_for_the_profiles_of_another() -> None:
    """Checks of one container wait for each other, so that its profiles are read once."""
    is_reading, may_end = asyncio.Event(), asyncio.Event()

    class SlowStore(CountingStore):
        async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
            if container_id == DEV_CONTAINER:
                is_reading.set()
                await may_end.wait()
            return await super().page(container_id, after, limit)

    store = SlowStore()
    async with open_services(store), asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        await add(store, 0, 3, plan="a")
        await store.ensure_container(a_container("other", sandbox="other"))
        fields = StoredFields(store)
        checks = [tasks.create_task(fields.of(DEV_CONTAINER)) for _ in range(2)]
        await is_reading.wait()
        assert await fields.of("other") is ANY
        may_end.set()

    assert store.read == 3
    assert checks[0].result() is checks[1].result()
