"""Run commands on a database directly; a server may be running on it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from proffer.app import (
    DEV_CONTAINER,
    DEV_ORGANISATION,
    DEV_SANDBOX,
    Services,
    event_limits,
    open_store,
)
from proffer.auth.principal import Permission, Principal
from proffer.config import Settings, load_settings
from proffer.service.customers.audience_schedule import DailyTime
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.ports import Store

T = TypeVar("T")

ADMINISTRATOR = "command-line@AdobeID"
"""The author of objects that a command writes."""

Database = Annotated[
    str | None,
    typer.Option(
        help="The database, `sqlite:///path/to/file.db` or `postgresql://…`; also PROFFER_DATABASE.",
        show_default="sqlite:///proffer.db",
    ),
]
Org = Annotated[str, typer.Option(help="The organisation; created when absent.")]
Sandbox = Annotated[str, typer.Option(help="The sandbox; created when absent.")]


def with_services(
    database: str | None,
    work: Callable[[Services, Settings], Awaitable[T]],
    *,
    libraries: bool,
    store_opener: Callable[[Settings], Awaitable[Store]] = open_store,
) -> T:
    """Open the database, await `work`, close it; `libraries`: load the libraries first."""
    config = load_settings({"database": database})

    async def run() -> T:
        services = Services(
            await store_opener(config),
            limits=event_limits(config),
            audience_time=DailyTime.parse(config.audience_time),
        )
        try:
            if libraries:
                await services.start(dev=False)
            return await work(services, config)
        finally:
            await services.stop()

    return asyncio.run(run())


async def open_container(
    services: Services, org: str, sandbox: str, *, user: str = ADMINISTRATOR
) -> AuthorizedContainer:
    """Return a sandbox's container, authorized as administrator; create it when absent.

    Access to the database implies all permissions. `user` is the author of the objects that are written.
    """
    dev = (org, sandbox) == (DEV_ORGANISATION, DEV_SANDBOX)
    # Dev mode's container has a fixed id, so that the requests of public pages run as printed.
    await services.tokens.container(org, sandbox, new_id=DEV_CONTAINER if dev else None)
    await services.registry.catch_up()
    return find_container(services, org, sandbox, user=user)


def find_container(services: Services, org: str, sandbox: str, *, user: str = ADMINISTRATOR) -> AuthorizedContainer:
    """Return a sandbox's container, authorized as administrator. Raises `NotFound`."""
    administrator = Principal(
        organisation=org,
        sandbox=sandbox,
        permissions=frozenset({Permission.ADMIN}),
        user=user,
        client="proffer",
    )
    return services.registry.authorize_sandbox(administrator, sandbox, Permission.ADMIN)
