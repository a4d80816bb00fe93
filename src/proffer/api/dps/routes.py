"""Routes and handlers of the Offer Library API (spec 3; R1 to R3, R37, R40).

Its paths name no container: the caller's organisation and sandbox determine the library.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import quote

from starlette.responses import Response

from proffer.api.dps import listing, translate
from proffer.api.dps.openapi import OPERATIONS
from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.etags import etag, is_unchanged, parse_etags
from proffer.api.kit.json_body import json_response
from proffer.api.kit.media_types import parse_content_type
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.kit.warnings import warning_headers
from proffer.auth.principal import Permission
from proffer.errors import Malformed, Unsupported
from proffer.model.ids import EntityKind
from proffer.service.library.objects import CatalogService, Precondition, WriteReceipt
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.search.search import run_search_sliced
from proffer.wire import dps

PREFIX = "/data/core/dps"
OFFERS = "offers"


class DpsRoutes:
    """Routes and handlers over the catalog service."""

    def __init__(self, catalog: CatalogService, registry: ContainerRegistry) -> None:
        self._catalog = catalog
        self._registry = registry

    def surface(self) -> Surface:
        handlers: dict[tuple[str, str], tuple[Permission, Callable[..., Awaitable[Response]]]] = {
            ("POST", ""): (Permission.LIBRARY_WRITE, self.create),
            ("GET", ""): (Permission.LIBRARY_READ, self.search),
            ("GET", "{id}"): (Permission.LIBRARY_READ, self.read),
            ("PATCH", "{id}"): (Permission.LIBRARY_WRITE, self.patch),
            ("DELETE", "{id}"): (Permission.LIBRARY_WRITE, self.delete),
        }
        table: list[RouteSpec] = []
        for operation in OPERATIONS:
            collection, _, rest = operation.path.removeprefix(f"{PREFIX}/").partition("/")
            permission, handler = handlers[operation.method, rest]
            table.append((operation.name, permission, partial(handler, collection=collection)))
        endpoints = OperationRoutes(OPERATIONS, PREFIX).in_sandbox(self._registry, table, sees_all_writes=True)
        return Surface(name="dps", prefix=PREFIX, endpoints=endpoints)

    async def create(self, call: ApiCall, access: AuthorizedContainer, collection: str) -> Response:
        """POST: 201 with a receipt and the object's location."""
        kind = _kind(call, collection)
        _require_json(call)
        body = await call.body()
        with translate.reword_errors(kind):
            receipt = await self._catalog.create(
                access,
                kind,
                translate.read_instance(kind, body),
                scheme=translate.SCHEME,
            )
        location = f"{call.origin}{PREFIX}/{collection}/{quote(receipt.instance.id, safe=':')}"
        if collection == OFFERS:
            location += f"?offer-type={_offer_type(call)}"
        return _receipt(kind, receipt, 201, {"Location": location})

    async def search(self, call: ApiCall, access: AuthorizedContainer, collection: str) -> Response:
        """GET of many: last modified first by default."""
        kind = _kind(call, collection)
        search = listing.read_search(kind, call.query)
        # A copy: the catalog may change while a long search yields.
        instances = list(access.state.catalog.of_kind(kind).values())
        page = await run_search_sliced(search, instances)
        document = dps.page(
            [translate.write_instance(instance) for instance in page.results],
            page.matching,
            listing.links(collection, call.query, page),
        )
        return json_response(document)

    async def read(self, call: ApiCall, access: AuthorizedContainer, collection: str) -> Response:
        """GET of one object."""
        kind = _kind(call, collection)
        instance = self._catalog.look_up(access, kind, _entity_id(call))
        headers = {"ETag": etag(instance.etag)}
        if is_unchanged(call.header(b"if-none-match"), instance.etag):
            return Response(status_code=304, headers=headers)
        return json_response(translate.write_instance(instance), headers=headers)

    async def patch(self, call: ApiCall, access: AuthorizedContainer, collection: str) -> Response:
        """PATCH: apply a JSON Patch to the object in this API's spelling."""
        kind = _kind(call, collection)
        _require_json(call)
        change = translate.read_patch(await call.body())
        with translate.reword_errors(kind):
            receipt = await self._catalog.revise(
                access,
                self._catalog.look_up(access, kind, _entity_id(call)).instance_id,
                change,
                _precondition(call),
            )
        return _receipt(kind, receipt, 200, {})

    async def delete(self, call: ApiCall, access: AuthorizedContainer, collection: str) -> Response:
        """DELETE: 200 without a body (R3)."""
        kind = _kind(call, collection)
        with translate.reword_errors(kind):
            await self._catalog.delete(
                access,
                self._catalog.look_up(access, kind, _entity_id(call)).instance_id,
                _precondition(call),
            )
        return Response(status_code=200)


def _kind(call: ApiCall, collection: str) -> EntityKind:
    if collection == OFFERS:
        return EntityKind(dps.OFFER_TYPES[_offer_type(call)])
    return EntityKind(dps.COLLECTIONS[collection])


def _offer_type(call: ApiCall) -> str:
    """Return the offer type in lower case. Raises `Malformed` if missing or unknown."""
    offer_type = call.query.get("offer-type", "")
    if offer_type.lower() not in dps.OFFER_TYPES:
        reason = f"not `{offer_type[:50]}`" if offer_type else "and it is missing"
        raise Malformed(f"`offer-type` must be `personalized` or `fallback`, {reason}", code="bad-parameter")
    return offer_type.lower()


def _entity_id(call: ApiCall) -> str:
    return str(call.request.path_params["id"])


def _precondition(call: ApiCall) -> Precondition:
    return Precondition(etags=parse_etags(call.header(b"if-match")))


def _require_json(call: ApiCall) -> None:
    """Raise `Unsupported` if the Content-Type is not JSON."""
    media = parse_content_type(call.header(b"content-type")).type
    if media and not media.endswith("json"):
        raise Unsupported(f"send `application/json`, not `{media[:100]}`", code="not-json")


def _receipt(kind: EntityKind, receipt: WriteReceipt, status: int, headers: Mapping[str, str]) -> Response:
    warnings = translate.reword_violations(kind, receipt.warnings)
    all_headers = {"ETag": etag(receipt.instance.etag), **headers, **warning_headers(warnings)}
    return json_response(translate.write_receipt(receipt.instance), status, all_headers)
