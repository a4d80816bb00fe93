"""`proffer serve`: run the server until a signal."""

from typing import Annotated

import typer

from proffer.config import load_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8700")] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="The database; created if absent, and migrated.",
            show_default="sqlite:///proffer.db",
        ),
    ] = None,
    dev: Annotated[
        bool | None,
        typer.Option(
            "--dev/--no-dev",
            help="Dev mode: one organisation, no tokens; loopback only.",
            show_default="no-dev",
        ),
    ] = None,
    access_log: Annotated[
        bool | None,
        typer.Option(
            "--access-log/--no-access-log",
            help="Log one line per request on stdout.",
            show_default="no-access-log",
        ),
    ] = None,
    event_days: Annotated[
        int | None,
        typer.Option(help="Days that experience events are kept.", show_default="365"),
    ] = None,
    event_bytes: Annotated[
        int | None,
        typer.Option(help="Maximum bytes of an experience event.", show_default="65536"),
    ] = None,
    event_log_days: Annotated[
        int | None,
        typer.Option(help="Days that decisions and feedback are kept.", show_default="395"),
    ] = None,
    event_log_bytes: Annotated[
        int | None,
        typer.Option(
            help="Maximum bytes of all decisions, and of all feedback; 0: no limit.",
            show_default="0",
        ),
    ] = None,
    audience_time: Annotated[
        str | None,
        typer.Option(help="Time of day, in UTC, at which audiences are evaluated, or `never`.", show_default="03:00"),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Number of worker processes.", show_default="1")] = None,
    worker_timeout: Annotated[
        int | None,
        typer.Option(help="Seconds until a blocked worker is replaced.", show_default="30"),
    ] = None,
    tls_cert: Annotated[str | None, typer.Option(help="Certificate file (PEM) with its chain; enables https.")] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(help="Private key file (PEM), if not in the certificate file."),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(help="Maximum concurrent requests of a worker.", show_default="256"),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(help="Maximum open connections of a worker.", show_default="10000"),
    ] = None,
    header_timeout: Annotated[
        int | None,
        typer.Option(help="Maximum seconds to receive the head of a request.", show_default="10"),
    ] = None,
    body_timeout: Annotated[
        int | None, typer.Option(help="Maximum seconds to receive a request.", show_default="30")
    ] = None,
    keep_alive: Annotated[
        int | None,
        typer.Option(help="Seconds that an idle connection is kept.", show_default="65"),
    ] = None,
    drain_delay: Annotated[
        int | None,
        typer.Option(help="Seconds to continue after SIGTERM, while /readyz answers 503.", show_default="0"),
    ] = None,
    shutdown_timeout: Annotated[
        int | None,
        typer.Option(help="Seconds for requests in progress to finish.", show_default="10"),
    ] = None,
    metrics: Annotated[
        bool | None,
        typer.Option(
            "--metrics/--no-metrics",
            help="Collect metrics and serve them at /metrics.",
            show_default="no-metrics",
        ),
    ] = None,
    metrics_token: Annotated[
        str | None,
        typer.Option(help="Bearer token for /metrics; without it, only loopback."),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(help="Log format: text, or json with one object per line.", show_default="text"),
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
        typer.Option(help="Folder for decisions while the database is unavailable."),
    ] = None,
    spool_bytes: Annotated[
        int | None,
        typer.Option(help="Maximum bytes of the waiting decisions.", show_default="100000000"),
    ] = None,
    unrecorded: Annotated[
        str | None,
        typer.Option(
            help="Decisions that can neither be stored nor spooled: refuse them, or allow those without caps.",
            show_default="refuse",
        ),
    ] = None,
    write_wait_ms: Annotated[
        int | None,
        typer.Option(
            help="Milliseconds that a decision waits for its turn to be written.",
            show_default="1000",
        ),
    ] = None,
    database_connections: Annotated[
        int | None,
        typer.Option(help="Maximum PostgreSQL connections of each worker.", show_default="10"),
    ] = None,
) -> None:
    """Run the server. Each option is also an environment variable, such as PROFFER_PORT."""
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
                "audience_time": audience_time,
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
                "unrecorded": unrecorded,
                "write_wait_ms": write_wait_ms,
            }
        )
    )
