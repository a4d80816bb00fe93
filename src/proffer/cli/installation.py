"""`proffer move`, `backup`, `restore` and `migrate`: commands on a whole installation."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from proffer.app import back_up, migrate_store, move_store, pending_migrations, restore
from proffer.cli.customers import progress_bar
from proffer.cli.database import Database
from proffer.config import settings
from proffer.store.transfer.tables import TableSum
from proffer.store.transfer.transfer import ProgressCallback

Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with what was begun and not finished.")
]


def move(
    source: Annotated[str, typer.Option("--from", help="The database to copy.")],
    target: Annotated[str, typer.Option("--to", help="An empty database.")],
    resume: Resume = False,
) -> None:
    """Copy a whole installation to another database, and verify it. Stop the servers first."""
    sums = _shown(
        lambda told: move_store(
            settings({"database": source}),
            settings({"database": target}),
            resume=resume,
            on_progress=told,
        )
    )
    _report("moved", sums)


def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write.")],
    database: Database = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write everything to one file, as it is at this moment. Servers go on meanwhile."""
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already: choose another, or `--force`")
    chosen = settings({"database": database})
    now_us = time.time_ns() // 1000
    _report(
        "backed up", _shown(lambda told: back_up(chosen, file, now_us=now_us, on_progress=told))
    )


def restore_backup(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    database: Database = None,
    resume: Resume = False,
) -> None:
    """Write a backup to an empty database of either kind, and verify it."""
    chosen = settings({"database": database})
    _report("restored", _shown(lambda told: restore(chosen, file, resume=resume, on_progress=told)))


def migrate(
    database: Database = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be applied.")
    ] = False,
) -> None:
    """Bring the database up to date, as a server does when it starts; or say what that would take."""
    chosen = settings({"database": database})
    names = asyncio.run(pending_migrations(chosen) if dry_run else migrate_store(chosen))
    for name in names:
        typer.echo(name)
    if not names:
        typer.echo("the database is up to date")


def _shown(
    work: Callable[[ProgressCallback], Awaitable[Mapping[str, TableSum]]],
) -> Mapping[str, TableSum]:
    """Run a transfer with a progress bar per table; return its sums by table."""

    async def run() -> Mapping[str, TableSum]:
        with progress_bar() as bar:
            shares: dict[str, TaskID] = {}

            def told(table: str, done: int, total: int) -> None:
                if table not in shares:
                    shares[table] = bar.add_task(table, total=max(total, 1), note="")
                note = f"{done:,} of {total:,} rows"
                bar.update(shares[table], completed=done if total else 1, note=note)

            return await work(told)

    return asyncio.run(run())


def _report(done: str, sums: Mapping[str, TableSum]) -> None:
    for table, one in sums.items():
        if one.rows:
            typer.echo(f"{one.rows:>12,}  {one.checksum:016x}  {table}")
    rows = sum(one.rows for one in sums.values())
    typer.echo(f"{rows:>12,}  rows {done} and verified")
