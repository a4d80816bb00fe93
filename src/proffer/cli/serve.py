"""`proffer serve`: run the server until a signal."""

from typing import Annotated

import typer

from proffer.config import load_settings


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
    event_log_days: Annotated[
        int | None,
        typer.Option(help="Decisions and feedback stay on record so long.", show_default="395"),
    ] = None,
    event_log_bytes: Annotated[
        int | None,
        typer.Option(help="Either kind takes no more room than this; 0: any.", show_default="0"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that serve.", show_default="1")
    ] = None,
    worker_timeout: Annotated[
        int | None,
        typer.Option(
            help="A worker that has not moved for so many seconds is replaced.", show_default="30"
        ),
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option(help="Serve https: the certificate (PEM), with its chain.")
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(help="Its private key (PEM), where the certificate's file has none."),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(help="Requests that a worker has in hand at most.", show_default="256"),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(help="Connections that a worker has open at most.", show_default="10000"),
    ] = None,
    header_timeout: Annotated[
        int | None,
        typer.Option(help="Seconds for a request's head to arrive.", show_default="10"),
    ] = None,
    body_timeout: Annotated[
        int | None, typer.Option(help="Seconds for a body to arrive.", show_default="30")
    ] = None,
    keep_alive: Annotated[
        int | None,
        typer.Option(help="Seconds that an idle connection is kept.", show_default="65"),
    ] = None,
    drain_delay: Annotated[
        int | None,
        typer.Option(
            help="Seconds to go on after SIGTERM, with /readyz saying no.", show_default="0"
        ),
    ] = None,
    shutdown_timeout: Annotated[
        int | None,
        typer.Option(help="Seconds for requests under way to finish.", show_default="10"),
    ] = None,
    metrics: Annotated[
        bool | None,
        typer.Option(
            "--metrics/--no-metrics",
            help="Count, and show the numbers at /metrics.",
            show_default="no-metrics",
        ),
    ] = None,
    metrics_token: Annotated[
        str | None,
        typer.Option(help="Who presents it may read /metrics; without it, loopback alone."),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="text, or json: one object a line.", show_default="text")
    ] = None,
    traces: Annotated[
        bool | None,
        typer.Option(
            "--traces/--no-traces",
            help="Send OpenTelemetry traces (needs the extra `otel`).",
            show_default="no-traces",
        ),
    ] = None,
    spool: Annotated[
        str | None,
        typer.Option(help="Folder for decisions that wait for a database that is away."),
    ] = None,
    spool_bytes: Annotated[
        int | None, typer.Option(help="How much may wait there.", show_default="100000000")
    ] = None,
    database_connections: Annotated[
        int | None,
        typer.Option(help="Connections to PostgreSQL at most, of each worker.", show_default="10"),
    ] = None,
) -> None:
    """Run the server. Every option may also be given as PROFFER_…, for example PROFFER_PORT."""
    from proffer.serving.uvicorn_version import check_uvicorn_version

    check_uvicorn_version()  # before the import below, which may fail on another version

    from proffer.serving.run import run  # slow import, not needed by the other commands

    run(
        load_settings(
            {
                "host": host,
                "port": port,
                "database": database,
                "dev": dev,
                "access_log": access_log,
                "event_days": event_days,
                "event_bytes": event_bytes,
                "event_log_days": event_log_days,
                "event_log_bytes": event_log_bytes,
                "workers": workers,
                "worker_timeout": worker_timeout,
                "tls_cert": tls_cert,
                "tls_key": tls_key,
                "max_requests": max_requests,
                "max_connections": max_connections,
                "header_timeout": header_timeout,
                "body_timeout": body_timeout,
                "keep_alive": keep_alive,
                "drain_delay": drain_delay,
                "shutdown_timeout": shutdown_timeout,
                "metrics": metrics,
                "metrics_token": metrics_token,
                "log_format": log_format,
                "traces": traces,
                "database_connections": database_connections,
                "spool": spool,
                "spool_bytes": spool_bytes,
            }
        )
    )
