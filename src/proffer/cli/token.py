"""`proffer token`: create, list and revoke access tokens."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from proffer.app import Services
from proffer.auth.principal import Permission
from proffer.cli.database import Database, Sandbox, with_services
from proffer.cli.output import AsJson
from proffer.errors import Invalid, NotFound, Violation
from proffer.model.token import StoredToken

app = typer.Typer(help="Manage the bearer tokens of clients.", no_args_is_help=True)


@app.command()
def create(
    org: Annotated[str, typer.Option(help="The organisation, `…@AdobeOrg`; created when absent.")],
    database: Database = None,
    sandbox: Sandbox = "prod",
    permission: Annotated[
        list[str] | None,
        typer.Option(help="A permission; repeat for several. Default: all except admin."),
    ] = None,
    label: Annotated[str, typer.Option(help="The owner, recorded as `repo:createdBy`.")] = "",
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="Days until the token expires; default: never."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a token, and its organisation and sandbox if absent. The token is shown only once."""
    permissions = _parse_permissions(permission)

    async def work(services: Services, _: object) -> dict[str, str]:
        now_us = services.clock()
        text, stored_token, container = await services.tokens.create(
            organisation=org,
            sandbox=sandbox,
            permissions=permissions,
            label=label or "token@AdobeID",
            expires_us=now_us + days * 86_400_000_000 if days else None,
        )
        return {
            "token": text,
            "organisation": stored_token.organisation,
            "sandbox": stored_token.sandbox,
            "container": container.id,
        }

    created_token = with_services(database, work, libraries=False)
    if as_json:
        typer.echo(json.dumps(created_token))
        return
    for name, value in created_token.items():
        typer.echo(f"{name:13} {value}")
    typer.echo("Save the token now: only its hash is stored.")


@app.command(name="list")
def list_tokens(database: Database = None, as_json: AsJson = False) -> None:
    """List all tokens, without their text."""

    async def work(services: Services, _: object) -> list[StoredToken]:
        return list(await services.tokens.list())

    tokens = with_services(database, work, libraries=False)
    if as_json:
        typer.echo(json.dumps([_token_document(token) for token in tokens]))
        return
    from rich.console import Console  # slow to import
    from rich.table import Column, Table

    column_names = ("organisation", "sandbox", "permissions", "label", "created", "state")
    table = Table(
        Column("id", no_wrap=True),
        *(Column(name, overflow="fold") for name in column_names),  # wrap instead of truncating
    )
    for token in tokens:
        document = _token_document(token)
        table.add_row(
            token.id,
            token.organisation,
            token.sandbox,
            " ".join(sorted(token.permissions)),
            token.label,
            str(document["created"]),
            str(document["state"]),
        )
    Console().print(table)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="The id from `proffer token list`.")],
    database: Database = None,
) -> None:
    """Revoke a token. Running servers refuse it within 200 ms."""

    async def work(services: Services, _: object) -> bool:
        return await services.tokens.revoke(token_id)

    if not with_services(database, work, libraries=False):
        raise NotFound(f"there is no valid token `{token_id}`; `proffer token list` shows the ids")
    typer.echo(f"revoked {token_id}")


def _parse_permissions(names: list[str] | None) -> frozenset[Permission]:
    if not names:
        return frozenset(Permission) - {Permission.ADMIN}
    permission_names = {str(permission) for permission in Permission}
    unknown_names = [name for name in names if name not in permission_names]
    if unknown_names:
        raise Invalid.of(
            [
                Violation(
                    code="enum",
                    message=f"--permission: `{name}` is not a permission",
                    help=f"use {', '.join(sorted(permission_names))}",
                )
                for name in unknown_names
            ]
        )
    return frozenset(Permission(name) for name in names)


def _token_document(token: StoredToken) -> dict[str, object]:
    now_us = datetime.now(UTC).timestamp() * 1e6
    state = "valid"
    if token.revoked_us is not None:
        state = "revoked"
    elif token.expires_us is not None and token.expires_us <= now_us:
        state = "expired"
    return {
        "id": token.id,
        "organisation": token.organisation,
        "sandbox": token.sandbox,
        "permissions": sorted(token.permissions),
        "label": token.label,
        "created": datetime.fromtimestamp(token.created_us / 1e6, UTC).isoformat(timespec="seconds"),
        "state": state,
    }
