"""Routes and handlers of the repository API (spec 2, R1 to R3)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.etags import etag, is_unchanged, parse_etags
from proffer.api.kit.media_types import parse_accept, parse_content_type
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.kit.request import FastRequest
from proffer.api.kit.warnings import warning_headers
from proffer.api.xcore import listing, translate
from proffer.api.xcore.openapi import OPERATIONS
from proffer.auth.principal import Permission
from proffer.errors import Invalid, Kind
from proffer.model.instance import Instance, format_timestamp
from proffer.service.library.objects import CatalogService, Precondition, WriteReceipt
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.service.search.search import run_search_sliced
from proffer.wire import xcore
from proffer.wire.codec import encode

PREFIX = "/data/core/xcore"


class XcoreRoutes:
    """Routes and handlers over the catalog service."""

    def __init__(self, catalog: CatalogService, registry: ContainerRegistry, clock: Clock) -> None:
        self._catalog = catalog
        self._registry = registry
        self._clock = clock

    def surface(self) -> Surface:
        table: list[RouteSpec] = [
            ("getContainer", None, self.get_container),
            ("createInstance", Permission.LIBRARY_WRITE, self.create),
            (
                "listInstances",
                Permission.LIBRARY_READ,
                partial(self.search, path="instances"),
            ),
            (
                "searchInstances",
                Permission.LIBRARY_READ,
                partial(self.search, path="queries/core/search"),
            ),
            ("getInstance", Permission.LIBRARY_READ, self.read),
            ("replaceInstance", Permission.LIBRARY_WRITE, self.replace),
            ("patchInstance", Permission.LIBRARY_WRITE, self.patch),
            ("deleteInstance", Permission.LIBRARY_WRITE, self.delete),
        ]
        routes = OperationRoutes(OPERATIONS, PREFIX)
        return Surface(
            name="xcore",
            prefix=PREFIX,
            endpoints=[
                routes.endpoint("getHome", self.home),
                routes.endpoint("getHomeSlash", self.home),
                *routes.in_container(self._registry, table, sees_all_writes=True),
            ],
            status_overrides={Kind.STALE: 409},  # R1
        )

    async def home(self, call: ApiCall) -> Response:
        """GET: the containers that the caller may see."""
        containers = [translate.write_container(container) for container in self._registry.visible(call.principal)]
        matches = listing.filter_containers(containers, call.query)
        query = call.raw_query
        document = xcore.home(matches, f"/?{listing.readable_query(query)}" if query else "/")
        return _json(call.request, document, xcore.HOME_TYPE)

    async def get_container(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        return _json(call.request, translate.write_container(access.state.container), xcore.HAL_TYPE)

    async def create(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST: 201 with a receipt and the instance's location."""
        media = parse_content_type(call.header(b"content-type"))
        kind, document, root = translate.read_instance(media, await call.body())
        try:
            receipt = await self._catalog.create(access, kind, document)
        except Invalid as error:
            raise error.with_root(root) from None
        base = f"{call.origin}{PREFIX}/"
        instance = receipt.instance
        location = f"{base}{instance.container}/instances/{instance.instance_id}"
        return _receipt(call.request, receipt, 201, {"Location": location, "Content-Base": base})

    async def read(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET of one instance: in its envelope, or bare if so accepted."""
        instance = self._catalog.get(access, _instance_id(call))
        headers = {"ETag": etag(instance.etag)}
        if is_unchanged(call.header(b"if-none-match"), instance.etag):
            return Response(status_code=304, headers=headers)
        if _first_accepted(call.request, xcore.INSTANCE_TYPE, xcore.HAL_TYPE) == xcore.INSTANCE_TYPE:
            return _json(call.request, instance.document, xcore.INSTANCE_TYPE, headers=headers)
        document = translate.write_instance(instance, access.state.container.sandbox)
        return _json(call.request, document, xcore.HAL_TYPE, headers=headers)

    async def replace(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """PUT: replace the whole instance."""
        condition = _precondition(call.request)
        document, root = translate.read_document(await call.body())
        return await self._revise(call, access, lambda _: document, condition, root)

    async def patch(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """PATCH: apply a JSON Patch to the envelope."""
        condition = _precondition(call.request)
        change = translate.read_patch(await call.body(), access.state.container.sandbox)
        return await self._revise(
            call,
            access,
            change,
            condition,
            "$._instance",
        )

    async def delete(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """DELETE: 202 without a body (R3)."""
        condition = Precondition(etags=parse_etags(call.header(b"if-match")))
        await self._catalog.delete(access, _instance_id(call), condition)
        return Response(status_code=202)

    async def search(self, call: ApiCall, access: AuthorizedContainer, path: str) -> Response:
        """GET of many: list, search or look up (spec 2.2)."""
        container = access.state.container
        instances, search, schema_ns = listing.read_search(call, access.state.catalog)
        page = await run_search_sliced(search, instances)
        sandbox = container.sandbox
        is_lookup = bool(search.ids or search.name)
        self_path = f"/{container.id}/{path}"
        document = xcore.page(
            container=container.id,
            schema_ns=schema_ns,
            requested=format_timestamp(self._clock()),
            results=[
                translate.write_instance(instance, sandbox, 0 if is_lookup else None) for instance in page.results
            ],
            total=page.total,
            href=listing.self_href(self_path, call.raw_query),
            next_href=listing.next_href(self_path, call.query, page),
        )
        return _json(call.request, document, xcore.HAL_TYPE)

    async def _revise(
        self,
        call: ApiCall,
        access: AuthorizedContainer,
        revision: Callable[[Instance], Mapping[str, Any]],
        condition: Precondition,
        root: str,
    ) -> Response:
        try:
            receipt = await self._catalog.revise(access, _instance_id(call), revision, condition)
        except Invalid as error:
            raise error.with_root(root) from None
        return _receipt(call.request, receipt, 200, {})


def _instance_id(call: ApiCall) -> str:
    return str(call.request.path_params["instance"])


def _precondition(request: FastRequest) -> Precondition:
    """Return the precondition of a write: If-Match and the schema in the Content-Type."""
    media = parse_content_type(request.header(b"content-type"))
    return Precondition(etags=parse_etags(request.header(b"if-match")), kind=translate.read_kind(media))


def _first_accepted(request: FastRequest, *media_types: str) -> str | None:
    """Return which of these media types Accept lists first, if any."""
    accepted = (media.type for media in parse_accept(request.header(b"accept")))
    return next((media_type for media_type in accepted if media_type in media_types), None)


def _json(
    request: FastRequest,
    document: Mapping[str, Any],
    media_type: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Respond with the document in its media type. The type is plain JSON if only that is accepted."""
    base_type = media_type.partition(";")[0]
    if _first_accepted(request, base_type) is None and _first_accepted(request, "application/json"):
        media_type = "application/json"
    return Response(encode(document), status, dict(headers or {}), media_type)


def _receipt(request: FastRequest, receipt: WriteReceipt, status: int, headers: Mapping[str, str]) -> Response:
    return _json(
        request,
        translate.write_receipt(receipt.instance),
        f"{xcore.RECEIPT_TYPE}; version=1",
        status,
        {"ETag": etag(receipt.instance.etag), **headers, **warning_headers(receipt.warnings)},
    )
