"""Logging as plain text or JSON Lines; no other module uses `logging`."""

import logging
import sys
from typing import Any

import msgspec

log = logging.getLogger("proffer")
"""The log for operators. Errors of clients are in responses, not in the log."""
_access = logging.getLogger("proffer.access")


def failure(message: str, error: BaseException, **about: str) -> None:
    """Log an unexpected error with its traceback."""
    log.error(message, exc_info=error, extra=about)


def notice(message: str) -> None:
    """Log a warning for operators."""
    log.warning(message)


def access(method: str, path: str, status: int, **about: Any) -> None:
    """Log a request in the access log; `fields` become members of a JSON line."""
    _access.info(
        "%s %s %d",
        method,
        path,
        status,
        extra={"method": method, "path": path, "status": status, **about},
    )


def logs_in_json() -> dict[str, Any]:
    """Return a `logging.config.dictConfig` configuration for a log in JSON Lines.

    Members are `time`, `level`, `logger`, `event`, further fields, and `exception` with a traceback.
    """
    handler = {"class": "logging.StreamHandler", "formatter": "json"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": _json_lines}},
        "handlers": {
            "log": {**handler, "stream": "ext://sys.stderr"},
            "access": {**handler, "stream": "ext://sys.stdout"},
        },
        "root": {"handlers": ["log"], "level": "WARNING"},
        "loggers": {
            "proffer.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
            "uvicorn": {"handlers": ["log"], "level": "WARNING", "propagate": False},
        },
    }


def log_in_json() -> None:
    """Switch the log of this process to JSON Lines."""
    import logging.config

    logging.config.dictConfig(logs_in_json())


def _json_lines() -> logging.Formatter:
    import structlog  # slow import, not needed for plain text

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
    )


def _encode(value: Any, **_: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def say(line: str) -> None:
    """Print a line to stderr before the log is configured."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is what it is for
