"""Classification of PostgreSQL errors, and their conversion to store errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

from proffer.errors import Conflict, ProfferError
from proffer.store.errors import StoreUnavailable

CONNECTION_LOST_ERRORS = (
    OSError,  # refused, reset, no such socket, timed out
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,  # pg_terminate_backend, a shutdown
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,  # it is starting or stopping
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # after a failover the old primary is a standby
    asyncpg.InternalClientError,  # raised by the driver when the connection ended between two statements
)
"""The connection is lost or its server cannot serve; another connection may work."""

CONFLICT_ERRORS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""Conflict with another transaction. Nothing was written; a retry may succeed."""


def redacted_url(url: str) -> str:
    """Return the database URL without the password, for messages."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")  # `urlsplit` fails on several ports
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}"


def is_lost(error: BaseException) -> bool:
    """Return whether the connection failed, rather than the statement."""
    if isinstance(error, CONNECTION_LOST_ERRORS):
        return True
    # asyncpg uses one class for API misuse and for a connection closed meanwhile.
    return isinstance(error, asyncpg.InterfaceError) and "clos" in str(error)


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether a transaction gave up because another one held a lock for too long."""
    return isinstance(error.__cause__, asyncpg.LockNotAvailableError)


def to_store_error(url: str, error: BaseException) -> ProfferError:
    """Return the store error for a database error, with its reason."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Conflict(f"refused by the database: {error}", code="taken")
    reason = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        reason = f"it did not answer in time ({reason})"
    return StoreUnavailable(f"cannot use the database `{redacted_url(url)}`: {reason}")


@contextmanager
def unavailable(url: str) -> Iterator[None]:
    """Convert errors of the database and of the connection to store errors."""
    try:
        yield
    except (asyncpg.PostgresError, *CONNECTION_LOST_ERRORS) as error:
        raise to_store_error(url, error) from error
    except asyncpg.InterfaceError as error:
        if not is_lost(error) and not isinstance(error, asyncpg.ClientConfigurationError):
            raise  # a bug of ours
        raise to_store_error(url, error) from error
