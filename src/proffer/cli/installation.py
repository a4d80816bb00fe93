"""`proffer move`, `backup`, `restore` and `migrate`: commands on a whole installation."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proffer.app import back_up, migrate_store, move_store, pending_migrations, restore
from proffer.cli.customers import progress_bar
from proffer.cli.database import Database
from proffer.config import load_settings
from proffer.store.transfer.tables import TableSum, TransferComplete
from proffer.store.transfer.transfer import ProgressCallback

if TYPE_CHECKING:
    from rich.progress import TaskID

Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]


def move(
    source: Annotated[str, typer.Option("--from", help="The database to copy.")],
    target: Annotated[str, typer.Option("--to", help="An empty database.")],
    resume: Resume = False,
) -> None:
    """Copy a whole installation to another database, and verify it. Stop the servers first."""
    _transfer(
        "moved",
        lambda on_progress: move_store(
            load_settings({"database": source}),
            load_settings({"database": target}),
            resume=resume,
            on_progress=on_progress,
        ),
    )


def backup(
    file: Annotated[Path, typer.Argument(help="The backup file to write.")],
    database: Database = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write the whole installation to one file. Servers can run meanwhile."""
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} exists: choose another file, or use `--force`")
    config = load_settings({"database": database})
    now_us = time.time_ns() // 1000
    _transfer("backed up", lambda on_progress: back_up(config, file, now_us=now_us, on_progress=on_progress))


def restore_backup(
    file: Annotated[Path, typer.Argument(help="The backup file.")],
    database: Database = None,
    resume: Resume = False,
) -> None:
    """Write a backup to an empty database of either kind, and verify it."""
    config = load_settings({"database": database})
    _transfer("restored", lambda on_progress: restore(config, file, resume=resume, on_progress=on_progress))


def migrate(
    database: Database = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the pending migrations.")] = False,
) -> None:
    """Apply pending migrations, as a server does when it starts."""
    config = load_settings({"database": database})
    names = asyncio.run(pending_migrations(config) if dry_run else migrate_store(config))
    for name in names:
        typer.echo(name)
    if not names:
        typer.echo("the database is up to date")


def _transfer(action: str, work: Callable[[ProgressCallback], Awaitable[Mapping[str, TableSum]]]) -> None:
    """Run a transfer and print its sums, or that there is nothing left to do."""
    try:
        sums = _run_with_progress(work)
    except TransferComplete as complete:
        typer.echo(str(complete))
    else:
        _print_sums(action, sums)


def _run_with_progress(
    work: Callable[[ProgressCallback], Awaitable[Mapping[str, TableSum]]],
) -> Mapping[str, TableSum]:
    """Run a transfer with a progress bar per table; return its sums by table."""

    async def run() -> Mapping[str, TableSum]:
        with progress_bar() as bar:
            tasks: dict[str, TaskID] = {}

            def on_progress(table: str, done: int, total: int) -> None:
                if table not in tasks:
                    tasks[table] = bar.add_task(table, total=max(total, 1), note="")
                note = f"{done:,} of {total:,} rows"
                bar.update(tasks[table], completed=done if total else 1, note=note)

            return await work(on_progress)

    return asyncio.run(run())


def _print_sums(action: str, sums: Mapping[str, TableSum]) -> None:
    for table, table_sum in sums.items():
        if table_sum.rows:
            typer.echo(f"{table_sum.rows:>12,}  {table_sum.checksum:016x}  {table}")
    rows = sum(table_sum.rows for table_sum in sums.values())
    typer.echo(f"{rows:>12,}  rows {action} and verified")
