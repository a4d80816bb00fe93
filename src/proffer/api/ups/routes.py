"""The customer's URL table: profile access, audiences, merge policies, identity namespaces."""

from proffer.api.kit.surface import Surface
from proffer.api.ups.entities import Entities

PREFIX = "/data/core"


class UpsSurface:
    """Everything under `/data/core/ups` and `/data/core/idnamespace`."""

    def __init__(self, entities: Entities) -> None:
        self._entities = entities

    def surface(self) -> Surface:
        return Surface(name="ups", prefix=PREFIX, endpoints=self._entities.endpoints())
