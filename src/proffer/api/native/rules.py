"""`/api/rules`: what the language has to say about a text, for editors (ours, R31)."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.surface import Call, Endpoint, Surface
from proffer.auth.policy import require
from proffer.auth.principal import Permission
from proffer.errors import Invalid
from proffer.service.library.check_rule import RuleService
from proffer.service.rules.check import Checked
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
"""The body of a check: text or tree, what it is to be, and the roots it declares."""


class RulesSurface:
    """The handlers, over the rule service."""

    def __init__(self, service: RuleService) -> None:
        self._service = service

    def surface(self) -> Surface:
        """The URL table."""
        return Surface(
            name="rules",
            prefix="/api",
            endpoints=[Endpoint(method="POST", path="/rules/check", handler=self.check)],
        )

    async def check(self, call: Call) -> Response:
        """POST /api/rules/check: every finding, and for a sound text its type, reads and canonical form."""
        require(call.principal, Permission.LIBRARY_READ)
        body = decode(await call.body())
        findings = walk(CHECK_SHAPE, body)
        if findings:
            raise Invalid.of(findings)
        said = self._service.check(
            call.principal,
            body["value"],
            kind=body.get("kind", "rule"),
            roots=[root for root in body.get("definedOn", {}) if root],
            container=body.get("container"),
        )
        return Response(encode(_document(said)), media_type="application/json")


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
