"""The SQLite file keeps the promise, gives back what it kept, and is shared politely."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from proffer.model.capping import DAY_US
from proffer.model.customer import AudienceMembership, MembershipStatus
from proffer.model.events import edge_proposition_id
from proffer.model.identity import IdentityKey
from proffer.store.common.reservations import RecordItem
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import Store
from proffer.store.sql import (
    cap_statements as cap_rows,
)
from proffer.store.sql import (
    feedback_statements as feedback_rows,
)
from proffer.store.sql import (
    statements,
)
from proffer.store.sql.customer_statements import decode_membership, encode_membership
from proffer.store.sql.rows import from_token
from proffer.store.sqlite import caps as sqlite_caps
from proffer.store.sqlite.caps_tx import RecordBatch
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.builders import NOON
from proffer.testing.caps_contract import (
    CapsContract,
    a_decision,
    a_limit,
    caps_of,
    create_caps,
    link_identities,
    try_record,
)
from proffer.testing.counting_contract import CountingContract
from proffer.testing.customer_contract import CustomerContract
from proffer.testing.feedback_contract import FeedbackContract
from proffer.testing.store_contract import (
    HARD_JSON,
    StoreContract,
    a_container,
    a_token,
    a_version,
    with_encoded_documents,
)

CHILD = Path(__file__).with_name("child.py")


class TestSqliteStore(StoreContract):
    async def open(self, tmp_path: Path) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")


class TestSqliteCaps(CapsContract):
    async def open(self, tmp_path: Path) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")


class TestSqliteCounting(CountingContract):
    async def open(self, tmp_path: Path) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")


class TestSqliteCustomers(CustomerContract):
    async def open(self, tmp_path: Path) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")


class TestSqliteFeedback(FeedbackContract):
    async def open(self, tmp_path: Path) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (cap_rows.OLD_PACKS, (1, 50)),
        (cap_rows.PACKS_THROUGH, (1, 50)),
        (cap_rows.SPAN_ON_RECORD, ()),
        (cap_rows.SWEEP_RESERVATIONS, (1, 50)),
        (cap_rows.SWEEP_EDGE_IDS, (1, 50)),
        (cap_rows.PACKS_OF_EDGE, ("[1]",)),
        (cap_rows.PACKS_WITHIN, (1, 50, 10)),
        (cap_rows.NEWEST_PACK, ()),
        (cap_rows.SWEEP_COUNTERS, (1, 1, 50)),
        (feedback_rows.REMOVE_THROUGH, (1, 50)),
    ],
)
async def test_forgetting_looks_only_at_what_goes(tmp_path: Path, statement: str, values: tuple[object, ...]) -> None:
    """Writers wait for it, so it finds what is old by an index, however much is on record."""
    await (await SqliteStore.open(tmp_path / "proffer.db")).close()
    with closing(sqlite3.connect(tmp_path / "proffer.db")) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    logs = ("decision_packs", "cap_reservations", "decision_edge_ids", "cap_counters", "feedback")
    assert [step for step in plan if step.startswith("SCAN") and any(one in step for one in logs)] == []
    if statement == cap_rows.OLD_PACKS:  # by number it would pass over all that stays
        assert any("decision_packs_by_time" in step for step in plan)


async def test_ids_of_the_edge_go_with_their_decisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept once one is asked for, and forgotten however many: more than one write forgets."""
    monkeypatch.setattr(sqlite_caps, "ROWS_TOGETHER", 3)
    path = tmp_path / "proffer.db"

    def ids() -> int:
        with closing(sqlite3.connect(path)) as connection:
            (found,) = connection.execute("SELECT count(*) FROM decision_edge_ids").fetchone()
            return int(found)

    store = await SqliteStore.open(path)
    await store.ensure_container(a_container("c1"))
    for day in (0, 0, 0, 0, 0, 0, 0, 2):
        event = replace(a_decision(now=NOON + day * DAY_US), surface="edge")
        await store.record("c1", event)
    assert ids() == 0
    assert await store.decision_event("c1", edge_proposition_id("nobody's", 0)) is None
    assert ids() == 8
    assert await store.purge_decisions(NOON + DAY_US) == 7
    assert await store.purge_counters(NOON) == 0
    assert ids() == 1
    await store.close()


