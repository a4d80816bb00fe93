"""How the server is: whether it may be sent requests, and what is not as it should be."""

from collections.abc import Callable, Mapping

Reason = Callable[[], str | None]
"""Says what is wrong, or None."""


class Health:
    """Answers `/healthz` and `/readyz`. Whoever knows of something that can be wrong says so here."""

    def __init__(self) -> None:
        self.draining = False
        """Set when the server is about to stop; it still serves."""
        self.started = False
        """Set when the libraries have been read."""
        self._must: dict[str, Reason] = {}
        self._should: dict[str, Reason] = {}

    def must(self, name: str, reason: Reason) -> None:
        """While this gives a reason the server is not ready: a load balancer is to look elsewhere."""
        self._must[name] = reason

    def should(self, name: str, reason: Reason) -> None:
        """While this gives a reason the server is degraded: it serves, but not everything."""
        self._should[name] = reason

    def unready(self) -> Mapping[str, str]:
        """Why the server should not be sent requests, by name; empty when it may."""
        reasons = _given(self._must)
        if not self.started:
            reasons["starting"] = "the libraries are being read"
        if self.draining:
            reasons["draining"] = "the server is about to stop"
        return reasons

    def degraded(self) -> Mapping[str, str]:
        """What is not as it should be, by name; empty when all is well."""
        return _given(self._should)


def _given(reasons: Mapping[str, Reason]) -> dict[str, str]:
    found = {name: reason() for name, reason in reasons.items()}
    return {name: reason for name, reason in found.items() if reason is not None}
