"""`/api/rules`: check a rule or formula, for editors (Proffer extension, R31)."""

from contextlib import suppress
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.json_body import json_response
from proffer.api.kit.permissions import OperationRoutes, requires
from proffer.api.native.openapi_rules import OPERATIONS
from proffer.auth.policy import require_permission
from proffer.auth.principal import Permission, Principal
from proffer.errors import Invalid, Unavailable
from proffer.service.customers.rule_values import CustomerSampling, SampledFindings, describe
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.rules.check import CheckResult, check, schema_of
from proffer.service.rules.stored_fields import StoredFields
from proffer.validation import (
    AnyShape,
    BooleanShape,
    MapShape,
    Member,
    ObjectShape,
    OneOfShape,
    Shape,
    TextShape,
    validate,
)
from proffer.wire.codec import decode

CHECK_SHAPE: Shape = ObjectShape(
    {
        "value": Member(OneOfShape([TextShape(), ObjectShape({})]), required=True),
        "kind": Member(TextShape(one_of=["rule", "formula"])),
        "container": Member(TextShape()),
        "definedOn": Member(MapShape(AnyShape())),
        "customers": Member(BooleanShape()),
    }
)
"""Body of a check: text or tree, its kind, declared roots, and whether stored customers are counted."""


_MAX_VALUES = 10


class RuleRoutes:
    """Route and handler of rule checks."""

    def __init__(
        self, registry: ContainerRegistry, stored_fields: StoredFields, customer_sampling: CustomerSampling
    ) -> None:
        self._registry = registry
        self._stored_fields = stored_fields
        self._customer_sampling = customer_sampling

    def surface(self) -> Surface:
        return Surface(
            name="rules",
            prefix="/api",
            endpoints=[
                OperationRoutes(OPERATIONS, "/api").endpoint("checkRule", requires(Permission.LIBRARY_READ, self.check))
            ],
        )

    async def check(self, call: ApiCall) -> Response:
        """POST /api/rules/check: diagnostics, and for valid text its type, reads and canonical form."""
        body = decode(await call.body())
        findings = validate(CHECK_SHAPE, body)
        if findings:
            raise Invalid.of(findings)
        counts_customers = body.get("customers") is True
        if counts_customers:
            require_permission(call.principal, Permission.PROFILES_READ)
        with suppress(Unavailable):  # checked against the last known schema then
            await self._registry.see_all_writes()
        access = self._authorize_container(call.principal, body.get("container"))
        schema = None
        if access is not None:
            schema = schema_of(access.state.catalog).with_profiles(await self._stored_fields.of(access.id))
        kind, roots = body.get("kind", "rule"), [root for root in body.get("definedOn", {}) if root]
        checked = check(body["value"], kind=kind, roots=roots, schema=schema)
        document = _check_document(checked)
        if counts_customers and access is not None:
            sampled = await self._customer_sampling.incomparable(access.state, body["value"], kind=kind, roots=roots)
            document["customers"] = _customers_document(sampled)
        return json_response(document)

    def _authorize_container(self, principal: Principal, container_id: str | None) -> AuthorizedContainer | None:
        """Authorize the given container, else the first visible one, if any."""
        ids = (
            [container_id]
            if container_id is not None
            else [container.id for container in self._registry.visible(principal)]
        )
        return self._registry.authorize(principal, ids[0]) if ids else None


def _customers_document(sampled: SampledFindings) -> dict[str, Any]:
    return {
        "total": sampled.total,
        "evaluated": sampled.evaluated,
        "incomparable": [
            {
                "source": finding.source,
                "customers": finding.customers,
                "holds": finding.holds,
                "values": [
                    {"value": text, "customers": count} for text, count in finding.values.most_common(_MAX_VALUES)
                ],
                "message": describe(finding),
            }
            for finding in sampled.findings
        ],
    }


def _check_document(rule_check: CheckResult) -> dict[str, Any]:
    return {
        "valid": rule_check.valid,
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
                "shown": note.rendered,
                "fix": None
                if note.fix is None
                else {
                    "start": note.fix.span.start,
                    "end": note.fix.span.end,
                    "replacement": note.fix.replacement,
                },
            }
            for note in rule_check.diagnostics
        ],
        "type": rule_check.type,
        "reads": list(rule_check.reads),
        "canonical": rule_check.canonical,
    }
