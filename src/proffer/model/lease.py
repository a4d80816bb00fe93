"""Leases: the right of one process to do a task that only one may do, for a limited time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease of a task. `owner` is empty, or `until_us` over, if nobody holds it.

    `version` increases with every change; 0 before the first.
    """

    name: str
    owner: str = ""
    until_us: int = 0
    version: int = 0

    def is_free_for(self, owner: str, now_us: int) -> bool:
        """Return whether this owner may take or renew the lease."""
        return self.owner in {"", owner} or self.until_us <= now_us
