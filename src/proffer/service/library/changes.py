"""Change log of a library: who changed what and when, earlier revisions, and the library at a time.

Everything is derived from the stored revisions of the objects.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.errors import NotFound
from proffer.model.difference import difference
from proffer.model.ids import INTERNAL_KINDS, canonical
from proffer.model.instance import Instance
from proffer.service.library.library import ContainerState
from proffer.service.library.objects import CatalogService
from proffer.service.library.registry import AuthorizedContainer


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedChange:
    """One version of one object. `action`: `created`, `changed` or `deleted`."""

    version: Instance
    action: str
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
    ) -> tuple[list[LoggedChange], int | None]:
        """Return a page of changes, newest first, of one object or all; and the next `before`."""
        state = access.state
        versions: Sequence[Instance]
        if entity_id is None:
            versions = await _versions(state)
        else:
            versions = await self._history(state, entity_id)
        log: list[LoggedChange] = []
        previous: dict[str, Instance] = {}
        for version in versions:
            log.append(_logged_change(previous.get(version.instance_id), version))
            previous[version.instance_id] = version
        log = [change for change in log if before is None or change.version.revision < before]
        page = log[::-1][:limit]
        return page, page[-1].version.revision if len(log) > len(page) else None

    async def revision(self, access: AuthorizedContainer, entity_id: str, etag: int) -> Instance:
        """Return the version of an object with this etag. Raises `NotFound`."""
        history = await self._history(access.state, entity_id)
        match = next((version for version in history if version.etag == etag and not version.deleted), None)
        if match is None:
            raise NotFound(
                f"`{entity_id[:200]}` has no version with the etag {etag}",
                code="revision-not-found",
            )
        return match

    async def restore(self, access: AuthorizedContainer, entity_id: str, etag: int) -> Instance:
        """Write an object's document of this etag as a new, validated revision."""
        earlier = await self.revision(access, entity_id, etag)
        return (await self._catalog.revise(access, earlier.instance_id, lambda _: earlier.document)).instance

    async def library_at(self, access: AuthorizedContainer, moment_us: int) -> tuple[int, list[Instance]]:
        """Return the revision and the objects in force at a time. Objects are in order of creation."""
        # Times may decrease, because the clocks of processes may differ: revisions are the order.
        versions = [version for version in await _versions(access.state) if version.modified_us <= moment_us]
        revision = max((version.revision for version in versions), default=0)
        return revision, [version for version in newest_of(versions) if not version.deleted]

    async def _history(self, state: ContainerState, entity_id: str) -> Sequence[Instance]:
        """Return all versions of an object, also of a deleted one. Raises `NotFound`."""
        current = state.catalog.by_id(entity_id)
        if current is not None and current.kind not in INTERNAL_KINDS:
            return await state.history(current.instance_id)
        key = canonical(entity_id)
        versions = [version for version in await _versions(state) if version.key == key]
        if not versions:
            raise NotFound(f"there is no object `{entity_id[:200]}`", code="instance-not-found")
        return versions


def newest_of(versions: Iterable[Instance]) -> list[Instance]:
    """Return each object's newest version, deletions included, in order of creation.

    The versions are in order of their revisions.
    """
    newest = {version.instance_id: version for version in versions}
    return sorted(newest.values(), key=lambda instance: (instance.created_us, instance.id))


async def _versions(state: ContainerState) -> list[Instance]:
    return [version for version in await state.since(0) if version.kind not in INTERNAL_KINDS]


def _logged_change(before: Instance | None, version: Instance) -> LoggedChange:
    if version.deleted:
        return LoggedChange(version=version, action="deleted", difference=())
    if before is None:
        return LoggedChange(version=version, action="created", difference=())
    document_difference = difference(dict(before.document), dict(version.document))
    return LoggedChange(version=version, action="changed", difference=document_difference)
