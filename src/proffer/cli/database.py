"""Commands that work on a database without a server, and beside one that is running."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from proffer.app import Services, event_limits, open_store
from proffer.config import Settings, settings
from proffer.store.ports import Store

T = TypeVar("T")

Database = Annotated[
    str | None,
    typer.Option(
        help="The database, `sqlite:///path/to/file.db` or `postgresql://…`; also PROFFER_DATABASE.",
        show_default="sqlite:///proffer.db",
    ),
]


def with_services(
    database: str | None,
    work: Callable[[Services, Settings], Awaitable[T]],
    *,
    libraries: bool,
    opening: Callable[[Settings], Awaitable[Store]] = open_store,
) -> T:
    """Open the database, do the work, close it. `libraries` says whether they have to be read first."""
    chosen = settings({"database": database})

    async def run() -> T:
        services = Services(await opening(chosen), limits=event_limits(chosen))
        try:
            if libraries:
                await services.start(dev=False)
            return await work(services, chosen)
        finally:
            await services.stop()

    return asyncio.run(run())
