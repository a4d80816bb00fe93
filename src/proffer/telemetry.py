"""The log: the only module that touches `logging`. Plain text, or one JSON object a line."""

import logging
import sys
from typing import Any

import msgspec

log = logging.getLogger("proffer")
"""Where Proffer says what operators should know. What a client did wrong is told to the client, not here."""
_access = logging.getLogger("proffer.access")


def failure(message: str, error: BaseException, **about: str) -> None:
    """Something that should not have been possible: with the traceback, so that it can be mended."""
    log.error(message, exc_info=error, extra=about)


def notice(message: str) -> None:
    """Something an operator should know, though nothing is broken."""
    log.warning(message)


def access(method: str, path: str, status: int, **about: Any) -> None:
    """One request that was answered; `about` becomes members of its line."""
    _access.info(
        "%s %s %d",
        method,
        path,
        status,
        extra={"method": method, "path": path, "status": status, **about},
    )


def logs_in_json() -> dict[str, Any]:
    """The configuration (`logging.config.dictConfig`) of a log whose every line is an object.

    Members are `time`, `level`, `logger`, `event`, what is known beside it, and `exception` with a traceback.
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
    """From now on every line of this process's log is an object."""
    import logging.config

    logging.config.dictConfig(logs_in_json())


def _json_lines() -> logging.Formatter:
    import structlog  # only where it is asked for: text needs none of it

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
    """One line for whoever started us, before there is a log."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is what it is for
