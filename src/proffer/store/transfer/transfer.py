"""Transfer of an installation: copied by table, resumable, verified by checksums."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from proffer.store.transfer.tables import (
    Row,
    TableSum,
    TransferComplete,
    TransferProgress,
    TransferRefused,
    TransferSource,
    TransferTable,
    TransferTarget,
)

ProgressCallback: TypeAlias = Callable[[str, int, int], object]
"""Called with table name, rows copied and total rows."""


async def transfer(
    source: TransferSource,
    target: TransferTarget,
    *,
    resume: bool = False,
    on_progress: ProgressCallback = lambda *_: None,
) -> Mapping[str, TableSum]:
    """Copy and verify all tables; return row counts and checksums by table.

    The source is a snapshot and is not changed. Raises `TransferRefused`, leaving the target unfinished
    and closed to servers, when the copy differs from what was read; `TransferComplete` when the transfer
    to resume is finished.
    """
    try:
        schema, tables = await source.open()
        progress = await target.open(schema, tables, source.origin, resume=resume)
        if progress.may_be_complete:
            await _check_complete(source, target, tables)
        read = {table.name: await _copy(source, target, table, progress, on_progress) for table in tables}
        written = await target.sums(tables)
        different = [table.name for table in tables if read[table.name] != written[table.name]]
        if different:
            raise TransferRefused(
                f"the copy differs from `{source.origin}` in {', '.join(different)}: if the source was written "
                "to between two attempts, empty the target and start again"
            )
        await target.finish()
        return read
    finally:
        await target.close()
        await source.close()


async def _check_complete(source: TransferSource, target: TransferTarget, tables: Sequence[TransferTable]) -> None:
    """Raise `TransferComplete` if the target equals the source, else `TransferRefused`."""
    sums = {table.name: TableSum() for table in tables}
    for table in tables:
        async for page in source.pages(table):
            sums[table.name].add(page)
    if await target.sums(tables) != sums:
        raise TransferRefused(
            f"there is nothing to resume: the target is not empty and differs from `{source.origin}`; if it was "
            "copied completely, servers have used it since"
        )
    rows = sum(table_sum.rows for table_sum in sums.values())
    raise TransferComplete(f"nothing to resume: all {rows:,} rows of `{source.origin}` are copied and verified")


async def _copy(
    source: TransferSource,
    target: TransferTarget,
    table: TransferTable,
    progress: TransferProgress,
    on_progress: ProgressCallback,
) -> TableSum:
    """Copy the rows that are missing; return the sum of all rows."""
    total = await source.count(table)
    read = TableSum()
    last = progress.last.get(table.name)
    async for page in source.pages(table):
        read.add(page)
        new_rows = page if last is None else _after(table, page, last)
        if new_rows:
            await target.put(table, new_rows)
        on_progress(table.name, read.rows, total)
    on_progress(table.name, read.rows, total)
    return read


def _after(table: TransferTable, page: list[Row], last: Row) -> list[Row]:
    """Return the rows with keys above this one; keys of one table are comparable."""
    return [row for row in page if table.key_of(row) > last]
