"""Logging as plain text or JSON Lines; no other module uses `logging`."""

import logging
import sys
from typing import Any

import msgspec

log = logging.getLogger("proffer")
"""The log for operators. Errors of clients are in responses, not in the log."""
_access = logging.getLogger("proffer.access")


def log_failure(message: str, error: BaseException, **fields: str) -> None:
    """Log an unexpected error with its traceback."""
    log.error(message, exc_info=error, extra=fields)


def log_warning(message: str) -> None:
    """Log a warning for operators."""
    log.warning(message)


def log_access(method: str, path: str, status: int, **fields: Any) -> None:
    """Log a request in the access log; `fields` become members of a JSON line."""
    _access.info(
        "%s %s %d",
        method,
        path,
        status,
        extra={"method": method, "path": path, "status": status, **fields},
    )


def json_log_config() -> dict[str, Any]:
    """Return a `logging.config.dictConfig` configuration for a log in JSON Lines.

    Members are `time`, `level`, `logger`, `event`, further fields, and `exception` with a traceback.
    """
    handler = {"class": "logging.StreamHandler", "formatter": "json"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": _json_formatter}},
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


def enable_json_log() -> None:
    """Switch the log of this process to JSON Lines."""
    import logging.config

    logging.config.dictConfig(json_log_config())


def _json_formatter() -> logging.Formatter:
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
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
    )


def _to_json(value: Any, **_: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def print_line(line: str) -> None:
    """Print a line to stderr before the log is configured."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is what it is for
