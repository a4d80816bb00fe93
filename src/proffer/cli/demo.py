"""`proffer demo`: dev mode with the sample library in a temporary database."""

import asyncio
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services, open_store
from proffer.cli.certificate import make_certificate
from proffer.cli.database import open_container
from proffer.cli.library import format_report, load_into, read_document
from proffer.config import load_settings
from proffer.model.ingest_parse import IngestMessage

_BASE = "http://127.0.0.1:8700"
"""The base URL in the sample requests."""


def demo(
    port: Annotated[int, typer.Option(help="Port to listen on, on 127.0.0.1.")] = 8700,
    tls: Annotated[bool, typer.Option("--tls", help="Serve https with a temporary certificate.")] = False,
) -> None:
    """Serve the sample library in dev mode from a temporary database, and print three sample requests."""
    from proffer.serving.uvicorn_version import check_uvicorn_version

    check_uvicorn_version()  # before the imports below, which may fail on another version

    from proffer.serving.run import exit_on_sigterm, run
    from proffer.serving.sockets import listen, listener_url  # slow import

    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="proffer-demo-") as folder:
        certificate = make_certificate(Path(folder)) if tls else None
        demo_settings = load_settings(
            {
                "host": "127.0.0.1",
                "port": port,
                "dev": True,
                "database": f"sqlite:///{Path(folder) / 'demo.db'}",
                "access_log": False,
                "tls_cert": str(certificate or ""),
            },
            environment={},
        )
        listener = listen(demo_settings)  # first, so that a port in use is reported at once

        async def prepare() -> str:
            services = Services(await open_store(demo_settings))
            try:
                with as_file(files("proffer.sample") / "library.yaml") as path:
                    content = read_document(path)
                report = await load_into(services, DEV_ORGANISATION, DEV_SANDBOX, content)
                await load_sample_customers(services)
                return format_report(report)
            finally:
                await services.stop()

        summary = asyncio.run(prepare())
        print_instructions(listener_url(listener, tls=tls), summary, certificate)
        run(demo_settings, listener)


async def load_sample_customers(services: Services) -> None:
    """Load the sample customers, which the demo page shows."""
    access = await open_container(services, DEV_ORGANISATION, DEV_SANDBOX)
    with as_file(files("proffer.sample") / "profiles.yaml") as path:
        profiles = read_document(path)["profiles"]
    messages = [IngestMessage(entity=row["profile"], dataset="sample", is_event=False) for row in profiles]
    refusals = await services.ingest.ingest(access, messages)
    assert not any(refusals), refusals  # the sample is part of the package


def print_instructions(base: str, summary: str, certificate: Path | None = None) -> None:
    """Print what runs, and the sample requests to paste."""
    typer.echo(f"Proffer, dev mode: one organisation, no tokens. Sample library: {summary}.")
    typer.echo("Run these commands in another terminal:\n")
    for number, (title, command) in enumerate(sample_requests(base), 1):
        typer.secho(f"{number}. {title}\n", bold=True)
        curl = f"curl --cacert {certificate} " if certificate is not None else "curl "
        typer.echo(f"{command.replace('curl ', curl, 1)}\n")
    if certificate is not None:
        typer.echo(
            f"The certificate in {certificate} is for localhost and 127.0.0.1; no authority signed it,\n"
            "so a browser asks once whether to trust it.\n"
        )
    typer.echo(
        f"A shop page with the offers and explanations: {base}/demo\n"
        f"API documentation: {base}/docs\n"
        "Add `?explain=true` to the URL of a decision request to see why each offer was selected or excluded.\n"
        "Ctrl-C stops the server and deletes its database.\n"
    )


def sample_requests(base: str) -> list[tuple[str, str]]:
    """Return title and curl command of each sample request. `base` is the URL of the server."""
    folder = files("proffer.sample") / "requests"
    commands: list[tuple[str, str]] = []
    for file in sorted(folder.iterdir(), key=lambda path: path.name):
        title, _, command = file.read_text(encoding="utf-8").partition("\n")
        commands.append((title.removeprefix("# "), command.strip().replace(_BASE, base)))
    return commands
