"""The line of a container's writers: nothing is half done, nobody is forgotten, whatever fails."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proffer.app import DEV_CONTAINER, Services
from proffer.errors import Busy, Conflict, Invalid, ProfferError
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.library import MAX_GROUP
from proffer.store.errors import StaleRevision, StoreUnavailable
from proffer.store.memory.store import MemoryStore
from support.containers import access_to, make, on_file, open_services, tag
from support.faulty_store import FaultyStore, failing


def library(services: Services) -> Any:
    return access_to(services).state


async def in_step(services: Services) -> set[str]:
    """The names there are, after checking that memory, snapshot and store agree."""
    held = library(services)
    revision, live = await services.store.live(DEV_CONTAINER)
    assert held.catalog.revision == revision
    assert {one.key: one.etag for one in held.catalog} == {one.key: one.etag for one in live}
    assert held.publisher.snapshot.revision == revision
    return {one.name for one in live}


async def outcomes(*writes: Any) -> list[Any]:
    """What became of each write: the name written, or the kind of error."""
    results = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 10)
    return [one.name if isinstance(one, Instance) else type(one) for one in results]


async def test_fifty_at_once_share_few_commits(tmp_path: Path) -> None:
    """Ids, instance ids and revisions are all different, and the disk is waited for a few times only."""
    async with on_file(tmp_path / "proffer.db") as services:
        commits = []
        commit = services.store.commit

        async def counted(container: str, based_on: int, versions: Sequence[Instance], *caps: Any) -> None:
            commits.append(len(versions))
            await commit(container, based_on, versions, *caps)

        services.store.commit = counted  # type: ignore[assignment, method-assign]
        made = await asyncio.gather(*(tag(services, f"t{number}") for number in range(50)))
        assert len({one.id for one in made}) == 50
        assert len({one.instance_id for one in made}) == 50
        assert sorted(one.revision for one in made) == list(range(1, 51))
        assert {one.etag for one in made} == {1}
        assert sum(commits) == 50
        assert len(commits) <= 5
        assert len(await in_step(services)) == 50


async def test_many_writers_of_one_object_are_served_in_turn() -> None:
    """Each sees what the one before it wrote, also within one commit."""
    async with open_services() as services:
        made = await tag(services, "t")

        async def count() -> Instance:
            receipt = await services.catalog.revise(
                access_to(services),
                made.instance_id,
                lambda before: {**before.document, "n": before.document.get("n", 0) + 1},
            )
            return receipt.instance

        results = await asyncio.gather(*(count() for _ in range(3 * MAX_GROUP)))
        assert [one.etag for one in results] == list(range(2, 3 * MAX_GROUP + 2))
        assert results[-1].document["n"] == 3 * MAX_GROUP
        await in_step(services)


async def test_a_database_that_fails_is_heard_by_all_and_forgotten() -> None:
    """Everyone in the commit is told, nothing is written, and the next write works."""
    store = FaultyStore(failing(StoreUnavailable("the disk is full")))
    async with open_services(store) as services:
        first = await outcomes(*(tag(services, f"a{number}") for number in range(10)))
        assert first == [StoreUnavailable] * 10
        assert await in_step(services) == set()
        assert await outcomes(tag(services, "b"), tag(services, "a1")) == ["b", "a1"]
        assert await in_step(services) == {"b", "a1"}


async def test_a_bug_in_the_store_is_heard_too() -> None:
    """Not only expected errors reach those who wait."""
    store = FaultyStore(failing(ZeroDivisionError()))
    async with open_services(store) as services:
        first = await outcomes(tag(services, "a"), tag(services, "b"))
        assert first == [ZeroDivisionError] * 2
        assert await outcomes(tag(services, "a")) == ["a"]
        assert await in_step(services) == {"a"}


def elsewhere(*names: str) -> Any:
    """A fault: another process writes these tags first."""

    async def fault(container: str, based_on: int, versions: Sequence[Instance]) -> None:
        like = versions[0]
        await MemoryStore.commit(
            fault.store,  # type: ignore[attr-defined]
            container,
            based_on,
            [
                replace(
                    like,
                    instance_id=f"elsewhere-{name}",
                    id=f"xcore:tag:{ord(name[0]):x}",
                    revision=based_on + number,
                    document={"@id": f"xcore:tag:{ord(name[0]):x}", "xdm:name": name},
                )
                for number, name in enumerate(names, 1)
            ],
        )

    return fault


async def test_what_another_process_wrote_meanwhile_counts() -> None:
    """The writes are judged again by what there is now: one name is taken by then, the others are written."""
    fault = elsewhere("taken", "x")
    store = fault.store = FaultyStore(fault)
    async with open_services(store) as services:
        result = await outcomes(tag(services, "a"), tag(services, "taken"), tag(services, "b"))
        assert result == ["a", Conflict, "b"]
        assert await in_step(services) == {"a", "b", "taken", "x"}


async def test_writers_who_never_get_a_turn_are_told() -> None:
    """Where others keep writing first, it ends with 503 rather than never; later writes work."""
    store = FaultyStore(*[failing(StaleRevision("again")) for _ in range(20)])
    async with open_services(store) as services:
        assert await outcomes(tag(services, "a"), tag(services, "b")) == [Busy, Busy]
        assert await outcomes(tag(services, "a")) == ["a"]
        assert await in_step(services) == {"a"}


async def refuse_an_old_id(_: str, __: int, versions: Sequence[Instance]) -> None:
    """A fault: the database knows that this id was an object's that is gone; memory does not."""
    if any(one.id == "xcore:tag:dead" for one in versions):
        raise Conflict("taken", code="id-taken")


