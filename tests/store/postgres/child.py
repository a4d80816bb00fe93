"""A process that migrates a PostgreSQL database by one migration more than there is: child.py <url>."""

import asyncio
import sys

from proffer.store.postgres import migrate

SLOW = migrate.Migration(
    version=migrate.newest_version() + 1,
    name=f"{migrate.newest_version() + 1:03}_slow.sql",
    script="""
        CREATE TABLE before (n INTEGER);
        INSERT INTO before SELECT generate_series(1, 200000);
        SELECT pg_sleep(0.05);
        CREATE TABLE after (n INTEGER);
    """,
)

if __name__ == "__main__":
    known = (*migrate.known_migrations(), SLOW)
    migrate.known_migrations = lambda: known
    print("ready", flush=True)  # noqa: T201 - that is how it speaks
    asyncio.run(migrate.migrate(sys.argv[1]))
