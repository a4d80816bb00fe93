"""Move a whole installation: copied table by table, resumable, and compared to the last row before it is done."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from proffer.store.transfer.tables import MoveRefused, Progress, Row, Source, Sum, Table, Target

Told: TypeAlias = Callable[[str, int, int], object]
"""Called with a table, how many of its rows are there, and how many there will be."""


async def move(
    source: Source, target: Target, *, resume: bool = False, told: Told = lambda *_: None
) -> Mapping[str, Sum]:
    """Copy everything, verify it, and give the counts and checksums, by table.

    The source is read as it stands when this begins; it is not changed. Raises `MoveRefused`, leaving
    the target unfinished and closed to servers, when what was written differs from what was read.
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
    """Copy what is not there yet; the sum of all rows."""
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
    """The rows with keys above this one. Keys of one table are of one kind, so they can be compared."""
    return [row for row in page if table.key_of(row) > last]
