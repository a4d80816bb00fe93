"""What people do with several objects or with a whole one: duplicate it, and move many through their lifecycle.

The library takes any status of a kind at any time (R10); here only the steps of the lifecycle are taken
(spec 1.10), and what cannot take one is left as it is and said so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.auth.principal import Principal
from proffer.errors import Finding, Invalid, ProfferError
from proffer.model.ids import SERVED, EntityKind
from proffer.model.instance import Instance
from proffer.model.lifecycle import may_become
from proffer.service.library.objects import CatalogService

MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What became of one object of many: its new version, or why it stays as it is."""

    id: str
    version: Instance | None = None
    reason: str | None = None


class EditingService:
    """The use cases. Each write is one of the catalogue's, with all its checks and its own revision."""

    def __init__(self, catalog: CatalogService) -> None:
        self._catalog = catalog

    async def duplicate(
        self,
        by: Principal,
        container: str,
        kind: EntityKind,
        entity_id: str,
        name: str | None = None,
    ) -> Instance:
        """A new object like this one, but in draft, under another name: the one given, else one that is free."""
        library = self._catalog.writable(by, container)
        before = self._catalog.look_up(by, container, kind, entity_id)
        taken = {one.name for one in library.catalog.of_kind(kind).values()}
        copy: dict[str, Any] = {
            member: value for member, value in before.document.items() if member != "@id"
        }
        copy["xdm:name"] = name or next(free for free in _names(before.name) if free not in taken)
        if "xdm:status" in copy:
            copy["xdm:status"] = "draft"
        scheme, _, _ = before.id.partition(":")
        return await self._catalog.create(by, container, kind, copy, scheme=scheme)

    async def move(
        self, by: Principal, container: str, entity_ids: Sequence[str], status: str
    ) -> list[Moved]:
        """Give each of these objects a status, if its lifecycle has that step; the others say why they stay.

        What is refused is refused alone: the others move all the same. Raises `Invalid` for too many.
        """
        library = self._catalog.writable(by, container)
        if len(entity_ids) > MOST_AT_ONCE:
            raise Invalid.of(
                [
                    Finding(
                        code="limit",
                        message=f"{len(entity_ids)} objects are more than {MOST_AT_ONCE:,} at once",
                        help="send several requests",
                    )
                ]
            )
        moved: list[Moved] = []
        for entity_id in dict.fromkeys(entity_ids):
            instance = library.catalog.by_id(entity_id)
            if instance is None or instance.kind not in SERVED:
                moved.append(Moved(id=entity_id, reason="there is no such object"))
            else:
                moved.append(await self._moved(by, container, instance, status))
        return moved

    async def _moved(self, by: Principal, container: str, instance: Instance, status: str) -> Moved:
        try:
            version = await self._catalog.revise(
                by, container, instance.instance_id, lambda now: _stepped(now, status)
            )
        except ProfferError as error:
            return Moved(id=instance.id, reason=error.detail)
        return Moved(id=instance.id, version=version)


def _stepped(instance: Instance, status: str) -> Mapping[str, Any]:
    """The document with the status, if the object may take that step from where it is now."""
    now = instance.document.get("xdm:status")
    if now is None or not may_become(instance.kind, str(now), status):
        been = f"it is {now}" if now is not None else "it has no status"
        raise Invalid.of(
            [
                Finding(
                    code="lifecycle",
                    message=f"{been}, and cannot become {status[:50]}",
                    help="see the lifecycle of its kind",
                )
            ]
        )
    return {**instance.document, "xdm:status": status}


def _names(name: str) -> Iterator[str]:
    yield f"{name} (copy)"
    number = 2
    while True:
        yield f"{name} (copy {number})"
        number += 1
