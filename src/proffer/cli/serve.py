"""`proffer serve`: run the server until it is told to stop."""

import asyncio
import signal
import socket
import sys
from typing import Annotated, Any

import typer

from proffer.config import Settings, settings
from proffer.errors import Unavailable
from proffer.store.ports import Store


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", show_default="8700")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="The database; created and migrated when absent.",
            show_default="sqlite:///proffer.db",
        ),
    ] = None,
    dev: Annotated[
        bool | None,
        typer.Option(
            "--dev/--no-dev",
            help="One organisation, no tokens; on loopback only.",
            show_default="no-dev",
        ),
    ] = None,
    access_log: Annotated[
        bool | None,
        typer.Option(
            "--access-log/--no-access-log",
            help="One line per request.",
            show_default="no-access-log",
        ),
    ] = None,
    event_days: Annotated[
        int | None,
        typer.Option(help="Experience events are kept so long.", show_default="365"),
    ] = None,
    event_bytes: Annotated[
        int | None,
        typer.Option(help="Experience events are no larger than this.", show_default="65536"),
    ] = None,
) -> None:
    """Run the server. Every option may also be given as PROFFER_…, for example PROFFER_PORT."""
    run(
        settings(
            {
                "host": host,
                "port": port,
                "database": database,
                "dev": dev,
                "access_log": access_log,
                "event_days": event_days,
                "event_bytes": event_bytes,
            }
        )
    )


def run(chosen: Settings, listener: socket.socket | None = None) -> None:
    """Serve in the foreground until a signal. Raises `Unavailable` at once without the port or the database."""
    import uvicorn  # other commands need no server

    from proffer.app import create_app, open_store

    leave_in_order()
    listener = listener or listen(chosen)
    try:
        store = asyncio.run(open_store(chosen))  # in the server, an error would come as a traceback
    except BaseException:
        listener.close()
        raise

    async def opened(_: Settings) -> Store:
        return store

    config = uvicorn.Config(
        create_app(chosen, opening=opened),
        log_config=_logs(uvicorn.config.LOGGING_CONFIG),
        access_log=chosen.access_log,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=10,
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(
        f"proffer is listening on http://{shown}:{port}" + (" in dev mode" if chosen.dev else ""),
        file=sys.stderr,
        flush=True,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if not server.started:
        raise SystemExit(3)


def _logs(usual: dict[str, Any]) -> dict[str, Any]:
    """Warnings and worse, and where it is asked for a line per request."""
    levels = {"uvicorn": "WARNING", "uvicorn.error": "WARNING", "uvicorn.access": "INFO"}
    loggers = {
        name: {**usual["loggers"].get(name, {}), "level": level} for name, level in levels.items()
    }
    return {**usual, "loggers": loggers}


def leave_in_order() -> None:
    """From now on SIGTERM unwinds like any exit, so that what was made for the time being is removed.

    The server catches the signal, finishes what it has begun, and raises it again.
    """

    def leave(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)


def listen(chosen: Settings) -> socket.socket:
    """A socket bound to the address of the settings."""
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((chosen.host, chosen.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot listen on {chosen.host}:{chosen.port}: {error.strerror}; "
            "stop what uses the port, or choose another with `--port`",
            code="port-taken",
        ) from None
    listener.set_inheritable(True)
    return listener
