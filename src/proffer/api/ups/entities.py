"""Profile access: look up and erase customers and their events by identity."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Endpoint
from proffer.api.kit.json_body import json_response
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.ups.common import parse_number
from proffer.api.ups.openapi_profiles import OPERATIONS
from proffer.api.ups.routes import PREFIX
from proffer.auth.principal import Permission
from proffer.errors import Invalid, Malformed, NotFound, Violation
from proffer.model.customer import Attributes, ErasureResult
from proffer.model.identity import IdentityKey, encode_xid, parse_xid
from proffer.model.xdm import format_xdm_time
from proffer.service.customers.profiles import Person, ProfileService
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.validation import parse_timestamp_us, validate
from proffer.wire import collection, ups
from proffer.wire.codec import decode

_MAX_EVENTS = 1_000


class EntityRoutes:
    """The handlers of `/access/entities`."""

    def __init__(self, profiles: ProfileService, registry: ContainerRegistry) -> None:
        self._profiles = profiles
        self._registry = registry

    def endpoints(self) -> list[Endpoint]:
        table: list[RouteSpec] = [
            ("getEntity", Permission.PROFILES_READ, self.get),
            ("getEntities", Permission.PROFILES_READ, self.post),
            ("eraseEntity", Permission.PROFILES_WRITE, self.delete),
        ]
        return OperationRoutes(OPERATIONS, PREFIX).in_sandbox(self._registry, table, sees_all_writes=True)

    async def get(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET: one customer, or the events of one customer."""
        query = call.request.query_params
        schema = _parse_schema_name(query.get("schema.name"))
        fields = [field for field in query.get("fields", "").split(",") if field.strip()]
        if schema == collection.EVENT:
            related = self._resolve_identity(access, query.get("relatedEntityId"), query.get("relatedEntityIdNS"))
            window = {name: query.get(name) for name in ("startTime", "endTime", "start", "limit")}
            window["start"] = window["start"] or query.get("offsets")
            return json_response(
                await self._events(call, access, related, fields, {**window, "orderby": query.get("orderby")})
            )
        identity = self._resolve_identity(access, query.get("entityId"), query.get("entityIdNS"))
        policy = query.get("mergePolicyId")
        person = await self._profiles.look_up(access, identity, policy)
        if person is None:
            raise _profile_not_found(query)
        key = encode_xid(identity)
        return json_response({key: _entity(key, person, fields, policy)})

    async def post(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST: several customers, or their events; an unknown customer is an empty entity."""
        body = decode(await call.body())
        findings = validate(ups.ENTITIES_REQUEST, body)
        if findings:
            raise Invalid.of(findings)
        schema = _parse_schema_name(body["schema"]["name"])
        fields: list[str] = body.get("fields") or []
        policy = body.get("mergePolicyId")
        answer: dict[str, Any] = {}
        for index, entry in enumerate(body["identities"]):
            prefix = "relatedEntityId" if entry.get("relatedEntityId") else "entityId"
            namespace = (entry.get(f"{prefix}NS") or {}).get("code")
            path = f"$.identities[{index}].{prefix}"
            identity = self._resolve_identity(access, entry.get(prefix), namespace, path)
            key = encode_xid(identity)
            if schema == collection.EVENT:
                window = {**(body.get("timeFilter") or {}), "start": entry.get("start")}
                window |= {"limit": body.get("limit"), "orderby": body.get("orderby")}
                answer[key] = await self._events(call, access, identity, fields, window)
                continue
            person = await self._profiles.look_up(access, identity, policy)
            answer[key] = ups.missing_entity(key) if person is None else _entity(key, person, fields, policy)
        return json_response(answer)

    async def delete(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """DELETE: erase a customer with all stored data, and report what was erased."""
        query = call.request.query_params
        _parse_schema_name(query.get("schema.name", collection.PROFILE))
        identity = self._resolve_identity(access, query.get("entityId"), query.get("entityIdNS"))
        erased = await self._profiles.erase(access, identity)
        if erased is None:
            raise _profile_not_found(query)
        return json_response({"removed": removal_report(erased)}, 202)

    async def _events(
        self,
        call: ApiCall,
        access: AuthorizedContainer,
        identity: IdentityKey,
        fields: Sequence[str],
        window: Mapping[str, Any],
    ) -> dict[str, Any]:
        events = await self._profiles.events_of(access, identity)
        order = str(window.get("orderby") or "timestamp")
        children = [
            child
            for event in events
            if _is_in_window((child := _event_entity(event, identity, fields))["timestamp"], window)
        ]
        if order.startswith("-"):
            children.reverse()
        start = window.get("start")
        ids = [child["entityId"] for child in children]
        if start in ids:
            children = children[ids.index(start) :]
        limit = parse_number("limit", window.get("limit"), _MAX_EVENTS)
        next_id = children[limit]["entityId"] if len(children) > limit else ""
        href = ""
        if next_id:
            # Some clients copy `start` of the next page, others `offsets`.
            next_query = dict(call.request.query_params) | {"start": next_id, "offsets": next_id}
            href = f"/entities?{urlencode(next_query)}"
        return ups.events_page(children[:limit], orderby=order, next_id=next_id, href=href)

    def _resolve_identity(
        self,
        access: AuthorizedContainer,
        entity_id: str | None,
        namespace: str | None,
        path: str = "entityId",
    ) -> IdentityKey:
        namespace_code, key = _parse_identity(entity_id, namespace, path)
        return self._profiles.key(access, namespace_code, key)


def removal_report(erased: ErasureResult) -> dict[str, Any]:
    """Return the report of an erasure: identities, and counts of the other data."""
    return {
        "identities": [
            {"id": identity.id, "namespace": {"code": identity.namespace}} for identity in erased.identities
        ],
        "attributes": erased.attributes,
        "events": erased.events,
        "audiences": erased.audiences,
        "counters": erased.counters,
        "decisions": erased.decisions,
        "feedback": erased.feedback,
    }


def _entity(key: str, person: Person, fields: Sequence[str], policy: str | None) -> dict[str, Any]:
    identities = [customer_identity for customer in person.customers for customer_identity in customer.identities]
    document = person.document
    if fields:
        identity_documents = [{"id": identity.id, "namespace": {"code": identity.namespace}} for identity in identities]
        document = ups.select_fields({**document, "identities": identity_documents}, fields)
    return ups.entity(
        xid=key,
        graph=[encode_xid(identity) for identity in identities],
        sources=person.sources,
        document=document,
        modified=format_xdm_time(person.modified_us),
        policy=policy if policy and person.policy_known else "default",
    )


def _event_entity(event: Attributes, identity: IdentityKey, fields: Sequence[str]) -> dict[str, Any]:
    stamped_us = parse_timestamp_us(event["timestamp"])
    return {
        "relatedEntityId": encode_xid(identity),
        "entityId": event["_id"],
        "timestamp": stamped_us // 1000,
        "entity": ups.select_fields(event, fields) if fields else dict(event),
        "lastModifiedAt": format_xdm_time(stamped_us),
    }


def _is_in_window(moment_ms: int, window: Mapping[str, Any]) -> bool:
    start = parse_number("startTime", window.get("startTime"), 0, minimum=-(2**62))
    end = parse_number("endTime", window.get("endTime"), 2**62, minimum=-(2**62))
    return start <= moment_ms < end


def _parse_schema_name(name: str | None) -> str:
    if name not in {collection.PROFILE, collection.EVENT}:
        reason = f"not `{name[:100]}`" if name else "and is missing"
        raise Malformed(
            f"`schema.name` must be `{collection.PROFILE}` or `{collection.EVENT}`, {reason}",
            code="bad-parameter",
        )
    return name


def _parse_identity(entity_id: str | None, namespace: str | None, path: str = "entityId") -> tuple[str, str]:
    """Return namespace and id. An id without a namespace must be an XID. Raises `Invalid`."""
    if not entity_id:
        message = "the id of the entity is missing or empty"
    elif namespace:
        return namespace, entity_id
    else:
        parsed = parse_xid(entity_id)
        if parsed is not None:
            return parsed
        message = "without a namespace, the id must be an XID"
    raise Invalid.of(
        [
            Violation(
                code="identity",
                message=message,
                path=path,
                help="give `entityId` together with `entityIdNS`, the namespace code",
            )
        ]
    )


def _profile_not_found(query: QueryParams) -> NotFound:
    """Return the error that names the identity as it was sent."""
    namespace = query.get("entityIdNS")
    suffix = f" of namespace `{namespace[:100]}`" if namespace else ""
    return NotFound(
        f"there is no profile with the identity `{query.get('entityId', '')[:200]}`{suffix}", code="profile-not-found"
    )
