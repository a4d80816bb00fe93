"""`proffer vacuum`: rewrite the database file, so that it contains no erased data."""

import asyncio

import typer

from proffer.app import vacuum_store
from proffer.cli.database import Database
from proffer.config import load_settings


def vacuum(database: Database = None) -> None:
    """Write the database anew without what was deleted. Others may read meanwhile, and wait to write."""
    before, after = asyncio.run(vacuum_store(load_settings({"database": database})))
    typer.echo(f"{before:,} bytes before, {after:,} after; nothing erased is left in the file")
