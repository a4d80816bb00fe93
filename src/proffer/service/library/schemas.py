"""Field schemas of a sandbox: load, list and remove what its rules are checked against.

Without a schema, rules are checked against the commonly used part of XDM, and unknown fields are only
warnings. With one, an undeclared field is an error in rules saved from then on; existing rules
that no longer check count as false and are reported (R33).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proffer.errors import Conflict, NotFound
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.pql import XDM_FIELDS, schema_with
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.rules.check import field_schemas
from proffer.service.rules.schema_changes import SchemaChange, schema_change

_IS_SCHEMA = Precondition(kind=EntityKind.SCHEMA)


class SchemaService:
    """Use cases of schemas: one schema per root."""

    def __init__(self, catalog: CatalogService) -> None:
        self._catalog = catalog

    def change(self, access: AuthorizedContainer, root: str, fields: Mapping[str, Any]) -> SchemaChange:
        """Return what loading these fields for `root` would change."""
        catalog = access.state.catalog
        loaded = {schema.name: schema.fields for schema in field_schemas(catalog)}
        before = loaded.get(root, XDM_FIELDS.get(root, {}))
        return schema_change(
            catalog,
            root,
            (before, fields),
            (schema_with(loaded), schema_with({**loaded, root: fields})),
            first=root not in loaded,
        )

    async def load(
        self,
        access: AuthorizedContainer,
        root: str,
        fields: Mapping[str, Any],
        *,
        force: bool = False,
        on_change: Callable[[SchemaChange], None] | None = None,
    ) -> Instance:
        """Set or replace the schema of `root`; `on_change` gets the changes before that.

        Raises `Conflict` if live rules become invalid or false, unless `force`.
        """
        change = self.change(access, root, fields)
        if on_change is not None:
            on_change(change)
        broken = change.broken
        if broken and not force:
            count = f"{len(broken)} live rule{'s' if len(broken) != 1 else ''}"
            raise Conflict(
                f"this schema makes {count} invalid or false; load the missing fields together with these, "
                "change the rules, or use --force",
                code="schema-breaks-rules",
                violations=[effect.violation() for effect in broken],
            )
        document = {"xdm:name": root, "fields": fields}
        before = self._find(access, root)
        if before is None:
            return (await self._catalog.create(access, EntityKind.SCHEMA, document)).instance
        return (await self._catalog.revise(access, before.instance_id, lambda _: document, _IS_SCHEMA)).instance

    async def remove(self, access: AuthorizedContainer, root: str) -> None:
        """Remove the schema of `root`; rules are then checked against XDM again."""
        before = self._find(access, root)
        if before is None:
            raise NotFound(f"no schema is loaded for `{root}`", code="schema-not-found")
        await self._catalog.delete(access, before.instance_id, _IS_SCHEMA)

    def list(self, access: AuthorizedContainer) -> Sequence[Instance]:
        """Return the loaded schemas, by root."""
        schemas = access.state.catalog.of_kind(EntityKind.SCHEMA).values()
        return sorted(schemas, key=lambda schema: schema.name)

    def _find(self, access: AuthorizedContainer, root: str) -> Instance | None:
        return next((schema for schema in self.list(access) if schema.name == root), None)
