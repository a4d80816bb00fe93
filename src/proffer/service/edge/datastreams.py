"""Datastreams: stored in the library of their sandbox, looked up by id across all sandboxes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.auth.principal import Permission, Principal
from proffer.errors import Conflict, Invalid, NotFound, Violation
from proffer.model.datastream import Datastream, read_datastream
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.service.library.library import ContainerState
from proffer.service.library.objects import CatalogService, Document, Precondition
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.validation import Member, ObjectShape, TextShape, validate

_IS_DATASTREAM = Precondition(kind=EntityKind.DATASTREAM)
_ID = ObjectShape(
    {
        "id": Member(
            TextShape(
                pattern=r"[a-z0-9][a-z0-9:._-]{0,99}",
                help="Lower case letters, digits, `:`, `.`, `_` and `-`; or leave it out.",
            )
        )
    }
)

_MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class AuthorizedDatastream:
    """A datastream and its container, authorized for the datastream's clients."""

    datastream: Datastream
    access: AuthorizedContainer

    @property
    def container(self) -> Container:
        return self.access.state.container


def _authorize(datastream: Datastream, state: ContainerState) -> AuthorizedDatastream:
    """Authorize the datastream's clients: they may decide, and report on customers."""
    principal = Principal(
        organisation=state.container.organisation,
        sandbox=state.container.sandbox,
        permissions=frozenset({Permission.DECISIONS_EXECUTE, Permission.PROFILES_WRITE}),
        user=f"datastream:{datastream.id}",
        client="edge",
    )
    return AuthorizedDatastream(datastream, AuthorizedContainer(principal, state))


class DatastreamService:
    """Use cases of datastreams. Writing needs `admin`: the id of one allows to request decisions."""

    def __init__(self, catalog: CatalogService, registry: ContainerRegistry) -> None:
        self._catalog = catalog
        self._registry = registry
        self._built_in: dict[str, tuple[Datastream, str]] = {}
        self._cache: dict[str, AuthorizedDatastream] = {}
        """By id as sent (any case); cleared when a library changes."""
        self._cached_changes = -1

    def add_built_in(self, datastream: Datastream, container: str) -> None:
        """Serve a datastream that is not stored; a stored one with the same id has precedence."""
        self._built_in[datastream.id] = (datastream, container)
        self._cached_changes = -1

    def find(self, datastream_id: str) -> AuthorizedDatastream | None:
        """Return the oldest datastream of this id in any container, or None."""
        changes = self._registry.changes
        if changes != self._cached_changes or len(self._cache) > _MAX_CACHED:
            self._cache.clear()
            self._cached_changes = changes
        stream = self._cache.get(datastream_id)
        if stream is None:
            stream = self._load(datastream_id.lower())
            if stream is not None:
                self._cache[datastream_id] = stream
        return stream

    async def find_latest(self, datastream_id: str) -> AuthorizedDatastream | None:
        """Return the datastream as `find` does; an unknown one is looked for in the store (R50)."""
        stream = self.find(datastream_id)
        if stream is None:
            await self._registry.see_all_writes()
            stream = self.find(datastream_id)
        return stream

    def _load(self, key: str) -> AuthorizedDatastream | None:
        stored = self._registry.datastream(key)
        if stored is not None:
            instance, container = stored
            return _authorize(read_datastream(instance), container)
        built_in = self._built_in.get(key)
        if built_in is None:
            return None
        datastream, container_id = built_in
        state = self._registry.get(container_id)
        return None if state is None else _authorize(datastream, state)

    def all_stored(self, access: AuthorizedContainer) -> Sequence[Instance]:
        """Return the stored datastreams of a container, oldest first."""
        return self._catalog.of_kind(access, EntityKind.DATASTREAM)

    def get(self, access: AuthorizedContainer, key: str) -> Instance:
        return self._catalog.get(access, key, _IS_DATASTREAM)

    async def create(self, access: AuthorizedContainer, document: Document) -> Instance:
        """Create a datastream with its own or a new id. Raises `Conflict` if the id exists."""
        violations = validate(_ID, document)
        if violations:
            raise Invalid.of(violations)
        requested_id: Any = document.get("id")
        if requested_id is not None and self._registry.datastream(requested_id) is not None:
            raise Conflict(f"a datastream `{requested_id}` already exists", code="id-taken")
        receipt = await self._catalog.create(
            access, EntityKind.DATASTREAM, _without_id(document), instance_id=requested_id
        )
        return receipt.instance

    async def replace(
        self,
        access: AuthorizedContainer,
        key: str,
        document: Document,
        etags: Iterable[int] | None,
    ) -> Instance:
        requested_id = document.get("id")
        if requested_id is not None and requested_id != key.lower():
            raise Invalid.of(
                [
                    Violation(
                        code="immutable",
                        message=f"`id` is `{key.lower()[:100]}` and cannot change",
                        path="$.id",
                        help="leave `id` out, or send it unchanged",
                    )
                ]
            )
        receipt = await self._catalog.revise(access, key, lambda _: _without_id(document), _condition(etags))
        return receipt.instance

    async def delete(self, access: AuthorizedContainer, key: str, etags: Iterable[int] | None = None) -> Instance:
        """Delete a datastream; requests with its id are refused from now on."""
        return await self._catalog.delete(access, key, _condition(etags))

    def resolve(self, access: AuthorizedContainer, key: str) -> Datastream:
        """Return a datastream of this container, stored or built in; raise `NotFound` for others."""
        stream = self.find(key)
        if stream is None or stream.access.id != access.id:
            raise NotFound(f"there is no datastream `{key[:100]}`", code="datastream-not-found")
        return stream.datastream

    def built_in(self, container: str) -> list[Datastream]:
        """Return the datastreams of a container that are not stored."""
        return [
            datastream
            for datastream, container_id in self._built_in.values()
            if container_id == container and self._registry.datastream(datastream.id) is None
        ]


def _condition(etags: Iterable[int] | None) -> Precondition:
    expected = frozenset(etags) if etags is not None else None
    return Precondition(kind=EntityKind.DATASTREAM, etags=expected)


def _without_id(document: Document) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"id", "@id"}}
