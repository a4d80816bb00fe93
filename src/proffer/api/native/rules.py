"""`/api/rules`: check a rule or formula, for editors (Proffer extension, R31)."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.permissions import requires
from proffer.api.kit.surface import Call, Endpoint, Surface
from proffer.auth.principal import Permission, Principal
from proffer.errors import Invalid
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.rules.check import Checked, check, schema_of
from proffer.validation import Anything, MapOf, Member, Object, OneOf, Shape, Text, walk
from proffer.wire.codec import decode, encode

CHECK_SHAPE: Shape = Object(
    {
        "value": Member(OneOf([Text(), Object({})]), required=True),
        "kind": Member(Text(one_of=["rule", "formula"])),
        "container": Member(Text()),
        "definedOn": Member(MapOf(Anything())),
    }
)
"""Body of a check: text or tree, its kind, and declared roots."""


class RulesSurface:
    """Route and handler of rule checks."""

    def __init__(self, registry: ContainerRegistry) -> None:
        self._registry = registry

    def surface(self) -> Surface:
        return Surface(
            name="rules",
            prefix="/api",
            endpoints=[
                Endpoint(
                    method="POST",
                    path="/rules/check",
                    handler=requires(Permission.LIBRARY_READ, self.check),
                )
            ],
        )

    async def check(self, call: Call) -> Response:
        """POST /api/rules/check: diagnostics, and for valid text its type, reads and canonical form."""
        body = decode(await call.body())
        findings = walk(CHECK_SHAPE, body)
        if findings:
            raise Invalid.of(findings)
        access = self._container(call.principal, body.get("container"))
        checked = check(
            body["value"],
            kind=body.get("kind", "rule"),
            roots=[root for root in body.get("definedOn", {}) if root],
            schema=schema_of(access.state.catalog) if access is not None else None,
        )
        return Response(encode(_document(checked)), media_type="application/json")

    def _container(self, principal: Principal, named: str | None) -> AuthorizedContainer | None:
        """Authorize the given container, else the first visible one, if any."""
        ids = (
            [named] if named is not None else [one.id for one in self._registry.visible(principal)]
        )
        return self._registry.authorize(principal, ids[0]) if ids else None


def _document(said: Checked) -> dict[str, Any]:
    return {
        "valid": said.valid,
        "diagnostics": [
            {
                "code": note.code,
                "severity": note.severity,
                "message": note.message,
                "help": note.help,
                "start": note.start,
                "end": note.end,
                "line": note.line,
                "column": note.column,
                "shown": note.shown,
            }
            for note in said.notes
        ],
        "type": said.type,
        "reads": list(said.reads),
        "canonical": said.canonical,
    }
