"""Routes of the customer API: profile access, audiences, merge policies, namespaces."""

from collections.abc import Sequence

from proffer.api.kit.endpoints import Endpoint, Surface

PREFIX = "/data/core"


class UpsRoutes:
    """Everything under `/data/core/ups` and `/data/core/idnamespace`."""

    def __init__(self, *endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = [endpoint for group in endpoints for endpoint in group]

    def surface(self) -> Surface:
        return Surface(name="ups", prefix=PREFIX, endpoints=self._endpoints)
