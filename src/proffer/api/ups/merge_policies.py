"""Merge policies and identity namespaces."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Endpoint
from proffer.api.kit.json_body import json_response, read_object
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.ups.openapi_audiences import OPERATIONS
from proffer.api.ups.routes import PREFIX
from proffer.auth.principal import Permission
from proffer.errors import Conflict, NotFound
from proffer.model.identity import STANDARD_NAMESPACES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire import segments

_IS_POLICY = Precondition(kind=EntityKind.MERGE_POLICY)


class CustomerSettingsRoutes:
    """The handlers of `/config/mergePolicies` and `/idnamespace/identities`."""

    def __init__(self, catalog: CatalogService, registry: ContainerRegistry) -> None:
        self._catalog = catalog
        self._registry = registry

    def endpoints(self) -> list[Endpoint]:
        table: list[RouteSpec] = [
            ("listMergePolicies", Permission.LIBRARY_READ, self.policies),
            ("createMergePolicy", Permission.LIBRARY_WRITE, self.create_policy),
            ("getMergePolicy", Permission.LIBRARY_READ, self.policy),
            ("replaceMergePolicy", Permission.LIBRARY_WRITE, self.replace_policy),
            ("deleteMergePolicy", Permission.LIBRARY_WRITE, self.delete_policy),
            ("listNamespaces", Permission.LIBRARY_READ, self.namespaces),
            ("createNamespace", Permission.LIBRARY_WRITE, self.create_namespace),
            ("getNamespace", Permission.LIBRARY_READ, self.namespace),
        ]
        return OperationRoutes(OPERATIONS, PREFIX).in_sandbox(self._registry, table, sees_all_writes=True)

    async def policies(self, _: ApiCall, access: AuthorizedContainer) -> Response:
        children = [
            _policy_document(access, policy) for policy in self._catalog.of_kind(access, EntityKind.MERGE_POLICY)
        ]
        page = {"totalCount": len(children), "pageSize": len(children)}
        return json_response({"_page": page, "children": children, "_links": {}})

    async def create_policy(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        document = _without_server_members(await read_object(call))
        receipt = await self._catalog.create(access, EntityKind.MERGE_POLICY, document)
        return json_response(_policy_document(access, receipt.instance))

    async def policy(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        key = _key(call, "policy")
        instance = self._catalog.get(access, key, _IS_POLICY)
        return json_response(_policy_document(access, instance))

    async def replace_policy(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        document = _without_server_members(await read_object(call))
        receipt = await self._catalog.revise(
            access,
            _key(call, "policy"),
            lambda _: document,
            _IS_POLICY,
        )
        return json_response(_policy_document(access, receipt.instance))

    async def delete_policy(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        key = _key(call, "policy")
        await self._catalog.delete(access, key, _IS_POLICY)
        return Response(status_code=200)

    async def namespaces(self, _: ApiCall, access: AuthorizedContainer) -> Response:
        return json_response(self._namespaces(access))

    async def namespace(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET: one namespace, by its code in any letter case or its id."""
        namespace_code = _key(call, "code")
        for document in self._namespaces(access):
            if namespace_code in {document["code"].lower(), document["id"].lower()}:
                return json_response(document)
        raise NotFound(f"there is no namespace `{namespace_code[:100]}`", code="namespace-not-found")

    async def create_namespace(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST: create a custom namespace. Codes are unique ignoring case."""
        document = await read_object(call)
        namespace_code = document.get("code")
        if isinstance(namespace_code, str) and access.state.customer_schema.namespaces.code(namespace_code):
            raise Conflict(f"there is a namespace `{namespace_code[:100]}` already", code="code-taken")
        receipt = await self._catalog.create(access, EntityKind.NAMESPACE, document)
        return json_response(_namespace_document(receipt.instance))

    def _namespaces(self, access: AuthorizedContainer) -> list[dict[str, Any]]:
        custom_namespaces = [
            _namespace_document(instance) for instance in self._catalog.of_kind(access, EntityKind.NAMESPACE)
        ]
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
        return standard + custom_namespaces


def _policy_document(access: AuthorizedContainer, instance: Instance) -> dict[str, Any]:
    container = access.state.container
    return segments.merge_policy(
        instance.document,
        key=instance.instance_id,
        organisation=container.organisation,
        sandbox=container.sandbox,
        updated_ms=instance.modified_us // 1000,
    )


def _namespace_document(instance: Instance) -> dict[str, Any]:
    return segments.namespace(
        instance.document,
        key=instance.instance_id,
        custom=True,
        created_ms=instance.created_us // 1000,
        updated_ms=instance.modified_us // 1000,
    )


def _key(call: ApiCall, name: str) -> str:
    return str(call.request.path_params[name]).lower()


def _without_server_members(document: dict[str, Any]) -> dict[str, Any]:
    server_members = ("id", "imsOrgId", "sandbox", "updateEpoch", "version")
    return {name: value for name, value in document.items() if name not in server_members}
