"""`proffer library export` and `diff`: write a library to files, and compare two libraries."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import Database, find_container, with_services
from proffer.cli.library import LIBRARY_FILES, read_library
from proffer.cli.output import print_object_change
from proffer.model.ids import SERVED_KINDS
from proffer.service.exports.files import write_error
from proffer.service.library.diff import LibraryContent, diff_libraries, library_content
from proffer.service.library.load import SECTIONS


def export(
    output: Annotated[
        Path | None,
        typer.Argument(help="A .yaml, .yml or .json file, or a folder; default: the terminal."),
    ] = None,
    database: Database = None,
    org: Annotated[str, typer.Option(help="The organisation.")] = DEV_ORGANISATION,
    sandbox: Annotated[str, typer.Option(help="The sandbox.")] = DEV_SANDBOX,
) -> None:
    """Write all objects of a sandbox, in stable order, for `library import`."""

    async def work(services: Services, _: object) -> None:
        await services.registry.catch_up()
        catalog = find_container(services, org, sandbox).state.catalog
        instances = [instance for kind in SERVED_KINDS for instance in catalog.of_kind(kind).values()]
        content = library_content(instances)
        if output is None:
            sys.stdout.write(to_yaml(content))
            return
        if output.is_dir() or not (output.exists() or output.suffix.lower() in LIBRARY_FILES):
            _write_folder(output, content)
        else:
            _write(output, content)
        typer.echo(f"{output}: {len(instances)} objects")

    with_services(database, work, libraries=False)


def diff(
    before: Annotated[Path, typer.Argument(help="A library file, or a folder of them.")],
    after: Annotated[Path, typer.Argument(help="The library to compare with.")],
) -> None:
    """Print the differences of two libraries. The exit code is 1 if there are any."""
    differences = list(diff_libraries(read_library(before), read_library(after)))
    for difference in differences:
        print_object_change(
            difference.action,
            difference.kind,
            difference.name,
            difference.id,
            difference.difference,
        )
    if differences:
        raise typer.Exit(1)


def _write_folder(folder: Path, content: LibraryContent) -> None:
    """Write one file per kind that has objects; remove the files of the other kinds."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in SECTIONS:
            if name not in content:
                (folder / f"{name}.yaml").unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
    for name, objects in content.items():
        _write(folder / f"{name}.yaml", {name: objects})


def _write(path: Path, content: LibraryContent) -> None:
    if path.suffix.lower() == ".json":
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    else:
        text = to_yaml(content)
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise write_error(path, error) from None


def to_yaml(content: Any) -> str:
    """Return the content as YAML: members in their order, multi-line texts as blocks."""
    from ruamel.yaml import YAML  # slow to import
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        """Writes multi-line texts as blocks."""

    def represent_text(representer: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Representer.add_representer(str, represent_text)
    writer: Any = YAML(typ="safe", pure=True)
    writer.Representer = Representer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False
    writer.allow_unicode = True
    writer.width = 110
    stream = StringIO()
    writer.dump(content, stream)
    return stream.getvalue()