async def test_one_the_database_refuses_does_not_take_others_along() -> None:
    """Each answers for itself; one that was refused because of it is judged again, and is free."""
    store = FaultyStore(*[refuse_an_old_id] * 10)
    async with open_services(store) as services:

        def dead(name: str) -> Any:
            return make(services, EntityKind.TAG, xdm__name=name, **{"@id": "xcore:tag:dead"})

        def wrong() -> Any:
            return make(services, EntityKind.TAG, name="no name")

        results = await outcomes(tag(services, "a"), dead("free"), wrong(), tag(services, "b"), tag(services, "free"))
        assert results == ["a", Conflict, Invalid, "b", "free"]
        assert await outcomes(dead("x"), wrong()) == [Conflict, Invalid]
        assert await outcomes(dead("x")) == [Conflict]
        assert await in_step(services) == {"a", "b", "free"}


async def test_one_that_cannot_be_judged_does_not_take_others_along() -> None:
    """A bug met while one write is checked is that write's alone."""

    def broken(_: Instance) -> Any:
        raise ZeroDivisionError

    async with open_services(FaultyStore()) as services:
        made = await tag(services, "a")
        revise = services.catalog.revise(access_to(services), made.instance_id, broken)
        assert await outcomes(tag(services, "b"), revise, tag(services, "c")) == [
            "b",
            ZeroDivisionError,
            "c",
        ]
        assert await in_step(services) == {"a", "b", "c"}


async def test_one_who_leaves_while_waiting_harms_nobody() -> None:
    """A caller that is cancelled before, in or after the commit: the others are written, and all goes on."""
    gate = asyncio.Event()

    async def wait(*_: object) -> None:
        await gate.wait()

    store = FaultyStore(wait)
    async with open_services(store) as services:
        writes = [asyncio.create_task(tag(services, f"t{number}")) for number in range(5)]
        for _ in range(5):
            await asyncio.sleep(0)
        late = [asyncio.create_task(tag(services, f"l{number}")) for number in range(3)]
        await asyncio.sleep(0)
        writes[1].cancel()  # its commit is under way
        late[1].cancel()  # its turn has not come
        gate.set()
        results = await asyncio.gather(*writes, *late, return_exceptions=True)
        assert [type(one) is Instance for one in results] == [
            *(True, False, True, True, True),
            *(True, False, True),
        ]
        # What was on its way to the disk may be there; what had not begun is not.
        assert await in_step(services) >= {"t0", "t2", "t3", "t4", "l0", "l2"}
        assert "l1" not in await in_step(services)
        assert await outcomes(tag(services, "later")) == ["later"]


async def test_an_object_that_cannot_be_read_is_out_of_play_alone() -> None:
    """What an older version let in does not keep what is written after it from coming into force."""
    store = MemoryStore()
    async with open_services(store) as services:
        made = await tag(services, "a")
        broken = replace(
            made,
            instance_id="broken",
            kind=EntityKind.OFFER,
            id="xcore:personalized-offer:1",
            revision=2,
            document={"xdm:name": "o", "@id": "xcore:personalized-offer:1"},
        )
        await store.commit(DEV_CONTAINER, 1, [broken])
        assert await outcomes(tag(services, "b")) == ["b"]
        assert await in_step(services) == {"a", "b", "o"}
    async with open_services(store) as services:
        assert await in_step(services) == {"a", "b", "o"}


async def test_stopping_waits_for_what_was_begun() -> None:
    """A write that was accepted before the stop is finished before the store is closed."""
    store = FaultyStore()
    async with open_services(store) as services:
        write = asyncio.create_task(tag(services, "a"))
        await asyncio.sleep(0)
    assert (await write).name == "a"
    assert ({one.name for one in (await store.live(DEV_CONTAINER))[1]}) == {"a"}


async def test_a_refusal_is_the_callers_own() -> None:
    """Two refused in one commit hear each their own reason."""
    async with open_services() as services:
        await tag(services, "a")
        results = await asyncio.gather(
            tag(services, "a"),
            make(services, EntityKind.TAG, xdm__name=7),
            return_exceptions=True,
        )
        codes = [one.code for one in results if isinstance(one, ProfferError)]
        assert codes == ["name-taken", "invalid"]