def test_memberships_of_older_versions_are_read() -> None:
    """They stood audience by audience; today those that stand alike are listed together."""
    standings = {
        "a": AudienceMembership(MembershipStatus.REALIZED, 5),
        "b": AudienceMembership(MembershipStatus.REALIZED, 5),
        "c": AudienceMembership(MembershipStatus.EXITED, 6),
        "d": AudienceMembership(MembershipStatus.REALIZED, 5, {"tier": "gold"}),
    }
    older = (
        b'{"a":["realized",5,null],"b":["realized",5,null],"c":["exited",6,null],"d":["realized",5,{"tier":"gold"}]}'
    )
    assert decode_membership(older) == standings
    packed = encode_membership(standings)
    assert packed is not None
    assert decode_membership(packed) == standings
    assert packed.count(b"realized") == 2


def test_reopening_gives_everything_back(tmp_path: Path) -> None:
    """Containers, versions and tokens are the same in the next life of the process."""
    written = [a_version(1, document=HARD_JSON), a_version(2, etag=2), a_version(3, "two")]

    async def first_life() -> None:
        store = await SqliteStore.open(tmp_path / "proffer.db")
        await store.ensure_container(a_container())
        await store.commit("c1", 0, written)
        await store.add_token(a_token())
        await store.revoke_token("t1", 5)
        await store.close()

    async def second_life() -> None:
        store = await SqliteStore.open(str(tmp_path / "proffer.db"))
        assert with_encoded_documents(written) == with_encoded_documents(await store.since("c1", 0))
        assert (3, tuple(written[1:])) == await store.live("c1")
        assert dict(await store.revisions()) == {"c1": 3}
        assert (a_token(revoked_us=5),) == await store.tokens()
        await store.commit("c1", 3, [a_version(4, "three")])
        await store.close()

    asyncio.run(first_life())
    asyncio.run(second_life())


async def test_a_file_closed_by_all_is_one_file(tmp_path: Path) -> None:
    """The log is taken in at the end, so that a copy of the one file is a backup."""
    store = await SqliteStore.open(tmp_path / "proffer.db")
    await store.ensure_container(a_container())
    await store.close()

    assert sorted(each.name for each in tmp_path.iterdir()) == ["proffer.db", "proffer.db-lock"]


async def test_two_stores_on_one_file_see_each_other(tmp_path: Path) -> None:
    """What one has committed is in the other's next answer."""
    here, there = [await SqliteStore.open(tmp_path / "proffer.db") for _ in range(2)]
    await here.ensure_container(a_container())
    for revision in range(1, 21):
        writer, reader = (here, there) if revision % 2 else (there, here)
        await writer.commit("c1", revision - 1, [a_version(revision, f"n{revision}")])
        assert {"c1": revision} == dict(await reader.revisions())
        assert revision == (await reader.live("c1"))[0]
    await there.close()
    assert len(await here.since("c1", 0)) == 20
    await here.close()


