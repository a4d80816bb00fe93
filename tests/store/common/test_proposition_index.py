"""The index of the edge's ids takes in what is on record when it is asked for, the newest first, within bounds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proffer.app import Services
from proffer.model.events import DecisionEvent, edge_proposition_id
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.common import proposition_index as edge_ids
from proffer.store.common.proposition_index import (
    IndexSlice,
    PackInfo,
    PackRange,
    add_range,
    newest_gap,
    next_packs,
)
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.feedback_contract import a_decision_event, a_limit, create_container, usage_of
from proffer.testing.store_contract import NOON, SECOND
from support.containers import OWNER
from support.postgres import PooledStore

ANN = IdentityKey("Email", "ann@x")
DATABASES = ("sqlite", "postgres")


@given(st.lists(st.integers(1, 400), unique=True), st.lists(st.integers(0, 420)))
def test_every_pack_is_taken_in_once_the_newest_first(packs: list[int], newest: list[int]) -> None:
    """Whatever is looked for in between, and however many packs are there by then."""
    events = dict.fromkeys(packs, 400)
    spans: list[PackRange] = []
    seen: list[int] = []
    for bound in [*newest, 400]:
        for _ in range(2 if bound < 400 else 1000):
            gap = newest_gap(spans, bound)
            if gap is None:
                break
            within = [one for one in sorted(packs, reverse=True) if gap.first <= one <= gap.last]
            listed = [PackInfo(one, events[one]) for one in within[: edge_ids.PACKS_TOGETHER]]
            span, chosen = next_packs(listed, gap)
            assert chosen == within[: len(chosen)]
            assert sum(events[one] for one in chosen) <= edge_ids.EVENTS_TOGETHER or len(chosen) == 1
            seen += chosen
            spans = add_range(spans, span)
            assert spans == sorted(spans)
    assert sorted(seen) == sorted(packs)
    assert newest_gap(spans, 400) is None


def test_a_search_ends_with_what_it_found_or_what_it_may_see() -> None:
    """And goes to the end where nobody waits for it."""
    one = IndexSlice(PackRange(1, 2), [], 10, frozenset({"a"}))
    search = edge_ids.PropositionScan({"a", "b"}, 15)
    search.add_slice(one)
    assert (search.should_continue, search.is_incomplete) == (True, True)
    search.add_slice(one)
    assert (search.should_continue, search.is_incomplete) == (False, True)
    found = edge_ids.PropositionScan({"a"}, 15)
    found.add_slice(one)
    assert (found.should_continue, found.is_incomplete) == (False, False)
    whole = edge_ids.PropositionScan(set())
    whole.add_slice(one)
    assert whole.should_continue
    whole.add_slice(None)
    assert not whole.should_continue


@asynccontextmanager
async def on_record(database: str, folder: Path, count: int) -> AsyncIterator[tuple[Store, list[DecisionEvent]]]:
    """A store with so many decisions of the edge, each a pack of its own, with a limit on what they gave."""
    store: Store
    if database == "sqlite":
        store = await SqliteStore.open(folder / "proffer.db")
    else:
        store = await PooledStore.create()
    try:
        await create_container(store, a_limit())
        events = [replace(a_decision_event(ANN), surface="edge") for _ in range(count)]
        for event in events:
            await store.record("c1", event)
        yield store, events
    finally:
        await store.close()


def shown(key: str, *ids: str) -> Feedback:
    return Feedback(
        id=key,
        kind=FeedbackKind.DISPLAY,
        at_us=NOON,
        propositions=tuple(PropositionReport(one) for one in ids),
        document={"_id": key},
    )


@pytest.mark.parametrize("database", DATABASES)
async def test_what_is_too_much_for_one_request_is_attributed_late(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decided just now is found at once among all that is on record, the rest a little later; once."""
    monkeypatch.setattr(edge_ids, "EVENTS_TOGETHER", 2)
    monkeypatch.setattr(edge_ids, "MOST_AT_ONCE", 4)

    async with on_record(database, tmp_path, 20) as (store, events):
        old, fresh = (edge_proposition_id(events[place].id, 0) for place in (3, -2))
        assert await store.decision_event("c1", fresh) == await store.decision_event("c1", events[-2].id)
        assert await store.decision_event("c1", old) is None

        services = Services(store, lambda: NOON + SECOND)
        await services.registry.start()
        (state,) = services.registry.all_states()
        access = AuthorizedContainer(OWNER, state)
        await services.feedback.record(access, [shown("e1", old), shown("e2", fresh)])
        limit = a_limit()
        assert await usage_of(store, limit) == {("1", ""): 1}
        assert await services.feedback.attribute_late() == 1
        assert await services.feedback.attribute_late() == 0
        assert await usage_of(store, limit) == {("1", ""): 2}
        assert await store.decision_event("c1", old) is not None
        await services.stop()


@pytest.mark.parametrize("database", DATABASES)
async def test_many_who_look_at_once_find_what_they_look_for(database: str, tmp_path: Path) -> None:
    """They share one index; what comes on record meanwhile is found as well."""
    async with on_record(database, tmp_path, 30) as (store, events):
        late = replace(a_decision_event(ANN), surface="edge")
        ids = [edge_proposition_id(one.id, 0) for one in events]
        found, _ = await asyncio.gather(
            asyncio.gather(*(store.decision_event("c1", one) for one in ids)),
            store.record("c1", late),
        )
        assert [one.id for one in found if one is not None] == [one.id for one in events]
        assert await store.decision_event("c1", edge_proposition_id(late.id, 0)) is not None
