"""`/api/datastreams`: datastreams and client snippets (Proffer extension, R31)."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.etags import etag as etag_header
from proffer.api.kit.etags import parse_etags
from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Surface
from proffer.auth.principal import Permission
from proffer.errors import Conflict, Finding, Invalid
from proffer.model.datastream import Datastream, EdgeAccess
from proffer.model.instance import Container, Instance, timestamp
from proffer.model.placement import component_kind
from proffer.service.decisions.decide import DecideService, ScopeRef
from proffer.service.edge.datastreams import DatastreamService
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire.codec import decode, encode
from proffer.wire.scope import encode_scope
from proffer.wire.snippets import snippets

_PATH = "/datastreams"
_OWN = frozenset({"id", "etag", "created", "modified", "builtIn", "@id"})


class DatastreamsSurface:
    """Routes and handlers over the datastream service."""

    def __init__(
        self, service: DatastreamService, decide: DecideService, registry: ContainerRegistry
    ) -> None:
        self._service = service
        self._decide = decide
        self._registry = registry

    def surface(self) -> Surface:
        table: list[Row] = [
            ("GET", _PATH, Permission.LIBRARY_READ, self.every),
            ("POST", _PATH, Permission.ADMIN, self.create),
            ("GET", f"{_PATH}/{{datastream}}", Permission.LIBRARY_READ, self.one),
            ("PUT", f"{_PATH}/{{datastream}}", Permission.ADMIN, self.replace),
            ("DELETE", f"{_PATH}/{{datastream}}", Permission.ADMIN, self.delete),
            ("GET", f"{_PATH}/{{datastream}}/snippets", Permission.LIBRARY_READ, self.snippets),
        ]
        return Surface(
            name="datastreams",
            prefix="/api",
            endpoints=in_sandbox(self._registry, table),
        )

    async def every(self, _: Call, access: AuthorizedContainer) -> Response:
        """GET /api/datastreams: the datastreams of the sandbox, oldest first."""
        kept = [shown(one) for one in self._service.every(access)]
        built_in = [shown_built_in(one) for one in self._service.built_in(access.id)]
        return _json({"datastreams": [*built_in, *kept]})

    async def create(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST /api/datastreams: create one with the given id or a generated one."""
        document = await _body(call)
        given = {"id": document["id"]} if "id" in document else {}
        made = await self._service.create(access, {**_settings(document), **given})
        response = _json(shown(made), 201)
        response.headers["Location"] = f"{call.origin}/api{_PATH}/{made.instance_id}"
        response.headers["ETag"] = etag_header(made.etag)
        return response

    async def one(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/datastreams/{datastream}."""
        for built_in in self._service.built_in(access.id):
            if built_in.id == _key(call):
                return _json(shown_built_in(built_in))
        found = self._service.get(access, _key(call))
        response = _json(shown(found))
        response.headers["ETag"] = etag_header(found.etag)
        return response

    async def replace(self, call: Call, access: AuthorizedContainer) -> Response:
        """PUT /api/datastreams/{datastream}: replace all settings; absent ones get their defaults."""
        document = await _body(call)
        self._refuse_built_in(call, access)
        given = {"id": document["id"]} if "id" in document else {}
        revised = await self._service.replace(
            access,
            _key(call),
            {**_settings(document), **given},
            parse_etags(call.request.headers.get("if-match")),
        )
        response = _json(shown(revised))
        response.headers["ETag"] = etag_header(revised.etag)
        return response

    async def delete(self, call: Call, access: AuthorizedContainer) -> Response:
        """DELETE /api/datastreams/{datastream}: delete it; its id is not used again."""
        self._refuse_built_in(call, access)
        etags = parse_etags(call.request.headers.get("if-match"))
        await self._service.delete(access, _key(call), etags)
        return Response(status_code=204)

    async def snippets(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET …/snippets: code to paste into a page or app, per decision and placement."""
        datastream = self._service.known(access, _key(call))
        scopes = self._decide.scope_refs(access, call.query.get("decision"))
        domain = call.query.get("domain") or call.request.headers.get("host", "")
        container = access.state.container
        pastes = [pasted(container, datastream.id, domain, scope) for scope in scopes]
        return _json({"snippets": pastes})

    def _refuse_built_in(self, call: Call, access: AuthorizedContainer) -> None:
        if any(one.id == _key(call) for one in self._service.built_in(access.id)):
            raise Conflict(
                f"`{_key(call)[:100]}` is built in; create one of the same id to change its settings",
                code="datastream-built-in",
            )


def pasted(container: Container, datastream: str, domain: str, place: ScopeRef) -> dict[str, Any]:
    """Return the scope string and client snippets of a scope."""
    decision, placement = place.decision, place.placement
    scope = encode_scope(decision.shown_id, placement.shown_id)
    return {
        "decision": {"id": decision.shown_id, "name": decision.name, "status": decision.status},
        "placement": {
            "id": placement.shown_id,
            "name": placement.name,
            "channel": placement.channel,
            "componentType": placement.component_type,
        },
        "scope": scope,
        **snippets(
            organisation=container.organisation,
            datastream=datastream,
            domain=domain,
            decision=(decision.shown_id, decision.name),
            placement=(placement.shown_id, placement.name),
            kind=component_kind(placement.component_type),
            scope=scope,
            item_count=placement.item_count,
        ),
    }


def shown(instance: Instance) -> dict[str, Any]:
    """Return a stored datastream as this API shows it."""
    return {
        "id": instance.instance_id,
        **_settings(instance.document),
        "etag": instance.etag,
        "created": timestamp(instance.created_us),
        "modified": timestamp(instance.modified_us),
    }


def shown_built_in(datastream: Datastream) -> dict[str, Any]:
    """Return a built-in datastream, which is not stored and has default settings."""
    assert datastream.access is EdgeAccess.MIXED
    return {"id": datastream.id, "name": datastream.name, "builtIn": True}


def _settings(document: Any) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _OWN}


async def _body(call: Call) -> dict[str, Any]:
    value = decode(await call.body())
    if not isinstance(value, dict):
        raise Invalid.of(
            [Finding(code="type", message="the body is not an object", path="$", help="send one")]
        )
    return value


def _key(call: Call) -> str:
    return str(call.request.path_params["datastream"]).lower()


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(encode(document), status, media_type="application/json")