def test_what_one_turn_of_the_loop_reads_is_of_one_moment(tmp_path: Path) -> None:
    """And the next turn, or the next loop on the same store, has what was committed meanwhile."""
    path = tmp_path / "proffer.db"
    token = a_token()

    async def begin() -> SqliteStore:
        store = await SqliteStore.open(path)
        assert await store.token(token.digest) is None
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(statements.ADD_TOKEN, from_token(token))
        assert await store.token(token.digest) is None
        await asyncio.sleep(0)
        assert await store.token(token.digest) == token
        await store.revoke_token(token.id, NOON)
        again = await store.token(token.digest)
        assert again is not None
        assert again.revoked_us == NOON
        return store

    async def go_on(store: SqliteStore) -> None:
        again = await store.token(token.digest)
        assert again is not None
        assert again.revoked_us == NOON + 1
        await store.close()

    store = asyncio.run(begin())  # its last turn is never over
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE tokens SET revoked_us = ?", (NOON + 1,))
    asyncio.run(go_on(store))


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Three processes create one database together and write to one container: every write is there."""
    database = tmp_path / "proffer.db"
    children = [
        subprocess.Popen([sys.executable, CHILD, "insist", database, name], stdout=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    said = [child.communicate(timeout=60)[0] for child in children]
    acknowledged = sorted(int(line.split()[1]) for line in "".join(said).splitlines())

    assert [child.returncode for child in children] == [0, 0, 0]
    assert list(range(1, 61)) == acknowledged
    store = await SqliteStore.open(database)
    revision, alive = await store.live("c1")
    await store.close()
    assert (revision, len({each.name for each in alive})) == (60, 60)


async def test_the_event_loop_goes_on_during_a_long_read(tmp_path: Path) -> None:
    """Reading a library of two thousand objects leaves the loop to others."""
    store = await SqliteStore.open(tmp_path / "proffer.db")
    await store.ensure_container(a_container())
    await store.commit("c1", 0, [a_version(place, f"n{place}") for place in range(1, 2001)])
    reading, turns = asyncio.create_task(store.live("c1")), 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0.0005)
    await store.close()
    assert turns > 3


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Reading and writing raise StoreUnavailable; nothing hangs."""
    store = await SqliteStore.open(tmp_path / "proffer.db")
    await store.close()
    for asked in (store.revisions(), store.containers(), store.add_token(a_token())):
        with pytest.raises(StoreUnavailable, match="closed"):
            await asked


async def test_commits_are_safe_against_a_power_cut_by_default(tmp_path: Path) -> None:
    """The connection that writes syncs each commit, and the file is in WAL mode with foreign keys on."""

    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    store = await SqliteStore.open(tmp_path / "proffer.db")
    found = await store.submit(settings)
    await store.close()
    assert found == [2, "wal", 1]


async def test_the_database_itself_refuses_a_second_holder_of_an_id(tmp_path: Path) -> None:
    """Whatever a program does, two objects of one container cannot share an id."""
    store = await SqliteStore.open(tmp_path / "proffer.db")
    await store.ensure_container(a_container())
    await store.commit("c1", 0, [a_version(1), a_version(2, "two")])
    await store.close()
    with closing(sqlite3.connect(tmp_path / "proffer.db")) as connection:
        for statement in (
            "UPDATE instances SET canonical_id = (SELECT min(canonical_id) FROM instances)",
            "INSERT INTO containers SELECT 'c2', organisation, sandbox, name, 0, '', '', 0 FROM containers",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
                connection.execute(statement)


async def test_whose_counters_apply_takes_no_further_statement(tmp_path: Path) -> None:
    """A decision takes as many for a customer, a stranger, one that joined, and two that joined before."""
    mail, number, phone, other = (IdentityKey(code, "1") for code in ("Email", "CRMID", "Phone", "loyalty"))
    store = await SqliteStore.open(tmp_path / "proffer.db")
    await create_caps(store, caps_of(a_limit(9, "profile")))
    await link_identities(store, mail)
    assert await try_record(store, who=[number, phone])
    await store.close()
    batch, counts = RecordBatch(), []
    with closing(sqlite3.connect(tmp_path / "proffer.db", isolation_level=None)) as connection:
        for who in ([mail], [mail], [other], [number], [number, phone]):
            statements_run: list[str] = []
            connection.execute("BEGIN IMMEDIATE")
            connection.set_trace_callback(statements_run.append)
            batch(connection, [RecordItem.from_event("c1", a_decision(who=who), ttl_us=None, forced=False)])
            connection.set_trace_callback(None)
            connection.execute("COMMIT")
            counts.append(len(statements_run))
    assert counts[1:] == [counts[1]] * 4  # the first reads the limits
