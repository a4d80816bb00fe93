"""Health of the server: readiness and degradation checks."""

from collections.abc import Callable, Mapping

HealthCheck = Callable[[], str | None]
"""Returns the reason for a problem, or None."""


class Health:
    """Registry of health checks behind `/healthz` and `/readyz`."""

    def __init__(self) -> None:
        self.draining = False
        """Set when the server is about to stop; it still serves requests."""
        self.started = False
        """Set when all libraries have been loaded."""
        self._readiness_checks: dict[str, HealthCheck] = {}
        self._degradation_checks: dict[str, HealthCheck] = {}

    def add_readiness_check(self, name: str, check: HealthCheck) -> None:
        """Register a readiness check. The server is not ready while it returns a reason."""
        self._readiness_checks[name] = check

    def add_degradation_check(self, name: str, check: HealthCheck) -> None:
        """Register a degradation check. The server is marked degraded while it returns a reason."""
        self._degradation_checks[name] = check

    def unready_reasons(self) -> Mapping[str, str]:
        """Return why the server is not ready, by check name; empty when it is."""
        reasons = _failing(self._readiness_checks)
        if not self.started:
            reasons["starting"] = "the libraries are being loaded"
        if self.draining:
            reasons["draining"] = "the server is about to stop"
        return reasons

    def degraded_reasons(self) -> Mapping[str, str]:
        """Return why the server is degraded, by check name; empty when it is not."""
        return _failing(self._degradation_checks)


def _failing(checks: Mapping[str, HealthCheck]) -> dict[str, str]:
    results = {name: reason() for name, reason in checks.items()}
    return {name: reason for name, reason in results.items() if reason is not None}
