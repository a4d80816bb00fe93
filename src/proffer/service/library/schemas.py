"""Field schemas of a sandbox: load, list and remove what its rules are checked against.

Without a schema, rules are checked against the commonly used part of XDM, and unknown fields are only
warnings. With one, an undeclared field is an error in rules saved from then on; existing rules
that no longer check count as false and are reported (R33).
"""

from collections.abc import Sequence
from typing import Any

from proffer.errors import NotFound
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.rules.check import read_fields

_IS_SCHEMA = Precondition(kind=EntityKind.SCHEMA)


class SchemaService:
    """Use cases of schemas: one schema per root."""

    def __init__(self, catalog: CatalogService) -> None:
        self._catalog = catalog

    async def load(self, access: AuthorizedContainer, root: str, content: Any) -> Instance:
        """Set or replace the schema of `root`: a JSON Schema, or fields with their types."""
        fields = read_fields(content)
        document = {"xdm:name": root, "fields": fields}
        before = next((schema for schema in self.list(access) if schema.name == root), None)
        if before is None:
            return (await self._catalog.create(access, EntityKind.SCHEMA, document)).instance
        return (await self._catalog.revise(access, before.instance_id, lambda _: document, _IS_SCHEMA)).instance

    async def remove(self, access: AuthorizedContainer, root: str) -> None:
        """Remove the schema of `root`; rules are then checked against XDM again."""
        before = next((schema for schema in self.list(access) if schema.name == root), None)
        if before is None:
            raise NotFound(f"no schema is loaded for `{root}`", code="schema-not-found")
        await self._catalog.delete(access, before.instance_id, _IS_SCHEMA)

    def list(self, access: AuthorizedContainer) -> Sequence[Instance]:
        """Return the loaded schemas, by root."""
        schemas = access.state.catalog.of_kind(EntityKind.SCHEMA).values()
        return sorted(schemas, key=lambda schema: schema.name)
