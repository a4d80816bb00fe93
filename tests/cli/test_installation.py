"""`proffer backup`, `restore`, `move` and `migrate`, as an operator runs them."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.commands import Proffer
from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, Services, open_store
from proffer.auth.principal import Permission, Principal
from proffer.config import Settings
from proffer.store.sqlite import migrate as sqlite_schema
from support.postgres import drop_database, new_database
from support.server import ODE, sample_library, server

OWNER = Principal(
    organisation=DEV_ORGANISATION,
    sandbox="prod",
    permissions=frozenset({Permission.ADMIN}),
    user="owner@AdobeID",
    client="tests",
)


@pytest.fixture
def installation(proffer: Proffer, tmp_path: Path) -> Path:
    """A database with the sample library, and some decisions made over HTTP."""
    path = tmp_path / "a.db"
    assert proffer("library", "import", sample_library(), "--database", f"sqlite:///{path}").code == 0
    settings = Settings(database=f"sqlite:///{path}")
    with server(opening=lambda _: open_store(settings)) as client:
        for number in range(12):
            answer = client.post(
                f"{ODE}/decisions",
                json={
                    "xdm:propositionRequests": [
                        {
                            "xdm:activityId": "xcore:offer-activity:17f7e67d3d4d9004",
                            "xdm:placementId": "xcore:offer-placement:124e0be5699743d3",
                        }
                    ],
                    "xdm:profiles": [
                        {
                            "xdm:identityMap": {"Email": [{"xdm:id": f"{number % 5}@x"}]},
                            "xdm:attributes": {
                                "person": {"birthYear": 1950 + 5 * number},
                                "_wrenfield": {
                                    "customerType": "student" if number % 2 else "private",
                                    "studentUntilYear": 2029,
                                    "fibre": {"available": number % 3 > 0},
                                },
                            },
                        }
                    ],
                },
                headers={
                    "Content-Type": 'application/vnd.adobe.xdm+json; schema="https://ns.adobe.com/'
                    'experience/offer-management/decision-request;version=1.0"'
                },
            )
            assert answer.status_code == 200, answer.text
    return path


async def replayed(database: str) -> list[tuple[str, bool, bool]]:
    """Every decision on record: whether it is reproduced, and whether it would be the same today."""
    services = Services(await open_store(Settings(database=database)))
    await services.start(dev=False)
    try:
        packs = await services.store.decision_events(DEV_CONTAINER, 0, 1000)
        found = []
        for _, events in packs:
            for event in events:
                made = await services.replay.replay(services.registry.authorize(OWNER, DEV_CONTAINER), event.id)
                found.append((event.id, made.reproduced, not made.current_state))
        return found
    finally:
        await services.stop()


def test_a_restored_installation_decides_identically(proffer: Proffer, tmp_path: Path, installation: Path) -> None:
    """On either database every decision on record is reproduced, and would be today what it would be there."""
    backup = tmp_path / "all.backup"
    made = proffer("backup", backup, "--database", f"sqlite:///{installation}")
    assert (made.code, made.out.splitlines()[-1].split()[1:]) == (
        0,
        ["rows", "backed", "up", "and", "verified"],
    )
    before = asyncio.run(replayed(f"sqlite:///{installation}"))
    assert len(before) == 12
    assert all(reproduced for _, reproduced, _ in before)

    url = asyncio.run(new_database())
    for database in (f"sqlite:///{tmp_path / 'b.db'}", url):
        restored = proffer("restore", backup, "--database", database)
        assert restored.code == 0, restored.err
        assert before == asyncio.run(replayed(database))
        again = proffer("restore", backup, "--database", database)
        assert again.code == 1
        assert "is not empty" in again.err
        resumed = proffer("restore", backup, "--database", database, "--resume")
        assert (resumed.code, resumed.out.split(":")[0]) == (0, "nothing to resume")
    moved = proffer("move", "--from", url, "--to", f"sqlite:///{tmp_path / 'c.db'}")
    assert moved.code == 0, moved.err
    assert before == asyncio.run(replayed(f"sqlite:///{tmp_path / 'c.db'}"))
    asyncio.run(drop_database(url))


def test_a_backup_is_not_written_over(proffer: Proffer, tmp_path: Path, installation: Path) -> None:
    """Unless that is asked for; a file that is no backup is not restored."""
    (tmp_path / "x").write_text("something dear")
    database = ("--database", f"sqlite:///{installation}")
    assert proffer("backup", tmp_path / "x", *database).code == 2
    assert (tmp_path / "x").read_text() == "something dear"
    refused = proffer("restore", tmp_path / "x", "--database", f"sqlite:///{tmp_path / 'n.db'}")
    assert refused.code == 1
    assert "truncated or damaged" in refused.err
    assert not (tmp_path / "n.db").exists()
    assert proffer("backup", tmp_path / "x", "--force", *database).code == 0


def test_migrations_are_foretold_and_applied(proffer: Proffer, tmp_path: Path) -> None:
    """A dry run names what would be applied and touches nothing; then it is; then there is nothing to do."""
    path = tmp_path / "a.db"
    database = ("--database", f"sqlite:///{path}")
    every = [one.name for one in sqlite_schema.known_migrations()]
    assert proffer("migrate", "--dry-run", *database).out.split() == every
    assert not path.exists()
    sqlite_schema.migrate(path, up_to=1)
    assert proffer("migrate", "--dry-run", *database).out.split() == every[1:]
    assert proffer("migrate", *database).out.split() == every[1:]
    for more in ((), ("--dry-run",)):
        assert proffer("migrate", *more, *database).out == "the database is up to date\n"
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    assert version == len(every)


def test_migrations_of_postgresql_are_foretold_too(proffer: Proffer) -> None:
    """The same words for the other database."""
    url = asyncio.run(new_database())
    every = [one.name for one in sqlite_schema.known_migrations()]
    assert proffer("migrate", "--dry-run", "--database", url).out.split() == every
    assert proffer("migrate", "--database", url).out.split() == every
    assert proffer("migrate", "--database", url).out == "the database is up to date\n"
    asyncio.run(drop_database(url))
