"""Health of the server: readiness and degradation checks."""

from collections.abc import Callable, Mapping

Reason = Callable[[], str | None]
"""Returns the reason for a problem, or None."""


class Health:
    """Registry of health checks behind `/healthz` and `/readyz`."""

    def __init__(self) -> None:
        self.draining = False
        """Set when the server is about to stop; it still serves requests."""
        self.started = False
        """Set when all libraries have been loaded."""
        self._must: dict[str, Reason] = {}
        self._should: dict[str, Reason] = {}

    def must(self, name: str, reason: Reason) -> None:
        """Register a check that makes the server not ready while it returns a reason."""
        self._must[name] = reason

    def should(self, name: str, reason: Reason) -> None:
        """Register a check that marks the server degraded while it returns a reason."""
        self._should[name] = reason

    def unready(self) -> Mapping[str, str]:
        """Return why the server is not ready, by check name; empty when it is."""
        reasons = _given(self._must)
        if not self.started:
            reasons["starting"] = "the libraries are being read"
        if self.draining:
            reasons["draining"] = "the server is about to stop"
        return reasons

    def degraded(self) -> Mapping[str, str]:
        """Return why the server is degraded, by check name; empty when it is not."""
        return _given(self._should)


def _given(reasons: Mapping[str, Reason]) -> dict[str, str]:
    found = {name: reason() for name, reason in reasons.items()}
    return {name: reason for name, reason in found.items() if reason is not None}
