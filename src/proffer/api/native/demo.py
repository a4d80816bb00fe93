"""`/demo`, dev mode only: a shop page with edge offers (R31)."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.responses import Response

from proffer.api.kit.surface import Call, Endpoint, Surface
from proffer.auth.principal import Permission
from proffer.errors import NotFound
from proffer.model.lifecycle import DecisionStatus
from proffer.model.placement import component_kind
from proffer.service.decisions.decide import DecideService, ScopeRef
from proffer.service.library.registry import ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.wire.scope import encode_scope

_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".txt": "text/plain",
    ".svg": "image/svg+xml",
}
_FILES = ("demo.css", "demo.js", "alloy.min.js", "alloy.LICENSE.txt")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' https: data:; "
    "connect-src 'self' https:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_SAMPLE = (
    ("xcore:offer-activity:17f7e67d3d4d9004", "xcore:offer-placement:124e0be5699743d3"),
    ("xcore:offer-activity:17f7e67d3d4d9004", "xcore:offer-placement:17f5e5bff0f27007"),
    ("xcore:offer-activity:17f7efb77465f001", "xcore:offer-placement:17f5fec50c20c001"),
)
"""Decisions and placements of the sample library that the page is designed for."""
_PLACES = len(_SAMPLE)


class DemoSurface:
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
        return Surface(
            name="demo",
            prefix="",
            endpoints=[
                Endpoint(method="GET", path="/demo", handler=self.page),
                Endpoint(method="GET", path="/demo/{file}", handler=self.file),
            ],
        )

    async def page(self, call: Call) -> Response:
        """GET /demo."""
        access = self._registry.authorize_sandbox(call.principal, None, Permission.LIBRARY_READ)
        container = access.state.container
        places = _chosen(self._decide.scope_refs(access), self._clock())
        told = {
            "organisation": container.organisation,
            "datastream": self._datastream,
            "alloy": _read("alloy.min.js") is not None,
            "places": [_place(one) for one in places],
            "customers": _customers() if _is_sample(places) else [],
        }
        page = (_read("demo.html") or b"").decode()
        text = json.dumps(told, ensure_ascii=False).replace("<", "\\u003c")
        return Response(
            page.replace("{{config}}", text),
            headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"},
            media_type="text/html",
        )

    async def file(self, call: Call) -> Response:
        """GET /demo/{file}: script, style sheet, and alloy with its licence."""
        name = str(call.request.path_params["file"])
        content = _read(name) if name in _FILES else None
        if content is None:
            raise NotFound(f"there is no file `{name[:100]}` here", code="no-such-path")
        kind = _TYPES["." + name.rpartition(".")[2]]
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=kind)


def _read(name: str) -> bytes | None:
    """Return a file of the page; None if missing, such as files that npm installs."""
    folder = files("proffer.web")
    path = folder / "vendor" / name if name.startswith("alloy.") else folder / name
    return path.read_bytes() if path.is_file() else None


def _chosen(places: Sequence[ScopeRef], now_us: int) -> list[ScopeRef]:
    """Return three live scopes: those of the sample library, else the first ones."""
    live = [
        one
        for one in places
        if one.decision.status is DecisionStatus.LIVE and now_us in one.decision.window
    ]
    by_ids = {(one.decision.id, one.placement.id): one for one in live}
    if all(key in by_ids for key in _SAMPLE):
        return [by_ids[key] for key in _SAMPLE]
    return live[:_PLACES]


def _is_sample(places: Sequence[ScopeRef]) -> bool:
    return [(one.decision.id, one.placement.id) for one in places] == list(_SAMPLE)


def _place(one: ScopeRef) -> Mapping[str, Any]:
    return {
        "scope": encode_scope(one.decision.shown_id, one.placement.shown_id),
        "decision": one.decision.name,
        "placement": one.placement.name,
        "kind": component_kind(one.placement.component_type),
    }


@cache
def _customers() -> list[dict[str, Any]]:
    """Return the customers of the sample, as imported by `proffer demo`."""
    from ruamel.yaml import YAML  # imported late: the server needs it only here

    text = (files("proffer.sample") / "profiles.yaml").read_text(encoding="utf-8")
    found = []
    for one in YAML(typ="safe", pure=True).load(text)["profiles"]:
        ((namespace, ids),) = one["profile"]["identityMap"].items()
        found.append(
            {
                "name": one["name"].capitalize(),
                "about": one["comment"],
                "namespace": namespace,
                "id": ids[0]["id"],
            }
        )
    return found
