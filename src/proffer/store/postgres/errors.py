"""What goes wrong with PostgreSQL: what is worth another try, and words for whoever runs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

from proffer.errors import Conflict, ProfferError
from proffer.store.errors import StoreUnavailable

LOST = (
    OSError,  # refused, reset, no such socket, timed out
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,  # pg_terminate_backend, a shutdown
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,  # it is starting or stopping
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # the one we knew is a standby now
    asyncpg.InternalClientError,  # the driver's, where the end of the connection came between two statements
)
"""The connection is gone, or leads to a server that cannot serve; the next one may be better."""

CLASHED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""Another transaction came first. Nothing was written; the same again may succeed."""


def shown(url: str) -> str:
    """The address of the database without the password, for messages."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")  # several hosts have no one port
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}"


def is_lost(error: BaseException) -> bool:
    """Whether the connection, rather than what was asked over it, is at fault."""
    if isinstance(error, LOST):
        return True
    # asyncpg has one class for its own misuse and for a connection that is closed under our hands.
    return isinstance(error, asyncpg.InterfaceError) and "clos" in str(error)


def fault(url: str, error: BaseException) -> ProfferError:
    """The error of the database as our own, with its reason."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Conflict(f"refused by the database: {error}", code="taken")
    reason = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        reason = f"it did not answer in time ({reason})"
    return StoreUnavailable(f"cannot use the database `{shown(url)}`: {reason}")


@contextmanager
def unavailable(url: str) -> Iterator[None]:
    """Raise our own error in place of any of the database or of the way there."""
    try:
        yield
    except (asyncpg.PostgresError, *LOST) as error:
        raise fault(url, error) from error
    except asyncpg.InterfaceError as error:
        if not is_lost(error) and not isinstance(error, asyncpg.ClientConfigurationError):
            raise  # a mistake of ours
        raise fault(url, error) from error
