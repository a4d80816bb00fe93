"""counting-owners: who is named together is one person for caps, in any order and from any worker (R48)."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.model.identity import IdentityKey
from proffer.store.ports import Store
from proffer.store.postgres.store import PostgresStore
from proffer.testing.caps_contract import a_limit, caps_of, create_caps, link_identities, try_record
from proffer.testing.counting_contract import CRM, MAIL, NOTHING, used
from proffer.testing.store_contract import NOON
from properties.test_caps_oracle import Opening, in_a_file, in_memory, on_a_server
from support.postgres import a_database

people = st.sampled_from([(MAIL,), (CRM,), (MAIL, CRM), (CRM, MAIL)])
steps = st.one_of(
    st.tuples(st.sampled_from(["decide", "decide", "decide", "nothing"]), people),
    st.tuples(st.just("link"), st.just((MAIL, CRM))),
)


@pytest.mark.parametrize("opening", [in_memory, in_a_file, on_a_server], ids=["memory", "SQLite", "PostgreSQL"])
@given(st.integers(1, 3), st.sampled_from([(), (MAIL,), (CRM,)]), st.lists(steps, max_size=8))
@settings(max_examples=30, deadline=None)
async def test_who_is_named_together_gets_no_more(
    opening: Opening, limit: int, known: tuple[IdentityKey, ...], program: list[tuple[str, tuple[IdentityKey, ...]]]
) -> None:
    """After the first decision on record that names both, either has what both had, and gets what is left of it."""
    with TemporaryDirectory() as folder:
        store = await opening(Path(folder))
        try:
            await create_caps(store, caps_of(a_limit(limit, "profile")))
            if known:
                await link_identities(store, *known)
            given_in_all, bound = 0, None
            for kind, who in program:
                if kind == "link":
                    await link_identities(store, *who)
                    recorded = True
                elif kind == "nothing":
                    recorded = await try_record(store, *NOTHING, who=who)
                else:
                    recorded = await try_record(store, who=who)
                    given_in_all += recorded
                if recorded and len(who) > 1 and bound is None:
                    bound = max(limit, given_in_all)
                if bound is not None:
                    assert given_in_all <= bound
                    told = [await used(store, *named) for named in ([MAIL], [CRM], [MAIL, CRM])]
                    assert told == [given_in_all] * 3
                    if len(who) == 1 or kind == "decide":
                        assert recorded or given_in_all >= limit
        finally:
            await store.close()


@asynccontextmanager
async def two_on_a_file() -> AsyncIterator[list[Store]]:
    with TemporaryDirectory() as folder:
        stores: list[Store] = [await in_a_file(Path(folder)) for _ in range(2)]
        async with closing_all(stores):
            yield stores


@asynccontextmanager
async def two_on_a_server() -> AsyncIterator[list[Store]]:
    async with a_database() as url:
        stores: list[Store] = [await PostgresStore.open(url) for _ in range(2)]
        async with closing_all(stores):
            yield stores


@asynccontextmanager
async def closing_all(stores: list[Store]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for store in stores:
            await store.close()


@pytest.mark.parametrize("opening", [two_on_a_file, two_on_a_server], ids=["SQLite", "PostgreSQL"])
async def test_two_workers_give_no_more(opening: Callable[[], AbstractAsyncContextManager[list[Store]]]) -> None:
    """Both claim for two identities, each alone and together, while one is ingested: all is counted once."""
    chance, limit = random.Random(3), 3  # noqa: S311 - not a secret
    together = 0
    async with opening() as stores:
        await create_caps(stores[0], caps_of(a_limit(limit, "profile")))

        async def claim(pair: list[IdentityKey], who: list[IdentityKey] | None) -> tuple[int, int]:
            """Claim for these of a pair, or ingest one; return what was given, and what to both."""
            store = chance.choice(stores)
            await asyncio.sleep(chance.random() / 50)
            if who is None:
                await link_identities(store, chance.choice(pair))
                return 0, 0
            accepted = await try_record(store, who=who)
            return accepted, accepted and len(who) > 1

        pairs = [[IdentityKey("Email", str(number)), IdentityKey("CRMID", str(number))] for number in range(25)]
        jobs = {
            number: [
                claim(pair, who)
                for who in chance.sample([pair, pair[::-1], pair[:1], pair[1:], pair[1:], None, pair], k=7)
            ]
            for number, pair in enumerate(pairs)
        }
        results = await asyncio.gather(*(asyncio.gather(*jobs[number]) for number in jobs))
        for store in stores:
            await store.catch_up(NOON)
        for pair, outcomes in zip(pairs, results, strict=True):
            given_in_all, given_to_both = (sum(column) for column in zip(*outcomes, strict=True))
            together += given_to_both > 0
            for store in stores:
                told = [await used(store, *who) for who in (pair[:1], pair[1:], pair)]
                assert told == [given_in_all] * 3 or not given_to_both
            if given_to_both:
                assert given_in_all == limit
                assert not await try_record(stores[0], who=pair[1:])
    assert together > len(pairs) / 2


@pytest.mark.parametrize("opening", [two_on_a_file, two_on_a_server], ids=["SQLite", "PostgreSQL"])
async def test_owners_merge_while_one_is_ingested(
    opening: Callable[[], AbstractAsyncContextManager[list[Store]]],
) -> None:
    """One worker makes one of two owners while another makes a customer of an identity: nothing is lost or doubled."""
    chance = random.Random(5)  # noqa: S311 - not a secret
    quads = [
        [IdentityKey(code, str(number)) for code in ("Email", "CRMID", "Phone", "loyalty")] for number in range(25)
    ]
    async with opening() as stores:
        here, there = stores
        await create_caps(here, caps_of(a_limit(9, "profile")))

        async def go_on(quad: list[IdentityKey]) -> None:
            async def ingest() -> None:
                await asyncio.sleep(chance.random() / 100)
                await link_identities(there, quad[2])

            assert await try_record(here, who=quad[:2])
            assert await try_record(here, who=quad[2:])
            accepted, _ = await asyncio.gather(try_record(here, who=quad[1:4:2]), ingest())
            assert accepted

        await asyncio.gather(*map(go_on, quads))
        await there.catch_up(NOON)
        for quad in quads:
            assert [await used(there, one) for one in quad] == [3] * 4
            assert [len(await there.customers("c1", [one])) for one in quad] == [0, 0, 1, 0]
