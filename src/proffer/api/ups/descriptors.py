"""Identity descriptors: which fields of a schema are identities."""

import re
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.json_body import json_response, read_object
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.ups.openapi_audiences import OPERATIONS
from proffer.auth.policy import require_permission
from proffer.auth.principal import Permission
from proffer.errors import Conflict, Invalid
from proffer.model.identity import schema_name, unknown_namespace
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.search.properties import document_matcher, parse_property
from proffer.wire import segments

PREFIX = "/data/foundation/schemaregistry"
_PATH = "/tenant/descriptors"
_IS_DESCRIPTOR = Precondition(kind=EntityKind.DESCRIPTOR)
_REFERENCES = re.compile(r"xdm(?:-v2)?-(?P<form>id|link)\b")
_SERVER_MEMBERS = frozenset({"@id", "imsOrg", "version", "meta:containerId"})


class DescriptorRoutes:
    """The handlers of `/tenant/descriptors`."""

    def __init__(self, catalog: CatalogService, registry: ContainerRegistry) -> None:
        self._catalog = catalog
        self._registry = registry

    def surface(self) -> Surface:
        table: list[RouteSpec] = [
            ("listDescriptors", Permission.LIBRARY_READ, self.list),
            ("createDescriptor", Permission.LIBRARY_WRITE, self.create),
            ("getDescriptor", Permission.LIBRARY_READ, self.get),
            ("replaceDescriptor", Permission.LIBRARY_WRITE, self.replace),
            ("deleteDescriptor", Permission.LIBRARY_WRITE, self.delete),
        ]
        return Surface(
            name="schema-registry",
            prefix=PREFIX,
            endpoints=OperationRoutes(OPERATIONS, PREFIX).in_sandbox(self._registry, table, sees_all_writes=True),
        )

    async def list(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET: the descriptors with all of these properties, in the form that the Accept header requests."""
        is_listed = [
            document_matcher(parse_property(text))
            for value in call.request.query_params.getlist("property")
            for text in value.split(",")
        ]
        all_descriptors = self._catalog.of_kind(access, EntityKind.DESCRIPTOR)
        documents = [_descriptor_document(access, descriptor) for descriptor in all_descriptors]
        descriptors = [document for document in documents if all(matches(document) for matches in is_listed)]
        accepts = call.header(b"accept") or ""
        form = _REFERENCES.search(accepts)
        entries: list[Any] = descriptors
        if form is not None:
            prefix = f"{_PATH}/" if form["form"] == "link" else ""
            entries = [f"{prefix}{document['@id']}" for document in descriptors]
        if "xdm-v2" in accepts:
            return json_response(segments.descriptors_page(entries))
        return json_response(entries if form is None else {segments.IDENTITY_DESCRIPTOR: entries})

    async def create(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        document = await self._read_document(call, access, None)
        receipt = await self._catalog.create(access, EntityKind.DESCRIPTOR, document)
        return json_response(_descriptor_document(access, receipt.instance), 201)

    async def get(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        instance = self._catalog.get(access, _key(call), _IS_DESCRIPTOR)
        return json_response(_descriptor_document(access, instance))

    async def replace(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        document = await self._read_document(call, access, _key(call))
        receipt = await self._catalog.revise(access, _key(call), lambda _: document, _IS_DESCRIPTOR)
        return json_response(_descriptor_document(access, receipt.instance))

    async def delete(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        await self._catalog.delete(access, _key(call), _IS_DESCRIPTOR)
        return Response(status_code=204)

    async def _read_document(
        self, call: ApiCall, access: AuthorizedContainer, replaced_id: str | None
    ) -> dict[str, Any]:
        """Return the document in the body, without the server's own members.

        Raises `Invalid` for an unknown namespace, `Conflict` for a second primary identity of a schema.
        """
        body = await read_object(call)
        document = {name: value for name, value in body.items() if name not in _SERVER_MEMBERS}
        customer_schema = access.state.customer_schema
        namespace = document.get("xdm:namespace")
        if isinstance(namespace, str) and customer_schema.namespaces.code(namespace) is None:
            raise Invalid.of([unknown_namespace("$.xdm:namespace", namespace)])
        schema = document.get("xdm:sourceSchema")
        if document.get("xdm:isPrimary") is True and isinstance(schema, str):
            # The answer tells whether the schema has a primary identity, and which.
            require_permission(access.principal, Permission.LIBRARY_READ)
            for descriptor in self._catalog.of_kind(access, EntityKind.DESCRIPTOR):
                other_document = descriptor.document
                if (
                    descriptor.instance_id != (replaced_id or "").lower()
                    and other_document.get("xdm:isPrimary")
                    and schema_name(other_document["xdm:sourceSchema"]) == schema_name(schema)
                ):
                    raise Conflict(
                        f"this schema already has the primary identity `{other_document['xdm:sourceProperty']}`, by "
                        f"descriptor `{descriptor.instance_id}`",
                        code="primary-taken",
                    )
        return document


def _descriptor_document(access: AuthorizedContainer, instance: Instance) -> dict[str, Any]:
    container = access.state.container
    return segments.descriptor(
        instance.document,
        key=instance.instance_id,
        organisation=container.organisation,
        etag=instance.etag,
    )


def _key(call: ApiCall) -> str:
    return str(call.request.path_params["descriptor"])
