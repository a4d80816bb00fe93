"""`/api/datastreams`: datastreams and client snippets (Proffer extension, R31)."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.etags import etag as etag_header
from proffer.api.kit.etags import parse_etags
from proffer.api.kit.json_body import json_response, read_object
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.native.openapi_datastreams import OPERATIONS
from proffer.auth.principal import Permission
from proffer.errors import Conflict
from proffer.model.datastream import Datastream, EdgeAccess
from proffer.model.instance import Container, Instance, format_timestamp
from proffer.model.placement import component_kind
from proffer.service.decisions.decide import DecideService, ScopeRef
from proffer.service.edge.datastreams import DatastreamService
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire.scope import encode_scope
from proffer.wire.snippets import snippets

_PATH = "/datastreams"
_SERVER_MEMBERS = frozenset({"id", "etag", "created", "modified", "builtIn", "@id"})


class DatastreamRoutes:
    """Routes and handlers over the datastream service."""

    def __init__(self, service: DatastreamService, decide: DecideService, registry: ContainerRegistry) -> None:
        self._service = service
        self._decide = decide
        self._registry = registry

    def surface(self) -> Surface:
        table: list[RouteSpec] = [
            ("listDatastreams", Permission.LIBRARY_READ, self.list_all),
            ("createDatastream", Permission.ADMIN, self.create),
            ("getDatastream", Permission.LIBRARY_READ, self.get),
            ("replaceDatastream", Permission.ADMIN, self.replace),
            ("deleteDatastream", Permission.ADMIN, self.delete),
            ("getSnippets", Permission.LIBRARY_READ, self.snippets),
        ]
        return Surface(
            name="datastreams",
            prefix="/api",
            endpoints=OperationRoutes(OPERATIONS, "/api").in_sandbox(self._registry, table, sees_all_writes=True),
        )

    async def list_all(self, _: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/datastreams: the datastreams of the sandbox, oldest first."""
        stored = [datastream_document(datastream) for datastream in self._service.all_stored(access)]
        built_in = [built_in_document(datastream) for datastream in self._service.built_in(access.id)]
        return json_response({"datastreams": [*built_in, *stored]})

    async def create(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /api/datastreams: create one with the given id or a generated one."""
        document = await read_object(call)
        id_member = {"id": document["id"]} if "id" in document else {}
        instance = await self._service.create(access, {**_settings(document), **id_member})
        response = json_response(datastream_document(instance), 201)
        response.headers["Location"] = f"{call.origin}/api{_PATH}/{instance.instance_id}"
        response.headers["ETag"] = etag_header(instance.etag)
        return response

    async def get(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/datastreams/{datastream}."""
        for built_in in self._service.built_in(access.id):
            if built_in.id == _key(call).lower():
                return json_response(built_in_document(built_in))
        instance = self._service.get(access, _key(call))
        response = json_response(datastream_document(instance))
        response.headers["ETag"] = etag_header(instance.etag)
        return response

    async def replace(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """PUT /api/datastreams/{datastream}: replace all settings; absent ones get their defaults."""
        document = await read_object(call)
        self._refuse_built_in(call, access)
        id_member = {"id": document["id"]} if "id" in document else {}
        revised = await self._service.replace(
            access,
            _key(call),
            {**_settings(document), **id_member},
            parse_etags(call.header(b"if-match")),
        )
        response = json_response(datastream_document(revised))
        response.headers["ETag"] = etag_header(revised.etag)
        return response

    async def delete(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """DELETE /api/datastreams/{datastream}: delete it; its id is not used again."""
        self._refuse_built_in(call, access)
        etags = parse_etags(call.header(b"if-match"))
        await self._service.delete(access, _key(call), etags)
        return Response(status_code=204)

    async def snippets(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET …/snippets: code to paste into a page or app, per decision and placement."""
        datastream = self._service.resolve(access, _key(call))
        scopes = self._decide.scope_refs(access, call.query.get("decision"))
        domain = call.query.get("domain") or (call.header(b"host") or "")
        container = access.state.container
        documents = [snippet_document(container, datastream.id, domain, scope) for scope in scopes]
        return json_response({"snippets": documents})

    def _refuse_built_in(self, call: ApiCall, access: AuthorizedContainer) -> None:
        if any(built_in.id == _key(call).lower() for built_in in self._service.built_in(access.id)):
            raise Conflict(
                f"`{_key(call)[:100]}` is built in; create a datastream with this id to change its settings",
                code="datastream-built-in",
            )


def snippet_document(container: Container, datastream: str, domain: str, scope_ref: ScopeRef) -> dict[str, Any]:
    """Return the scope string and client snippets of a scope."""
    decision, placement = scope_ref.decision, scope_ref.placement
    scope = encode_scope(decision.public_id, placement.public_id)
    return {
        "decision": {"id": decision.public_id, "name": decision.name, "status": decision.status},
        "placement": {
            "id": placement.public_id,
            "name": placement.name,
            "channel": placement.channel,
            "componentType": placement.component_type,
        },
        "scope": scope,
        **snippets(
            organisation=container.organisation,
            datastream=datastream,
            domain=domain,
            decision=(decision.public_id, decision.name),
            placement=(placement.public_id, placement.name),
            kind=component_kind(placement.component_type),
            scope=scope,
            item_count=placement.item_count,
        ),
    }


def datastream_document(instance: Instance) -> dict[str, Any]:
    """Return a stored datastream as this API shows it."""
    return {
        "id": instance.instance_id,
        **_settings(instance.document),
        "etag": instance.etag,
        "created": format_timestamp(instance.created_us),
        "modified": format_timestamp(instance.modified_us),
    }


def built_in_document(datastream: Datastream) -> dict[str, Any]:
    """Return a built-in datastream, which is not stored and has default settings."""
    assert datastream.access is EdgeAccess.MIXED
    return {"id": datastream.id, "name": datastream.name, "builtIn": True}


def _settings(document: Any) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _SERVER_MEMBERS}


def _key(call: ApiCall) -> str:
    return str(call.request.path_params["datastream"])
