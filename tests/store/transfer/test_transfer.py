"""A whole installation is copied, to the other kind of database or to a file and back, and is the same."""

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proffer.model.capping import CapRefusal, DecisionRecorded
from proffer.model.customer import Checkpoint, MembershipChange, ProfileRecord
from proffer.model.events import edge_proposition_id
from proffer.model.identity import IdentityKey
from proffer.store.errors import SchemaMismatch, StoreUnavailable
from proffer.store.ports import Store
from proffer.store.postgres import migrate as postgres_schema
from proffer.store.postgres.store import PostgresStore
from proffer.store.sqlite import migrate as sqlite_schema
from proffer.store.sqlite.store import SqliteStore
from proffer.store.transfer import postgres as moving_postgres
from proffer.store.transfer import tables as moving_tables
from proffer.store.transfer.file import BackupSource, BackupTarget
from proffer.store.transfer.postgres import PostgresSource, PostgresTarget
from proffer.store.transfer.sqlite import SqliteSource, SqliteTarget
from proffer.store.transfer.tables import Row, TransferComplete, TransferRefused, TransferTable
from proffer.store.transfer.transfer import transfer
from proffer.testing import feedback_contract
from proffer.testing.caps_contract import PROFILE_LIMIT, TOTAL_LIMIT, a_decision, caps_of, usage_of
from proffer.testing.customer_contract import ANN, BOB, COOKIE, a_record, an_event
from proffer.testing.store_contract import (
    HARD_JSON,
    NOON,
    a_container,
    a_token,
    a_version,
)
from support.postgres import drop_database, new_database

STRANGERS = (IdentityKey("Phone", "1"), IdentityKey("loyalty", "1"))
DECISIONS = [
    a_decision(who=[ANN]),
    a_decision(who=[COOKIE], surface="edge"),
    a_decision(who=[BOB], now=NOON + 5),
    a_decision(("free", "web"), who=STRANGERS),
]


async def furnish(store: Store) -> None:
    """Some of everything there is."""
    await store.ensure_container(a_container())
    await store.ensure_container(a_container("c0", sandbox="dev", created_us=NOON - 1))
    written = [a_version(1, document=HARD_JSON), a_version(2, etag=2), a_version(3, "two")]
    await store.commit("c1", 0, written, [caps_of(TOTAL_LIMIT, PROFILE_LIMIT)])
    await store.commit("c1", 3, [a_version(4, "two", etag=2, deleted=True)])
    for name in ("t1", "t2"):
        await store.add_token(a_token(name, expires_us=NOON))
    await store.revoke_token("t1", 5)
    await store.apply_changes(
        "c1",
        [
            a_record(ANN, at=1, city="Ulm", name="Zoë 🎁"),
            a_record(ANN, at=2, dataset="web", zip="1"),
            ProfileRecord(identities=(BOB,), dataset="crm", stamped_us=NOON, digest=b"\0\xff"),
            *(an_event(ANN, key=f"e{number}", at=number) for number in range(5)),
            MembershipChange(identities=(BOB,), audience="a", columns={"tier": 1.0}, stamped_us=NOON),
        ],
        now_us=NOON,
        checkpoint=Checkpoint(name="import", note=b"\0half"),
    )
    await store.apply_changes("c0", [a_record(ANN, city="Rome")], now_us=NOON)
    for event in DECISIONS:
        assert isinstance(await store.record("c1", event), DecisionRecorded)
    held = a_decision(("other", "web"), who=[ANN])
    await store.record("c1", held, ttl_us=10**15)
    await store.add_feedback("c1", [feedback_contract.an_event(who=(ANN,), missed=True)])


async def contents(store: Store) -> list[Any]:
    """All of it, as the ports tell it."""
    people = [one for key in ("c0", "c1") for one in await store.page(key, 0, 100)]
    return [
        list(await store.containers()),
        list(await store.since("c1", 0)),
        await store.live("c1"),
        list(await store.tokens()),
        people,
        [await store.fragments("c1", one) for one in people],
        [list(await store.events("c1", [one.key], 0)) for one in people],
        [(await store.customer_count(key))[0] for key in ("c0", "c1")],
        await store.checkpoint("c1", "import"),
        list(await store.decision_events("c1", 0, 100)),
        list(await store.feedback_events("c1", 0, 100)),
        await usage_of(store, TOTAL_LIMIT, PROFILE_LIMIT, who=[ANN]),
        await usage_of(store, TOTAL_LIMIT, PROFILE_LIMIT, who=[COOKIE]),
        await owners_of_strangers(store),
        await store.decision_event("c1", edge_proposition_id(DECISIONS[1].id, 0)),
    ]


