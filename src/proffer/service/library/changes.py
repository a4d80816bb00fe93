"""Change log of a library: who changed what and when, earlier revisions, and the library at a time.

Everything is derived from the stored revisions of the objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proffer.errors import NotFound
from proffer.model.difference import difference
from proffer.model.ids import INTERNAL, canonical
from proffer.model.instance import Instance
from proffer.service.library.library import ContainerState
from proffer.service.library.objects import CatalogService
from proffer.service.library.registry import AuthorizedContainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One version of one object. `action`: `created`, `changed` or `deleted`."""

    version: Instance
    what: str
    difference: Sequence[dict[str, Any]]


class ChangeService:
    """Use cases of the change log. Permissions are those of reading and writing the library."""

    def __init__(self, catalog: CatalogService) -> None:
        self._catalog = catalog

    async def changes(
        self,
        access: AuthorizedContainer,
        *,
        entity_id: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> tuple[list[Change], int | None]:
        """Return a page of changes, newest first, of one object or all; and the next `before`."""
        state = access.state
        versions: Sequence[Instance]
        if entity_id is None:
            versions = await _versions(state)
        else:
            versions = await self._history(state, entity_id)
        listed: list[Change] = []
        previous: dict[str, Instance] = {}
        for version in versions:
            listed.append(_change(previous.get(version.instance_id), version))
            previous[version.instance_id] = version
        listed = [one for one in listed if before is None or one.version.revision < before]
        page = listed[::-1][:limit]
        return page, page[-1].version.revision if len(listed) > len(page) else None

    async def revision(self, access: AuthorizedContainer, entity_id: str, etag: int) -> Instance:
        """Return the version of an object with this etag. Raises `NotFound`."""
        history = await self._history(access.state, entity_id)
        found = next((one for one in history if one.etag == etag and not one.deleted), None)
        if found is None:
            raise NotFound(
                f"`{entity_id[:200]}` never had the etag {etag}", code="revision-not-found"
            )
        return found

    async def restore(self, access: AuthorizedContainer, entity_id: str, etag: int) -> Instance:
        """Write the document an object had under this etag as a new, validated revision."""
        earlier = await self.revision(access, entity_id, etag)
        return await self._catalog.revise(access, earlier.instance_id, lambda _: earlier.document)

    async def library_at(
        self, access: AuthorizedContainer, moment_us: int
    ) -> tuple[int, list[Instance]]:
        """Return the revision and the objects in force at a time, in order of creation."""
        state = access.state
        revision = 0
        live: dict[str, Instance] = {}
        for version in await _versions(state):
            if version.modified_us > moment_us:
                continue  # not `break`: clocks of processes may differ, revisions are the order
            revision = version.revision
            if version.deleted:
                live.pop(version.instance_id, None)
            else:
                live[version.instance_id] = version
        return revision, sorted(live.values(), key=lambda one: (one.created_us, one.id))

    async def _history(self, state: ContainerState, entity_id: str) -> Sequence[Instance]:
        """Return all versions of an object, also of a deleted one, or raise `NotFound`."""
        known = state.catalog.by_id(entity_id)
        if known is not None and known.kind not in INTERNAL:
            return await state.history(known.instance_id)
        key = canonical(entity_id)
        found = [one for one in await _versions(state) if one.key == key]
        if not found:
            raise NotFound(f"there is no object `{entity_id[:200]}`", code="instance-not-found")
        return found


async def _versions(state: ContainerState) -> list[Instance]:
    return [one for one in await state.since(0) if one.kind not in INTERNAL]


def _change(before: Instance | None, version: Instance) -> Change:
    if version.deleted:
        return Change(version=version, what="deleted", difference=())
    if before is None:
        return Change(version=version, what="created", difference=())
    made = difference(dict(before.document), dict(version.document))
    return Change(version=version, what="changed", difference=made)
