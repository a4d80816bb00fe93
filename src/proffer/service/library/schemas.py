"""The schemas of a sandbox: load, list and remove what its rules are checked against.

Without one, rules are checked against the commonly used part of XDM, and what that does not know is only
doubtful. With one, a field it does not declare is an error in rules that are saved from then on; rules
that are there already and no longer check count as false, and are reported (R33).
"""

from collections.abc import Sequence
from typing import Any

from proffer.auth.policy import require
from proffer.auth.principal import Permission, Principal
from proffer.errors import NotFound
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import Libraries
from proffer.service.rules.check import readable_fields

_SCHEMA = Precondition(kind=EntityKind.SCHEMA)


class SchemaService:
    """The use cases of schemas, one per root."""

    def __init__(self, catalog: CatalogService, libraries: Libraries) -> None:
        self._catalog = catalog
        self._libraries = libraries

    async def load(self, by: Principal, container: str, root: str, content: Any) -> Instance:
        """Make this the schema of `root`: a JSON Schema, or fields with their types. Replaces the one before."""
        fields = readable_fields(content)
        document = {"xdm:name": root, "fields": fields}
        before = next((one for one in self.list(by, container) if one.name == root), None)
        if before is None:
            return await self._catalog.create(by, container, EntityKind.SCHEMA, document)
        return await self._catalog.revise(
            by, container, before.instance_id, lambda _: document, _SCHEMA
        )

    async def remove(self, by: Principal, container: str, root: str) -> None:
        """Check rules against what is known without being told again."""
        before = next((one for one in self.list(by, container) if one.name == root), None)
        if before is None:
            raise NotFound(f"no schema is loaded for `{root}`", code="schema-not-found")
        await self._catalog.delete(by, container, before.instance_id, _SCHEMA)

    def list(self, by: Principal, container: str) -> Sequence[Instance]:
        """The schemas that are loaded, by root."""
        require(by, Permission.LIBRARY_READ)
        library = self._libraries.find(by, container)
        found = library.catalog.of_kind(EntityKind.SCHEMA).values()
        return sorted(found, key=lambda one: one.name)
