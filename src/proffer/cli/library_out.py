"""`proffer library export` and `diff`: a library out of the database as a file, and what two files say differently."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import Database, with_services
from proffer.cli.library import administrator, read
from proffer.model.ids import SERVED, WORDS
from proffer.service.exporting import compared, exported


def export(
    output: Annotated[
        Path | None, typer.Argument(help="Where to; to the terminal if left out.")
    ] = None,
    database: Database = None,
    org: Annotated[str, typer.Option(help="The organisation.")] = DEV_ORGANISATION,
    sandbox: Annotated[str, typer.Option(help="The sandbox.")] = DEV_SANDBOX,
) -> None:
    """Write every object as a library file in an order that stays: what `library load` reads."""

    async def work(services: Services, _: object) -> None:
        await services.libraries.catch_up()
        by = administrator(org, sandbox)
        library = services.libraries.of_sandbox(by, sandbox)
        found = [one for kind in SERVED for one in library.catalog.of_kind(kind).values()]
        text = yaml_of(exported(found))
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, encoding="utf-8")
            typer.echo(f"{output}: {len(found)} objects")

    with_services(database, work, libraries=False)


def diff(
    before: Annotated[Path, typer.Argument(help="A library file.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Print what the second file says differently, object by object; ends with 1 if there is anything."""
    found = list(compared(read(before), read(after)))
    for one in found:
        typer.echo(f"{one.what}: {WORDS[one.kind]} `{one.name}` {one.id}".rstrip())
        for operation in one.difference:
            value = json.dumps(operation.get("value"), ensure_ascii=False)
            said = f" {value}" if "value" in operation else ""
            typer.echo(f"  {operation['op']} {operation['path']}{said}")
    if found:
        raise typer.Exit(1)


def yaml_of(content: Any) -> str:
    """The content as YAML: members in their order, texts of several lines as they are read."""
    from ruamel.yaml import YAML  # slow to import
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        """Writes texts of several lines as blocks."""

    def text(representer: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Representer.add_representer(str, text)
    writer: Any = YAML(typ="safe", pure=True)
    writer.Representer = Representer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False
    writer.allow_unicode = True
    writer.width = 110
    stream = StringIO()
    writer.dump(content, stream)
    return stream.getvalue()
