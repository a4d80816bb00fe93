"""A process of its own that writes to a database until it is done or killed. Says on stdout what was acknowledged.

child.py pairs <database>            write pairs of versions for ever, from eight tasks
child.py insist <database> <name>    write twenty objects to container `c1`, against all others
child.py migrate <database>          bring it up to date with one migration more than there is
"""

import asyncio
import sys
from pathlib import Path

from proffer.store.errors import StaleRevision
from proffer.store.sqlite import migrate
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.store_contract import a_container, a_version

SLOW_MIGRATION = migrate.Migration(
    version=migrate.newest_version() + 1,
    name=f"{migrate.newest_version() + 1:03}_slow.sql",
    script="""
        CREATE TABLE before (n INTEGER);
        INSERT INTO before
            WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted LIMIT 300000)
            SELECT n FROM counted;
        CREATE TABLE after (n INTEGER);
    """,
)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def write_pairs(store: SqliteStore, number: int) -> None:
    key = f"c{number}"
    container = await store.ensure_container(a_container(key, sandbox=key))
    revision = container.revision
    while True:
        pair = [a_version(place, f"n{place}", container=key) for place in (revision + 1, revision + 2)]
        await store.commit(key, revision, pair)
        revision += 2
        say(key, revision)


async def insist(store: SqliteStore, name: str) -> None:
    await store.ensure_container(a_container())
    written = 0
    while written < 20:
        based_on = (await store.revisions())["c1"]
        try:
            await store.commit("c1", based_on, [a_version(based_on + 1, f"{name}{written}")])
        except StaleRevision:
            continue
        written += 1
        say("c1", based_on + 1)


async def main(task: str, database: str, *rest: str) -> None:
    store = await SqliteStore.open(database)
    if task == "pairs":
        await asyncio.gather(*(write_pairs(store, number) for number in range(8)))
    else:
        await insist(store, *rest)
    await store.close()


if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        known = (*migrate.known_migrations(), SLOW_MIGRATION)
        migrate.known_migrations = lambda: known
        say("ready")
        say(*migrate.migrate(Path(sys.argv[2])))
    else:
        asyncio.run(main(*sys.argv[1:]))
