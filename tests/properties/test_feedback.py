"""feedback-once: in whatever order and portions events come, and however often, each counts once, on every store."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.model.attribution import AttributedFeedback
from proffer.model.capping import CapEntity, CapScope, CapSubjects, Repeat, RepeatUnit
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.feedback_contract import (
    ANN,
    BOB,
    GOLD,
    MAIL,
    WEB,
    a_limit,
    an_event,
    create_container,
    usage_of,
)
from support.postgres import PooledStore

LIMITS = (
    a_limit("1", scope=CapScope.PROFILE),
    a_limit("2", entity=CapEntity.PLACEMENT, events=frozenset({"impression", "click"})),
    a_limit("3", events=frozenset({"click"}), repeat=Repeat(RepeatUnit.DAY)),
    a_limit("4", events=frozenset({"custom"}), custom_rule="rule"),
)
EVENTS: list[AttributedFeedback] = [
    an_event(
        f"e{number}",
        offers=[GOLD] if number % 5 else [GOLD, "another"],
        placement=(WEB, MAIL)[number % 2],
        who=((ANN,), (BOB,))[number % 4 // 2],
        event=("impression", "click", "custom")[number % 3],
        rules=["rule"] if number % 4 == 0 else [],
        at=-86_400 * (number % 2),
    )
    for number in range(12)
]
portions = st.lists(st.lists(st.integers(0, len(EVENTS) - 1), max_size=6), max_size=12)


async def counted(store: Store, sent: Sequence[Sequence[int]]) -> list[Any]:
    """What the counters say once all this was sent, some of it at the same time."""
    await create_container(store, *LIMITS)
    for start in range(0, len(sent), 3):
        await asyncio.gather(
            *(store.add_feedback("c1", [EVENTS[place] for place in portion]) for portion in sent[start : start + 3])
        )
    kept = await store.feedback_events("c1", 0, 1000)
    told = [await usage_of(store, *LIMITS, who=CapSubjects((), (who,))) for who in (ANN, BOB)]
    return [sorted(event.feedback.id for _, event in kept), *told]


def expected(sent: Sequence[Sequence[int]]) -> list[Any]:
    """The same by hand: each event that came at all, once."""
    came = [EVENTS[place] for place in sorted({place for portion in sent for place in portion})]
    told: list[Any] = [sorted(one.feedback.id for one in came)]
    for who in (ANN, BOB):
        counts: Counter[tuple[str, str]] = Counter()
        for one in came:
            for move in one.increments:
                if move.offer != GOLD:
                    continue
                if "impression" in one.cap_events and who in move.identities:
                    counts["1", ""] += 1
                if one.cap_events & {"impression", "click"}:
                    counts["2", move.placement] += 1
                if "click" in one.cap_events and one.feedback.at_us == EVENTS[0].feedback.at_us:
                    counts["3", ""] += 1
                if "rule" in one.rules:
                    counts["4", ""] += 1
        told.append(dict(counts))
    return told


@settings(max_examples=25, deadline=None)
@given(portions)
async def test_each_event_counts_once(tmp_path_factory: pytest.TempPathFactory, sent: Any) -> None:
    """The counters are those of the distinct events, in memory, on disk and on a server."""
    path: Path = tmp_path_factory.mktemp("feedback") / "proffer.db"

    store = await SqliteStore.open(path, synchronous="OFF")
    try:
        on_disk = await counted(store, sent)
    finally:
        await store.close()
    server = await PooledStore.create()
    try:
        on_a_server = await counted(server, sent)
    finally:
        await server.close()
    assert on_disk == on_a_server == await counted(MemoryStore(), sent) == expected(sent)
