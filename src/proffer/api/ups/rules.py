"""Merge policies and identity namespaces."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Endpoint
from proffer.api.ups.common import answered, body_of
from proffer.auth.principal import Permission
from proffer.errors import Conflict, NotFound
from proffer.model.identity import STANDARD_NAMESPACES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire import segments

_POLICIES = "/ups/config/mergePolicies"
_NAMESPACES = "/idnamespace/identities"
_IS_POLICY = Precondition(kind=EntityKind.MERGE_POLICY)


class CustomerSettings:
    """The handlers of `/config/mergePolicies` and `/idnamespace/identities`."""

    def __init__(self, catalog: CatalogService, registry: ContainerRegistry) -> None:
        self._catalog = catalog
        self._registry = registry

    def endpoints(self) -> list[Endpoint]:
        table: list[Row] = [
            ("GET", _POLICIES, Permission.LIBRARY_READ, self.policies),
            ("POST", _POLICIES, Permission.LIBRARY_WRITE, self.create_policy),
            ("GET", f"{_POLICIES}/{{policy}}", Permission.LIBRARY_READ, self.policy),
            ("PUT", f"{_POLICIES}/{{policy}}", Permission.LIBRARY_WRITE, self.replace_policy),
            ("DELETE", f"{_POLICIES}/{{policy}}", Permission.LIBRARY_WRITE, self.delete_policy),
            ("GET", _NAMESPACES, Permission.LIBRARY_READ, self.namespaces),
            ("POST", _NAMESPACES, Permission.LIBRARY_WRITE, self.create_namespace),
            ("GET", f"{_NAMESPACES}/{{code}}", Permission.LIBRARY_READ, self.namespace),
        ]
        return in_sandbox(self._registry, table)

    async def policies(self, _: Call, access: AuthorizedContainer) -> Response:
        children = [_policy(access, one) for one in self._kept(access, EntityKind.MERGE_POLICY)]
        page = {"totalCount": len(children), "pageSize": len(children)}
        return answered({"_page": page, "children": children, "_links": {}})

    async def create_policy(self, call: Call, access: AuthorizedContainer) -> Response:
        document = _without_own(await body_of(call))
        made = await self._catalog.create(access, EntityKind.MERGE_POLICY, document)
        return answered(_policy(access, made))

    async def policy(self, call: Call, access: AuthorizedContainer) -> Response:
        key = _key(call, "policy")
        found = self._catalog.get(access, key, _IS_POLICY)
        return answered(_policy(access, found))

    async def replace_policy(self, call: Call, access: AuthorizedContainer) -> Response:
        document = _without_own(await body_of(call))
        revised = await self._catalog.revise(
            access,
            _key(call, "policy"),
            lambda _: document,
            _IS_POLICY,
        )
        return answered(_policy(access, revised))

    async def delete_policy(self, call: Call, access: AuthorizedContainer) -> Response:
        key = _key(call, "policy")
        await self._catalog.delete(access, key, _IS_POLICY)
        return Response(status_code=200)

    async def namespaces(self, _: Call, access: AuthorizedContainer) -> Response:
        return answered(self._namespaces(access))

    async def namespace(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET: one namespace, by its code in any letter case or its id."""
        wanted = _key(call, "code")
        for one in self._namespaces(access):
            if wanted in {one["code"].lower(), one["id"].lower()}:
                return answered(one)
        raise NotFound(f"there is no namespace `{wanted[:100]}`", code="namespace-not-found")

    async def create_namespace(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST: create a custom namespace. Codes are unique ignoring case."""
        document = await body_of(call)
        wanted = document.get("code")
        if isinstance(wanted, str) and access.state.customers.namespaces.code(wanted):
            raise Conflict(f"there is a namespace `{wanted[:100]}` already", code="code-taken")
        made = await self._catalog.create(access, EntityKind.NAMESPACE, document)
        return answered(_namespace(made))

    def _namespaces(self, access: AuthorizedContainer) -> list[dict[str, Any]]:
        own = [_namespace(one) for one in self._kept(access, EntityKind.NAMESPACE)]
        standard = [
            segments.namespace(
                {"code": code, "name": name},
                key=code,
                custom=False,
                created_ms=0,
                updated_ms=0,
            )
            for code, name in STANDARD_NAMESPACES.items()
        ]
        return standard + own

    def _kept(self, access: AuthorizedContainer, kind: EntityKind) -> list[Instance]:
        return self._catalog.of_kind(access, kind)


def _policy(access: AuthorizedContainer, instance: Instance) -> dict[str, Any]:
    container = access.state.container
    return segments.merge_policy(
        instance.document,
        key=instance.instance_id,
        organisation=container.organisation,
        sandbox=container.sandbox,
        updated_ms=instance.modified_us // 1000,
    )


def _namespace(instance: Instance) -> dict[str, Any]:
    return segments.namespace(
        instance.document,
        key=instance.instance_id,
        custom=True,
        created_ms=instance.created_us // 1000,
        updated_ms=instance.modified_us // 1000,
    )


def _key(call: Call, name: str) -> str:
    return str(call.request.path_params[name]).lower()


def _without_own(document: dict[str, Any]) -> dict[str, Any]:
    given = ("id", "imsOrgId", "sandbox", "updateEpoch", "version")
    return {name: value for name, value in document.items() if name not in given}
