"""Transfer of an installation: copied by table, resumable, verified by checksums."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from proffer.store.transfer.tables import MoveRefused, Progress, Row, Source, Sum, Table, Target

Told: TypeAlias = Callable[[str, int, int], object]
"""Called with table name, rows copied and total rows."""


async def move(
    source: Source, target: Target, *, resume: bool = False, told: Told = lambda *_: None
) -> Mapping[str, Sum]:
    """Copy and verify all tables; return row counts and checksums by table.

    The source is a snapshot and is not changed. Raises `TransferRefused`, leaving the target unfinished
    and closed to servers, when what was written differs from what was read.
    """
    try:
        schema, tables = await source.open()
        progress = await target.open(schema, tables, source.origin, resume=resume)
        read = {table.name: await _copy(source, target, table, progress, told) for table in tables}
        written = await target.sums(tables)
        wrong = [table.name for table in tables if read[table.name] != written[table.name]]
        if wrong:
            raise MoveRefused(
                f"what was written differs from `{source.origin}` in {', '.join(wrong)}: if the source was written "
                "to between two attempts, empty the target and begin anew"
            )
        await target.finish()
        return read
    finally:
        await target.close()
        await source.close()


async def _copy(
    source: Source, target: Target, table: Table, progress: Progress, told: Told
) -> Sum:
    """Copy the rows that are missing; return the sum of all rows."""
    total = await source.count(table)
    read = Sum()
    last = progress.last.get(table.name)
    async for page in source.pages(table):
        read.add(page)
        fresh = page if last is None else _after(table, page, last)
        if fresh:
            await target.put(table, fresh)
        told(table.name, read.rows, total)
    told(table.name, read.rows, total)
    return read


def _after(table: Table, page: list[Row], last: Row) -> list[Row]:
    """Return the rows with keys above this one; keys of one table are comparable."""
    return [row for row in page if table.key_of(row) > last]
