"""The command line, `proffer COMMAND`. One module per command; slow imports are local to their use."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.metadata import version as installed

import typer

from proffer.cli import (
    audiences,
    datasets,
    datastream,
    decide,
    demo,
    events,
    installation,
    library,
    library_check,
    library_export,
    library_import,
    profiles,
    rules,
    schema,
    serve,
    token,
    vacuum,
)
from proffer.cli.output import print_error
from proffer.errors import ProfferError

app = typer.Typer(
    name="proffer",
    help="Serve the next best offer for each customer, or the fallback offer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command(name="serve")(serve.serve)
app.command(name="demo")(demo.demo)
app.command(name="decide")(decide.decide)
app.add_typer(token.app, name="token")
for name in ("load", "import"):  # one command with two names; `load` is the older one
    library.app.command(name=name)(library_import.import_library)
library.app.command(name="export")(library_export.export)
library.app.command(name="check")(library_check.check)
library.app.command(name="diff")(library_export.diff)
app.add_typer(library.app, name="library")
app.add_typer(profiles.app, name="profiles")
app.add_typer(audiences.app, name="audiences")
app.add_typer(events.app, name="events")
app.add_typer(datasets.app, name="datasets")
app.add_typer(datastream.app, name="datastream")
app.command(name="vacuum")(vacuum.vacuum)
app.command(name="backup")(installation.backup)
app.command(name="restore")(installation.restore_backup)
app.command(name="move")(installation.move)
app.command(name="migrate")(installation.migrate)
app.add_typer(rules.app, name="rules")
app.add_typer(schema.app, name="schema")


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"proffer {installed('proffer-server')}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def _warn_about_other_distribution() -> None:
    """Warn on stderr when `proffer` is installed as well. It owns the same import package."""
    try:
        distribution("proffer")
    except PackageNotFoundError:
        return
    typer.echo(
        "proffer: warning: the distributions `proffer` and `proffer-server` are both installed, and each overwrites "
        "the other's files: run `pip uninstall proffer proffer-server`, then `pip install proffer-server`",
        err=True,
    )


def run() -> None:
    """Run the console script; expected errors are printed to stderr, with exit code 1."""
    _warn_about_other_distribution()
    try:
        app()
    except ProfferError as error:
        print_error(error)
        sys.exit(1)