async def owners_of_strangers(store: Store) -> list[tuple[int, ...]]:
    return [(await store.lookup_for_decision("c1", [one])).subjects.owners for one in STRANGERS]


async def goes_on(store: Store) -> None:
    """What is kept still holds what comes: limits, ids that are taken, numbers that rise."""
    await store.catch_up(NOON)
    assert isinstance(await store.record("c1", a_decision(who=[BOB])), CapRefusal)
    assert isinstance(await store.record("c1", a_decision(("free", "web"))), DecisionRecorded)
    numbers = [number for number, _ in await store.decision_events("c1", 0, 100)]
    assert numbers == sorted(set(numbers))
    before = {one.key for one in await store.page("c1", 0, 100)}
    stranger = IdentityKey("CRMID", "new")
    (taken,) = await store.apply_changes("c1", [a_record(stranger)], now_us=NOON)
    assert taken.key not in before
    assert taken.key is not None
    ((owner,), (same,)) = await owners_of_strangers(store)
    assert owner == same
    assert taken.key > max(*before, owner)
    again = ProfileRecord(identities=(BOB,), dataset="crm", stamped_us=NOON, digest=b"\0\xff")
    assert (await store.apply_changes("c1", [again], now_us=NOON))[0].is_duplicate
    repeated = feedback_contract.an_event(who=(ANN,), missed=True)
    assert list(await store.add_feedback("c1", [repeated])) == [False]
    await store.commit("c1", 4, [a_version(5, "three")], [caps_of(TOTAL_LIMIT, PROFILE_LIMIT, offer="more")])
    more = a_decision(("more", "web"), who=[stranger])
    assert isinstance(await store.record("c1", more), DecisionRecorded)


async def test_an_installation_goes_round_and_is_the_same(tmp_path: Path) -> None:
    """SQLite to PostgreSQL, to a backup, to SQLite, to PostgreSQL: all of it, each time, and life goes on."""
    first, last = await new_database(), await new_database()
    store: Store = await SqliteStore.open(tmp_path / "a.db")
    await furnish(store)
    expected = await contents(store)
    await store.close()

    sums = await transfer(SqliteSource(tmp_path / "a.db"), PostgresTarget(first))
    backup = BackupTarget(tmp_path / "all.backup", NOON)
    assert sums == await transfer(PostgresSource(first), backup)
    restored = SqliteTarget(tmp_path / "b.db")
    assert sums == await transfer(BackupSource(tmp_path / "all.backup"), restored)
    assert sums == await transfer(SqliteSource(tmp_path / "b.db"), PostgresTarget(last))
    assert sums["customers"].rows == 3

    for opened in (
        PostgresStore.open(first),
        SqliteStore.open(tmp_path / "b.db"),
        PostgresStore.open(last),
    ):
        store = await opened
        await store.catch_up(NOON)
        assert expected == await contents(store)
        await goes_on(store)
        await store.close()
    await drop_database(first)
    await drop_database(last)


