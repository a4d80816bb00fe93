"""`proffer vacuum`: rewrite the database file, so that it contains no erased data."""

import asyncio

import typer

from proffer.app import vacuum_store
from proffer.cli.database import Database
from proffer.config import load_settings


def vacuum(database: Database = None) -> None:
    """Rewrite the database without deleted data. Meanwhile reads work and writes wait."""
    before, after = asyncio.run(vacuum_store(load_settings({"database": database})))
    typer.echo(f"{before:,} bytes before, {after:,} after; deleted data is removed from the file")
