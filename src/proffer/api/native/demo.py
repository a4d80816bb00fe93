"""`/demo`, dev mode only: a shop page with edge offers (R31)."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.permissions import OperationRoutes
from proffer.api.native.openapi_datastreams import OPERATIONS
from proffer.auth.principal import Permission
from proffer.errors import NotFound
from proffer.model.lifecycle import DecisionStatus
from proffer.model.placement import component_kind
from proffer.service.decisions.decide import DecideService, ScopeRef
from proffer.service.library.registry import ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.wire.scope import encode_scope

_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".txt": "text/plain",
    ".svg": "image/svg+xml",
}
_FILES = ("demo.css", "demo.js", "alloy.min.js", "alloy.LICENSE.txt")
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' https: data:; "
    "connect-src 'self' https:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_SAMPLE = (
    ("xcore:offer-activity:17f7e67d3d4d9004", "xcore:offer-placement:124e0be5699743d3"),
    ("xcore:offer-activity:17f7e67d3d4d9004", "xcore:offer-placement:17f5e5bff0f27007"),
    ("xcore:offer-activity:17f7efb77465f001", "xcore:offer-placement:17f5fec50c20c001"),
)
"""Decisions and placements of the sample library that the page is designed for."""
_SCOPE_COUNT = len(_SAMPLE)


class DemoRoutes:
    """Routes and handlers of the page and its files. Dev mode only."""

    def __init__(
        self,
        decide: DecideService,
        registry: ContainerRegistry,
        datastream: str,
        clock: Clock,
    ) -> None:
        self._decide = decide
        self._registry = registry
        self._datastream = datastream
        self._clock = clock

    def surface(self) -> Surface:
        routes = OperationRoutes(OPERATIONS)
        return Surface(
            name="demo",
            prefix="",
            endpoints=[
                routes.endpoint("getDemo", self.page),
                routes.endpoint("getDemoFile", self.file),
            ],
        )

    async def page(self, call: ApiCall) -> Response:
        """GET /demo."""
        access = self._registry.authorize_sandbox(call.principal, None, Permission.LIBRARY_READ)
        container = access.state.container
        scope_refs = _select_scopes(self._decide.scope_refs(access), self._clock())
        config = {
            "organisation": container.organisation,
            "datastream": self._datastream,
            "alloy": _read_file("alloy.min.js") is not None,
            "places": [_scope_document(scope_ref) for scope_ref in scope_refs],
            "customers": _sample_customers() if _is_sample(scope_refs) else [],
        }
        page = (_read_file("demo.html") or b"").decode()
        text = json.dumps(config, ensure_ascii=False).replace("<", "\\u003c")
        return Response(
            page.replace("{{config}}", text),
            headers={
                "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
                "Cache-Control": "no-store",
            },
            media_type="text/html",
        )

    async def file(self, call: ApiCall) -> Response:
        """GET /demo/{file}: script, style sheet, and alloy with its licence."""
        name = str(call.request.path_params["file"])
        content = _read_file(name) if name in _FILES else None
        if content is None:
            raise NotFound(f"there is no file `{name[:100]}`", code="no-such-path")
        kind = _MEDIA_TYPES["." + name.rpartition(".")[2]]
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=kind)


def _read_file(name: str) -> bytes | None:
    """Return a file of the page; None if missing, such as files that npm installs."""
    folder = files("proffer.web")
    path = folder / "vendor" / name if name.startswith("alloy.") else folder / name
    return path.read_bytes() if path.is_file() else None


def _select_scopes(scope_refs: Sequence[ScopeRef], now_us: int) -> list[ScopeRef]:
    """Return three live scopes: those of the sample library, else the first ones."""
    live = [
        scope_ref
        for scope_ref in scope_refs
        if scope_ref.decision.status is DecisionStatus.LIVE and now_us in scope_ref.decision.window
    ]
    by_ids = {(scope_ref.decision.id, scope_ref.placement.id): scope_ref for scope_ref in live}
    if all(key in by_ids for key in _SAMPLE):
        return [by_ids[key] for key in _SAMPLE]
    return live[:_SCOPE_COUNT]


def _is_sample(scope_refs: Sequence[ScopeRef]) -> bool:
    return [(scope_ref.decision.id, scope_ref.placement.id) for scope_ref in scope_refs] == list(_SAMPLE)


def _scope_document(scope_ref: ScopeRef) -> Mapping[str, Any]:
    return {
        "scope": encode_scope(scope_ref.decision.public_id, scope_ref.placement.public_id),
        "decision": scope_ref.decision.name,
        "placement": scope_ref.placement.name,
        "kind": component_kind(scope_ref.placement.component_type),
    }


@cache
def _sample_customers() -> list[dict[str, Any]]:
    """Return the customers of the sample, as imported by `proffer demo`."""
    from ruamel.yaml import YAML  # imported late: the server needs it only here

    text = (files("proffer.sample") / "profiles.yaml").read_text(encoding="utf-8")
    customers = []
    for profile_entry in YAML(typ="safe", pure=True).load(text)["profiles"]:
        ((namespace, ids),) = profile_entry["profile"]["identityMap"].items()
        customers.append(
            {
                "name": profile_entry["name"].capitalize(),
                "about": profile_entry["comment"],
                "namespace": namespace,
                "id": ids[0]["id"],
            }
        )
    return customers