async def test_both_databases_have_the_same_tables(tmp_path: Path) -> None:
    """By name, column and key, but for what each keeps for itself."""
    url = await new_database()
    await postgres_schema.migrate(url)
    sqlite_schema.migrate(tmp_path / "a.db")
    connection = await asyncpg.connect(url)
    theirs = await moving_postgres.tables_of(connection)
    await connection.close()
    source = SqliteSource(tmp_path / "a.db")
    _, ours = await source.open()
    await source.close()
    assert [one.name for one in ours] == [one.name for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert (one.columns, one.key) == (other.columns, other.key)
    await drop_database(url)
    names = [one.name for one in sqlite_schema.known_migrations()]
    assert names == [one.name for one in postgres_schema.known_migrations()]


def test_tables_come_after_those_they_refer_to() -> None:
    """Also in a database that was restored from a dump, which creates tables in order of their names."""

    async def story() -> None:
        url = await new_database()
        connection = await asyncpg.connect(url)
        await connection.execute(
            "CREATE TABLE a (id BIGINT PRIMARY KEY, b BIGINT); CREATE TABLE b (id BIGINT PRIMARY KEY, c BIGINT);"
            "CREATE TABLE c (id BIGINT PRIMARY KEY); ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;"
            "ALTER TABLE b ADD FOREIGN KEY (c) REFERENCES c"
        )
        tables = await moving_postgres.tables_of(connection)
        await connection.close()
        assert [one.name for one in tables] == ["c", "b", "a"]
        await drop_database(url)

    asyncio.run(story())


class Breaking:
    """A target that breaks down after so many writes."""

    def __init__(self, target: Any, writes: int) -> None:
        self._target = target
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    async def put(self, table: TransferTable, rows: Sequence[Row]) -> None:
        if not self._left:
            raise ConnectionError("broken")
        self._left -= 1
        await self._target.put(table, rows)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_move_that_broke_off_is_gone_on_with(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied twice; until it is whole no server opens it, and without `--resume` it is left alone."""
    monkeypatch.setattr(moving_tables, "PAGE_ROWS", 2)

    store = await SqliteStore.open(tmp_path / "a.db")
    await furnish(store)
    expected = await contents(store)
    await store.close()
    source = SqliteSource(tmp_path / "a.db")
    url = await new_database()

    def target() -> Any:
        return SqliteTarget(tmp_path / "b.db") if kind == "sqlite" else PostgresTarget(url)

    async def opened() -> Store:
        if kind == "sqlite":
            return await SqliteStore.open(tmp_path / "b.db", migrate=True)
        return await PostgresStore.open(url, migrate=True)

    for resume in (False, True):
        with pytest.raises(ConnectionError):
            await transfer(source, Breaking(target(), 0), resume=resume)
        await (await opened()).close()  # it has not begun, so servers may use the target
    for writes in (1, 4, 3):
        with pytest.raises(ConnectionError):
            await transfer(source, Breaking(target(), writes), resume=True)
        with pytest.raises(SchemaMismatch, match="not finished"):
            await opened()
        with pytest.raises(TransferRefused, match="--resume"):
            await transfer(source, target())
    other = SqliteSource(tmp_path / "c.db")
    sqlite_schema.migrate(tmp_path / "c.db")
    with pytest.raises(TransferRefused, match="from another database"):
        await transfer(other, target(), resume=True)
    await transfer(source, target(), resume=True)
    with pytest.raises(TransferComplete, match="nothing to resume"):
        await transfer(source, target(), resume=True)
    store_ = await opened()
    await store_.catch_up(NOON)
    assert expected == await contents(store_)
    with pytest.raises(TransferRefused, match="not empty"):
        await transfer(source, target())
    await store_.add_token(a_token("new"))
    await store_.close()
    with pytest.raises(TransferRefused, match="servers have used it since"):
        await transfer(source, target(), resume=True)
    await drop_database(url)


async def test_a_source_that_was_changed_between_attempts_is_found_out(tmp_path: Path) -> None:
    """What was copied before the change is not what is there now: the counts and checksums say so."""
    store = await SqliteStore.open(tmp_path / "a.db")
    await furnish(store)
    target = SqliteTarget(tmp_path / "b.db")
    with pytest.raises(ConnectionError):
        await transfer(SqliteSource(tmp_path / "a.db"), Breaking(target, 6))
    await store.revoke_token("t2", 1)
    with pytest.raises(TransferRefused, match=r"differs .* in tokens"):
        await transfer(SqliteSource(tmp_path / "a.db"), SqliteTarget(tmp_path / "b.db"), resume=True)
    await store.close()


async def test_a_backup_is_of_one_moment(tmp_path: Path) -> None:
    """Servers go on writing while it is made; what they write then is not in it."""
    store = await SqliteStore.open(tmp_path / "a.db")
    await furnish(store)

    class Slow(BackupTarget):
        async def put(self, table: TransferTable, rows: Sequence[Row]) -> None:
            await store.apply_changes("c1", [a_record(IdentityKey("CRMID", "late"))], now_us=NOON)
            await super().put(table, rows)

    source = SqliteSource(tmp_path / "a.db")
    sums = await transfer(source, Slow(tmp_path / "x.backup", NOON))
    assert sums["customers"].rows == 3
    assert (await store.customer_count("c1"))[0] == 3
    await store.close()


def test_a_cut_or_changed_backup_is_refused(tmp_path: Path) -> None:
    """Wherever it ends too early, and whichever byte is another: nothing is restored from it."""

    async def story() -> None:
        store = await SqliteStore.open(tmp_path / "a.db")
        await furnish(store)
        await store.close()
        await transfer(SqliteSource(tmp_path / "a.db"), BackupTarget(tmp_path / "good", NOON))

    asyncio.run(story())
    whole = (tmp_path / "good").read_bytes()
    plain = gzip.decompress(whole)
    bad = [whole[: len(whole) * part // 20] for part in range(20)]
    bad += [gzip.compress(plain[: len(plain) * part // 20]) for part in range(20)]
    for place in range(40, len(whole), len(whole) // 20):
        bad.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    bad += [b"", b"a letter" * 100, gzip.compress(b"a letter" * 100)]
    for number, content in enumerate(bad):
        path = tmp_path / f"bad{number}"
        path.write_bytes(content)
        with pytest.raises(StoreUnavailable):
            asyncio.run(transfer(BackupSource(path), SqliteTarget(tmp_path / "b.db")))
        assert not (tmp_path / "b.db").exists()


async def test_a_backup_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """It is written beside, checked, and put in place whole."""
    (tmp_path / "x").write_text("the old one")
    store = await SqliteStore.open(tmp_path / "a.db")
    await furnish(store)
    await store.close()
    target = BackupTarget(tmp_path / "x", NOON)
    with pytest.raises(ConnectionError):
        await transfer(SqliteSource(tmp_path / "a.db"), Breaking(target, 2))
    assert (tmp_path / "x").read_text() == "the old one"
    assert not (tmp_path / "x.part").exists()
    with pytest.raises(TransferRefused, match="cannot write"):
        await transfer(SqliteSource(tmp_path / "a.db"), BackupTarget(tmp_path / "no" / "x", NOON))


async def test_a_backup_of_an_older_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is restored as it was and migrated then; one of a newer version is refused."""
    today = sqlite_schema.known_migrations()
    later = sqlite_schema.Migration(
        version=len(today) + 1,
        name=f"{len(today) + 1:03}_more.sql",
        script="ALTER TABLE tokens ADD COLUMN more TEXT NOT NULL DEFAULT 'x';",
    )

    store = await SqliteStore.open(tmp_path / "a.db")
    await store.add_token(a_token())
    await store.close()
    await transfer(SqliteSource(tmp_path / "a.db"), BackupTarget(tmp_path / "old", NOON))
    with monkeypatch.context() as newer:
        newer.setattr(sqlite_schema, "known_migrations", lambda: (*today, later))
        await transfer(BackupSource(tmp_path / "old"), SqliteTarget(tmp_path / "b.db"))
        await transfer(SqliteSource(tmp_path / "b.db"), BackupTarget(tmp_path / "new", NOON))
    with pytest.raises(StoreUnavailable):
        await transfer(BackupSource(tmp_path / "new"), SqliteTarget(tmp_path / "c.db"))


async def test_a_database_that_is_behind_or_absent_is_not_moved(tmp_path: Path) -> None:
    """It says what to do first."""
    with pytest.raises(TransferRefused, match="no database"):
        await transfer(SqliteSource(tmp_path / "a.db"), SqliteTarget(tmp_path / "b.db"))
    sqlite_schema.migrate(tmp_path / "a.db", up_to=1)
    with pytest.raises(TransferRefused, match="proffer migrate"):
        await transfer(SqliteSource(tmp_path / "a.db"), SqliteTarget(tmp_path / "b.db"))
    url = await new_database()
    await postgres_schema.migrate(url, up_to=1)
    with pytest.raises(TransferRefused, match="proffer migrate"):
        await transfer(PostgresSource(url), SqliteTarget(tmp_path / "b.db"))
    await drop_database(url)
    assert not (tmp_path / "b.db").exists()
