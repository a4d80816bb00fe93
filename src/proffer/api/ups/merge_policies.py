"""Merge policies and identity namespaces."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Endpoint
from proffer.api.kit.json_body import json_response, read_object
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.ups.common import parse_number
from proffer.api.ups.openapi_audiences import OPERATIONS
from proffer.api.ups.routes import PREFIX
from proffer.auth.principal import Permission
from proffer.errors import Conflict, Invalid, Malformed, NotFound, Violation
from proffer.model.identity import STANDARD_NAMESPACES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.search.properties import document_matcher, parse_property
from proffer.wire import segments
from proffer.wire.codec import decode
from proffer.wire.patch import apply_patch

_IS_POLICY = Precondition(kind=EntityKind.MERGE_POLICY)
_IS_NAMESPACE = Precondition(kind=EntityKind.NAMESPACE)
_FILTERS = ("default", "isActiveOnEdge", "schema.name", "identityGraph.type", "attributeMerge.type")
_SORTABLE = ("name", "id", "updateEpoch")
_MAX_PAGE = 1_000
_SERVER_MEMBERS = frozenset(
    {"id", "imsOrgId", "sandbox", "updateEpoch", "version", "custom", "status", "createTime", "updateTime"}
)


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
            ("reviseMergePolicy", Permission.LIBRARY_WRITE, self.revise_policy),
            ("deleteMergePolicy", Permission.LIBRARY_WRITE, self.delete_policy),
            ("listNamespaces", Permission.LIBRARY_READ, self.namespaces),
            ("createNamespace", Permission.LIBRARY_WRITE, self.create_namespace),
            ("getNamespace", Permission.LIBRARY_READ, self.namespace),
            ("replaceNamespace", Permission.LIBRARY_WRITE, self.replace_namespace),
        ]
        return OperationRoutes(OPERATIONS, PREFIX).in_sandbox(self._registry, table, sees_all_writes=True)

    async def policies(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET: the policies that match the filters, by name; all of them, or a page of `limit`."""
        query = call.request.query_params
        order = query.get("orderBy", "").strip() or "name"
        sort_member = order.lstrip("+-")
        if sort_member not in _SORTABLE:
            raise Malformed(f"`orderBy` must be one of {', '.join(_SORTABLE)}, or one with `-`", code="bad-parameter")
        clauses = [parse_property(f"{name}=={query[name]}") for name in _FILTERS if name in query]
        is_listed = [document_matcher(clause) for clause in clauses]
        documents = [
            _policy_document(access, policy) for policy in self._catalog.of_kind(access, EntityKind.MERGE_POLICY)
        ]
        documents = [document for document in documents if all(matches(document) for matches in is_listed)]
        documents.sort(key=lambda document: document.get(sort_member, ""), reverse=order.startswith("-"))
        start = parse_number("start", query.get("start"), 0, minimum=0)
        end = start + min(parse_number("limit", query.get("limit"), _MAX_PAGE), _MAX_PAGE)
        next_query = urlencode({**query, "start": end}) if end < len(documents) else ""
        return json_response(
            segments.merge_policies_page(documents[start:end], total=len(documents), next_query=next_query)
        )

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

    async def revise_policy(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """PATCH: apply a JSON Patch, whose paths may separate members by dots."""
        operations = _with_pointers(decode(await call.body()))
        receipt = await self._catalog.revise(
            access,
            _key(call, "policy"),
            lambda before: _without_server_members(apply_patch(_policy_document(access, before), operations)),
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
        namespace_code = _key(call, "code").lower()
        for document in self._namespaces(access):
            if namespace_code in {document["code"].lower(), document["id"].lower()}:
                return json_response(document)
        raise _namespace_not_found(call)

    async def create_namespace(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST: create a custom namespace. Codes are unique ignoring case."""
        document = _without_server_members(await read_object(call))
        namespace_code = document.get("code")
        if isinstance(namespace_code, str) and access.state.customer_schema.namespaces.code(namespace_code):
            raise Conflict(f"there is a namespace `{namespace_code[:100]}` already", code="code-taken")
        receipt = await self._catalog.create(access, EntityKind.NAMESPACE, document)
        return json_response(_namespace_document(receipt.instance))

    async def replace_namespace(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """PUT: change a custom namespace, except its code."""
        key = _key(call, "code").lower()
        for code in STANDARD_NAMESPACES:
            if code.lower() == key:
                raise Conflict(f"`{code}` is a standard namespace and cannot be changed", code="standard-namespace")
        for instance in self._catalog.of_kind(access, EntityKind.NAMESPACE):
            if key in {instance.instance_id, instance.document["code"].lower()}:
                break
        else:
            raise _namespace_not_found(call)
        document = _without_server_members(await read_object(call))
        namespace_code = instance.document["code"]
        if document.setdefault("code", namespace_code) != namespace_code:
            raise Invalid.of(
                [
                    Violation(
                        code="immutable",
                        message=f"the code is `{namespace_code}` and cannot change: stored identities contain it",
                        path="$.code",
                        help="send it unchanged, or create another namespace",
                    )
                ]
            )
        receipt = await self._catalog.revise(access, instance.instance_id, lambda _: document, _IS_NAMESPACE)
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


def _namespace_not_found(call: ApiCall) -> NotFound:
    return NotFound(f"there is no namespace `{_key(call, 'code')[:100]}`", code="namespace-not-found")


def _key(call: ApiCall, name: str) -> str:
    return str(call.request.path_params[name])


def _without_server_members(document: dict[str, Any]) -> dict[str, Any]:
    """Return the members that the caller may set. Clients send nulls for those that they leave out."""
    return {name: value for name, value in document.items() if name not in _SERVER_MEMBERS and value is not None}


def _with_pointers(operations: Any) -> Any:
    """Return the operations with `/identityGraph.type`, the documented form, as a JSON pointer."""
    if not isinstance(operations, list):
        return operations
    return [
        {
            name: value.replace(".", "/") if name in {"path", "from"} and isinstance(value, str) else value
            for name, value in operation.items()
        }
        if isinstance(operation, dict)
        else operation
        for operation in operations
    ]
