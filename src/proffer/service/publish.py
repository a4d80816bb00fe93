"""From committed versions to the snapshot in force. The engine's only door to the catalogue."""

from collections.abc import Iterable

from proffer.engine.build import Builder
from proffer.engine.snapshot import Snapshot, empty
from proffer.model.ids import UNPUBLISHED
from proffer.model.instance import Instance
from proffer.model.reading import Entity, read
from proffer.telemetry import failure


class Publisher:
    """Holds the snapshot in force for one container, and the moment it came into force."""

    def __init__(self, container: str) -> None:
        self._builder = Builder(container)
        self.snapshot: Snapshot = empty(container)
        self.published_us: int | None = None

    def publish(self, versions: Iterable[Instance], revision: int, now_us: int) -> None:
        """Put the catalogue as it is after these versions into force, whole, at once."""
        changes = [
            (one.key, None if one.deleted else _read(one))
            for one in versions
            if one.kind not in UNPUBLISHED
        ]
        self.snapshot = self._builder.apply(changes, revision)
        self.published_us = now_us


def _read(instance: Instance) -> Entity | None:
    # What an older version let in must not keep everything after it from coming into force.
    try:
        return read(instance)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it
        failure(f"`{instance.id}` cannot be read and is out of play", error)
        return None
