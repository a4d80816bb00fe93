"""Server settings, read once from options and environment variables."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from proffer.errors import Invalid, Violation

_AUDIENCE_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d|never")
_NUMBER_RANGES = {
    "event_days": (1, 36_500),
    "event_bytes": (1, 1_000_000),
    "event_log_days": (1, 36_500),
    "event_log_bytes": (0, 2**60),
    "database_connections": (1, 500),
    "spool_bytes": (0, 10**12),
    "write_wait_ms": (10, 60_000),
    "workers": (1, 256),
    "worker_timeout": (1, 3600),
    "max_requests": (1, 1_000_000),
    "max_connections": (1, 1_000_000),
    "header_timeout": (1, 3600),
    "body_timeout": (1, 3600),
    "keep_alive": (1, 3600),
    "drain_delay": (0, 3600),
    "shutdown_timeout": (1, 3600),
}
"""Minimum and maximum of each numeric setting."""
_WORDS = {"log_format": ("text", "json"), "unrecorded": ("refuse", "allow")}
"""Possible values of settings that are words."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of `proffer serve`; each is an option and an environment variable `PROFFER_<NAME>`."""

    host: str = "127.0.0.1"
    port: int = 8700
    database: str = "sqlite:///proffer.db"
    dev: bool = False
    access_log: bool = False
    event_days: int = 365
    event_bytes: int = 65_536
    event_log_days: int = 395
    event_log_bytes: int = 0
    audience_time: str = "03:00"
    workers: int = 1
    worker_timeout: int = 30
    tls_cert: str = ""
    tls_key: str = ""
    max_requests: int = 256
    max_connections: int = 10_000
    header_timeout: int = 10
    body_timeout: int = 30
    keep_alive: int = 65
    drain_delay: int = 0
    shutdown_timeout: int = 10
    metrics: bool = False
    metrics_token: str = ""
    log_format: str = "text"
    traces: bool = False
    database_connections: int = 10
    spool: str = ""
    spool_bytes: int = 100_000_000
    unrecorded: str = "refuse"
    write_wait_ms: int = 1_000


def load_settings(options: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: options that are not None, then the environment, then defaults.

    Raises `Invalid`, naming the setting, for an invalid value, and for dev mode on a host other than
    loopback, because dev mode does not check permissions.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for field in fields(Settings):
        variable = f"PROFFER_{field.name.upper()}"
        if options.get(field.name) is not None:
            values[field.name] = options[field.name]
        elif variable in environment:
            values[field.name] = _parse_variable(field.default, environment[variable], variable)
    config = Settings(**values)  # type: ignore[arg-type]
    if not 0 <= config.port <= 65535:
        raise _setting_error("port", f"{config.port} is not a port", "use a number from 0 to 65535")
    for name, (minimum, maximum) in _NUMBER_RANGES.items():
        if not minimum <= getattr(config, name) <= maximum:
            value = getattr(config, name)
            raise _setting_error(name, f"{value} is out of range", f"use a number from {minimum} to {maximum:,}")
    for name, words in _WORDS.items():
        if getattr(config, name) not in words:
            raise _setting_error(name, f"`{getattr(config, name)}` is not possible", f"use {' or '.join(words)}")
    if config.tls_key and not config.tls_cert:
        raise _setting_error("tls_key", "the key has no certificate", "set `--tls-cert`, too")
    if config.dev and config.host not in LOOPBACK:
        raise _setting_error(
            "dev",
            f"dev mode checks no permissions, and `{config.host}` is not loopback",
            "use `--host 127.0.0.1`, or tokens (`proffer token create`) without `--dev`",
        )
    if not _AUDIENCE_TIME.fullmatch(config.audience_time):
        problem = f"`{config.audience_time}` is not a time of day"
        raise _setting_error("audience_time", problem, "use `HH:MM`, in UTC, or `never`")
    sqlite_path(config.database)
    return config


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for a PostgreSQL URL.

    `sqlite:///a.db` is relative, `sqlite:////a.db` absolute. Raises `Invalid` for any other URL.
    """
    scheme, _, location = url.partition("://")
    if scheme == "sqlite" and location.startswith("/") and location != "/":
        return Path(location[1:])
    if scheme in {"postgresql", "postgres"} and urlsplit(url).path not in {"", "/"}:
        return None
    raise _setting_error(
        "database",
        f"`{_mask_password(url)}` is not a supported database URL",
        "use `sqlite:///path/to/file.db` or `postgresql://user:password@host/database`",
    )


def spool_folder(config: Settings) -> Path:
    """Return the spool folder: as configured, else beside the SQLite file, else in the working directory."""
    if config.spool:
        return Path(config.spool)
    path = sqlite_path(config.database)
    return Path("proffer-spool") if path is None else path.with_name(f"{path.name}-spool")


def _mask_password(url: str) -> str:
    return re.sub(r"(://[^:@/]*):[^@]*@", r"\1:…@", url)


def _parse_variable(default: object, text: str, variable: str) -> object:
    """Return the text as a value of the default's type."""
    if isinstance(default, bool):
        word = text.strip().lower()
        if word not in {"", "0", "1", "false", "true", "no", "yes", "off", "on"}:
            raise _setting_error(variable, f"`{text}` is neither true nor false", "use `true` or `false`")
        return word in {"1", "true", "yes", "on"}
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise _setting_error(variable, f"`{text}` is not a number", "use a whole number") from None
    return text


def _setting_error(name: str, message: str, hint: str) -> Invalid:
    return Invalid.of([Violation(code="setting", message=f"{name}: {message}", help=hint)])
