"""Identity descriptors: which fields of a schema are identities."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Surface
from proffer.api.ups.common import answered, body_of
from proffer.auth.policy import require
from proffer.auth.principal import Permission
from proffer.errors import Conflict, Invalid
from proffer.model.identity import schema_name, unknown_namespace
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire import segments

PREFIX = "/data/foundation/schemaregistry"
_PATH = "/tenant/descriptors"
_IS_DESCRIPTOR = Precondition(kind=EntityKind.DESCRIPTOR)
_OWN = frozenset({"@id", "imsOrg", "version", "meta:containerId"})


class Descriptors:
    """The handlers of `/tenant/descriptors`."""

    def __init__(self, catalog: CatalogService, registry: ContainerRegistry) -> None:
        self._catalog = catalog
        self._registry = registry

    def surface(self) -> Surface:
        table: list[Row] = [
            ("GET", _PATH, Permission.LIBRARY_READ, self.list),
            ("POST", _PATH, Permission.LIBRARY_WRITE, self.create),
            ("GET", f"{_PATH}/{{descriptor}}", Permission.LIBRARY_READ, self.get),
            ("PUT", f"{_PATH}/{{descriptor}}", Permission.LIBRARY_WRITE, self.replace),
            ("DELETE", f"{_PATH}/{{descriptor}}", Permission.LIBRARY_WRITE, self.delete),
        ]
        return Surface(
            name="schema-registry",
            prefix=PREFIX,
            endpoints=in_sandbox(self._registry, table),
        )

    async def list(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET: all descriptors; only their ids or links if the Accept header requests these."""
        kept = self._catalog.of_kind(access, EntityKind.DESCRIPTOR)
        accepts = call.request.headers.get("accept", "")
        if "xdm-id+json" in accepts:
            return answered({segments.IDENTITY_DESCRIPTOR: [one.instance_id for one in kept]})
        if "xdm-link+json" in accepts:
            links = [f"{_PATH}/{one.instance_id}" for one in kept]
            return answered({segments.IDENTITY_DESCRIPTOR: links})
        return answered([_descriptor(access, one) for one in kept])

    async def create(self, call: Call, access: AuthorizedContainer) -> Response:
        document = await self._checked(call, access, None)
        made = await self._catalog.create(access, EntityKind.DESCRIPTOR, document)
        return answered(_descriptor(access, made), 201)

    async def get(self, call: Call, access: AuthorizedContainer) -> Response:
        found = self._catalog.get(access, _key(call), _IS_DESCRIPTOR)
        return answered(_descriptor(access, found))

    async def replace(self, call: Call, access: AuthorizedContainer) -> Response:
        document = await self._checked(call, access, _key(call))
        revised = await self._catalog.revise(access, _key(call), lambda _: document, _IS_DESCRIPTOR)
        return answered(_descriptor(access, revised))

    async def delete(self, call: Call, access: AuthorizedContainer) -> Response:
        await self._catalog.delete(access, _key(call), _IS_DESCRIPTOR)
        return Response(status_code=204)

    async def _checked(
        self, call: Call, access: AuthorizedContainer, replaced: str | None
    ) -> dict[str, Any]:
        """Return the document in the body, without the server's own members.

        Raises `Invalid` for an unknown namespace, `Conflict` for a second primary identity of a schema.
        """
        sent = await body_of(call)
        document = {name: value for name, value in sent.items() if name not in _OWN}
        rules = access.state.customers
        namespace = document.get("xdm:namespace")
        if isinstance(namespace, str) and rules.namespaces.code(namespace) is None:
            raise Invalid.of([unknown_namespace("$.xdm:namespace", namespace)])
        schema = document.get("xdm:sourceSchema")
        if document.get("xdm:isPrimary") is True and isinstance(schema, str):
            # The answer tells whether the schema has a primary identity, and which.
            require(access.principal, Permission.LIBRARY_READ)
            for one in self._catalog.of_kind(access, EntityKind.DESCRIPTOR):
                other = one.document
                if (
                    one.instance_id != replaced
                    and other.get("xdm:isPrimary")
                    and schema_name(other["xdm:sourceSchema"]) == schema_name(schema)
                ):
                    raise Conflict(
                        f"the primary identity of this schema is `{other['xdm:sourceProperty']}` already, "
                        f"by descriptor `{one.instance_id}`",
                        code="primary-taken",
                    )
        return document


def _descriptor(access: AuthorizedContainer, instance: Instance) -> dict[str, Any]:
    container = access.state.container
    return segments.descriptor(
        instance.document,
        key=instance.instance_id,
        organisation=container.organisation,
        etag=instance.etag,
    )


def _key(call: Call) -> str:
    return str(call.request.path_params["descriptor"]).lower()
