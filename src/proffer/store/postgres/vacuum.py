"""VACUUM FULL of a PostgreSQL database: removes deleted data from its tables."""

import asyncpg

from proffer.store.postgres.errors import unavailable

_SIZE = "SELECT pg_database_size(current_database())"
_OURS = """
    SELECT quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname"""


async def vacuum(url: str) -> tuple[int, int]:
    """Rewrite all tables; return the size of the database in bytes before and after.

    Each table is locked while it is rewritten. Deleted data stays in the write-ahead log and in backups
    until these are recycled.
    """
    with unavailable(url):
        connection = await asyncpg.connect(url, timeout=5)
        try:
            before = int(await connection.fetchval(_SIZE))
            for (table,) in await connection.fetch(_OURS):
                await connection.execute(f"VACUUM (FULL, ANALYZE) {table}")
            return before, int(await connection.fetchval(_SIZE))
        finally:
            await connection.close()
