"""Long work on the event loop leaves turns to others."""

import asyncio
from collections.abc import Generator

import pytest

from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.engine.snapshot import Snapshot
from proffer.engine.steps import run_to_completion
from proffer.service.library import publisher as publish
from proffer.service.library.publisher import Publisher
from proffer.service.runtime import scheduler as turns
from proffer.service.runtime.scheduler import run_sliced
from proffer.testing.builders import a_library, an_entity, an_offer, entities, instances

LIBRARY = a_library(an_offer("gold"), an_offer("silver"))


def counting(steps: int) -> Generator[None, None, int]:
    for _ in range(steps):
        yield
    return steps


def test_work_gives_what_it_returns() -> None:
    """In turns or at once."""
    assert asyncio.run(run_sliced(counting(5))) == run_to_completion(counting(5)) == 5


async def test_others_get_turns_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With turns as short as can be, somebody else runs after each step."""
    monkeypatch.setattr(turns, "MAX_SLICE_SECONDS", 0)
    seen: list[str] = []

    def work() -> Generator[None, None, None]:
        for _ in range(3):
            seen.append("work")
            yield

    async def others() -> None:
        for _ in range(3):
            seen.append("others")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(run_sliced(work()))
        group.create_task(others())

    assert seen.index("others") < len(seen) - 1 - seen[::-1].index("work")


def in_force(snapshot: Snapshot) -> list[str]:
    return [
        candidate.bound_offer.offer.name
        for decision in snapshot.decisions.values()
        for scope in decision.scopes.values()
        for group in scope.groups
        for criterion in group
        for candidate in criterion.candidates
    ]


async def test_a_publication_is_in_force_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it is built, what was in force stays so; one that is cancelled is brought to its end."""
    monkeypatch.setattr(turns, "MAX_SLICE_SECONDS", 0)
    publisher = Publisher("c1")
    seen: list[int] = []

    task = asyncio.create_task(publisher.publish(instances(LIBRARY), 1, 0))
    while not task.done() and len(seen) < 5:
        seen.append(publisher.snapshot.revision)
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert set(seen) == {0}
    assert publisher.snapshot.revision == 1
    assert len(in_force(publisher.snapshot)) == 2


def test_the_work_of_many_changes_to_many_offers_is_cut_up() -> None:
    """Twenty offers of two thousand have changed: others get many turns before that is in force."""
    library = entities(a_library(*(an_offer(f"offer {number}") for number in range(2_000))))
    builder = SnapshotBuilder("c1")
    builder.apply(library.items(), 1)
    changed = [an_entity(an_offer(f"offer {number}", priority=3)) for number in range(20)]

    turns_given = sum(1 for _ in builder.apply_in_steps([(one.id, one) for one in changed], 2))

    assert turns_given >= 50


def test_what_was_patched_is_made_anew_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """A while after a change, and what is in force says the same; one that is closed leaves it."""
    monkeypatch.setattr(publish, "REINDEX_DELAY_S", 0)
    documents = [an_offer(f"offer {number}") for number in range(80)]
    changed = [an_offer("offer 7", priority=3)]

    async def story(*, closed: bool) -> tuple[int, list[str]]:
        publisher = Publisher("c1")
        await publisher.publish(instances(a_library(*documents)), 1, 0)
        await publisher.publish(instances(changed), 2, 0)
        if closed:
            publisher.close()
        for _ in range(1_000):
            await asyncio.sleep(0.001)
            if publisher.unindexed_changes == 0 or closed:
                break
        return publisher.unindexed_changes, in_force(publisher.snapshot)

    left, names = asyncio.run(story(closed=False))
    assert (left, names[0], len(names)) == (0, "offer 7", 80)
    assert asyncio.run(story(closed=True)) == (1, names)
