"""Records that come at the same time are written together, and each caller hears of its own."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proffer.errors import Invalid
from proffer.model.customer import EVENT_LIMITS, Change, ChangeResult, ProfileRecord
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityKey
from proffer.service.runtime.write_batcher import WriteBatcher, change_batcher
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.store_contract import a_container


class Slow(MemoryStore):
    """Says how many changes each call brought; fails those with a record that is too `heavy`."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def apply_changes(self, container_id: str, changes: Sequence[Change], **rest: Any) -> Sequence[ChangeResult]:
        await asyncio.sleep(0)
        if any(isinstance(one, ProfileRecord) and "heavy" in one.attributes for one in changes):
            raise StoreUnavailable("the disk is full")
        self.sizes.append(len(changes))
        return await super().apply_changes(container_id, changes, **rest)


def of(*keys: str, **attributes: object) -> ProfileRecord:
    identities = tuple(IdentityKey("CRMID", key) for key in keys)
    return ProfileRecord(identities=identities, dataset="crm", stamped_us=1, attributes=attributes)


async def gathering() -> tuple[Slow, WriteBatcher[Change, ChangeResult]]:
    store = Slow()
    await store.ensure_container(a_container())
    return store, change_batcher(store, "c1", lambda: 7, lambda: None, EVENT_LIMITS)


async def test_who_comes_while_others_are_written_is_written_with_the_next() -> None:
    """Nine callers, two writes; each hears what became of its own, a refusal by name."""
    store, gathered = await gathering()
    many = [str(number) for number in range(MAX_LINKED_IDENTITIES + 1)]
    first = asyncio.create_task(gathered.submit([of("a"), of("b")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(gathered.submit([of(f"c{n}")])) for n in range(7)]
    refused = asyncio.create_task(gathered.submit([of(*many)]))
    a, b = await first
    assert a.key != b.key
    keys = [(await one)[0].key for one in rest]
    assert len(set(keys)) == 7
    assert isinstance((await refused)[0].refusal, Invalid)
    assert store.sizes == [2, 8]
    (later,) = await gathered.submit([of("a", "c3", n=1)])
    assert later.key == a.key


async def test_two_who_claim_one_identity_at_the_same_instant_are_one(tmp_path: Path) -> None:
    """Forty records at once, from four people who all say they have one card: one customer with every word."""
    store = await SqliteStore.open(tmp_path / "a.db")
    await store.ensure_container(a_container())
    gathered = change_batcher(store, "c1", lambda: 7, lambda: None, EVENT_LIMITS)
    said = [of(str(n % 4), "card", **{f"n{n}": n}) for n in range(40)]
    taken = await asyncio.gather(*(gathered.submit([one]) for one in said))
    (customer,) = await store.page("c1", 0, 9)
    assert {one.key for (one,) in taken} == {customer.key}
    assert customer.attributes == {f"n{n}": n for n in range(40)}
    assert {one.id for one in customer.identities} == {"0", "1", "2", "3", "card"}
    await store.close()


async def test_what_fails_does_not_fail_what_came_with_it() -> None:
    """A record that the disk has no room for; and one whose sender has gone meanwhile is kept all the same."""
    store, gathered = await gathering()
    tasks = [
        asyncio.create_task(gathered.submit([record])) for record in (of("a"), of("b", heavy=True), of("c"), of("d"))
    ]
    await asyncio.sleep(0)
    tasks[3].cancel()
    assert (await tasks[0])[0].key is not None
    with pytest.raises(StoreUnavailable):
        await tasks[1]
    assert (await tasks[2])[0].key is not None
    await asyncio.sleep(0.01)
    assert len(await store.page("c1", 0, 9)) == 3
