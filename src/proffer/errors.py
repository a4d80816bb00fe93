"""Expected errors, shared by all layers. They know no HTTP: each interface maps `Kind` to a status.

ProfferError ─┬─ Malformed         the bytes are not valid UTF-8, JSON or another claimed format
              ├─ Invalid           well-formed but wrong: one `Violation` per mistake
              ├─ Unsupported       a media type or entity kind that is not served
              ├─ TooLarge          over a documented size limit
              ├─ Unauthenticated   the token is missing, unknown, revoked or expired
              ├─ Forbidden         an authenticated caller without the permission
              ├─ NotFound
              ├─ Conflict          the id or name is in use, or the object is still referenced
              ├─ Stale             the revision changed; read again
              ├─ Busy              overloaded; retry after a moment
              └─ Unavailable       a dependency of this server cannot be reached
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar


class Kind(StrEnum):
    """Category of an error. Each interface maps every kind to a status."""

    MALFORMED = "malformed"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too-large"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    STALE = "stale"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One mistake in a document: what is wrong, where, and how to fix it.

    `path` is a JSON path from the root of the document (`$.xdm:representations[0].xdm:placement`);
    `line` and `column` count from 1 and are set for text that could not be parsed.
    """

    code: str
    message: str
    path: str | None = None
    help: str | None = None
    line: int | None = None
    column: int | None = None


class ProfferError(Exception):
    """Base of all expected errors. `code` is stable and documented; `detail` is for people."""

    kind: ClassVar[Kind]
    default_code: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        violations: Sequence[Violation] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.violations = tuple(violations)
        self.extra = dict(extra or {})


class Malformed(ProfferError):
    kind = Kind.MALFORMED
    default_code = "malformed"


class Invalid(ProfferError):
    kind = Kind.INVALID
    default_code = "invalid"

    @classmethod
    def of(cls, violations: Sequence[Violation]) -> "Invalid":
        """Return one error for all violations of a document. There must be at least one."""
        first = violations[0]
        where = f" at `{first.path}`" if first.path else ""
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        return cls(f"{first.message}{where}{more}", violations=violations)

    def with_root(self, root: str) -> "Invalid":
        """Return the error with all paths prefixed by the JSON path `root`."""
        if root == "$" or not self.violations:
            return self
        return Invalid.of(
            [
                replace(violation, path=root + violation.path[1:] if violation.path else root)
                for violation in self.violations
            ]
        )


class Unsupported(ProfferError):
    kind = Kind.UNSUPPORTED
    default_code = "unsupported"


class TooLarge(ProfferError):
    kind = Kind.TOO_LARGE
    default_code = "too-large"


class Unauthenticated(ProfferError):
    kind = Kind.UNAUTHENTICATED
    default_code = "unauthenticated"


class Forbidden(ProfferError):
    kind = Kind.FORBIDDEN
    default_code = "forbidden"


class NotFound(ProfferError):
    kind = Kind.NOT_FOUND
    default_code = "not-found"


class Conflict(ProfferError):
    kind = Kind.CONFLICT
    default_code = "conflict"


class Stale(ProfferError):
    kind = Kind.STALE
    default_code = "stale"


class Busy(ProfferError):
    """The server is overloaded. `retry_after` is in whole seconds."""

    kind = Kind.BUSY
    default_code = "busy"
    retry_after = 1


class Unavailable(ProfferError):
    kind = Kind.UNAVAILABLE
    default_code = "unavailable"
    retry_after = 1
