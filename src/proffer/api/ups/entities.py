"""Profile access: look up and erase customers and their events by identity."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Endpoint
from proffer.api.ups.common import answered, number
from proffer.auth.principal import Permission
from proffer.errors import Finding, Invalid, Malformed, NotFound
from proffer.model.customer import Attributes, Erased
from proffer.model.identity import IdentityKey, parse_xid, xid
from proffer.model.xdm import xdm_time
from proffer.service.customers.profiles import Person, ProfileService
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.validation import parse_moment, walk
from proffer.wire import ups
from proffer.wire.codec import decode

_PATH = "/ups/access/entities"
_MOST_EVENTS = 1_000


class Entities:
    """The handlers of `/access/entities`."""

    def __init__(self, profiles: ProfileService, registry: ContainerRegistry) -> None:
        self._profiles = profiles
        self._registry = registry

    def endpoints(self) -> list[Endpoint]:
        table: list[Row] = [
            ("GET", _PATH, Permission.PROFILES_READ, self.get),
            ("POST", _PATH, Permission.PROFILES_READ, self.post),
            ("DELETE", _PATH, Permission.PROFILES_WRITE, self.delete),
        ]
        return in_sandbox(self._registry, table)

    async def get(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET: one customer, or the events of one customer."""
        query = call.request.query_params
        schema = _schema(query.get("schema.name"))
        fields = [one for one in query.get("fields", "").split(",") if one.strip()]
        if schema == ups.EVENT:
            related = self._key(
                access, query.get("relatedEntityId"), query.get("relatedEntityIdNS")
            )
            window = {name: query.get(name) for name in ("startTime", "endTime", "start", "limit")}
            return answered(
                await self._events(
                    call, access, related, fields, {**window, "orderby": query.get("orderby")}
                )
            )
        identity = self._key(access, query.get("entityId"), query.get("entityIdNS"))
        policy = query.get("mergePolicyId")
        person = await self._profiles.look_up(access, identity, policy)
        if person is None:
            raise _nobody(identity)
        key = xid(identity)
        return answered({key: _entity(key, person, fields, policy)})

    async def post(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST: several customers, or their events; an unknown customer is an empty entity."""
        asked = decode(await call.body())
        found = walk(ups.ENTITIES_REQUEST, asked)
        if found:
            raise Invalid.of(found)
        schema = _schema(asked["schema"]["name"])
        fields: list[str] = asked.get("fields") or []
        policy = asked.get("mergePolicyId")
        answer: dict[str, Any] = {}
        for at, one in enumerate(asked["identities"]):
            prefix = "relatedEntityId" if one.get("relatedEntityId") else "entityId"
            namespace = (one.get(f"{prefix}NS") or {}).get("code")
            path = f"$.identities[{at}].{prefix}"
            identity = self._key(access, one.get(prefix), namespace, path)
            key = xid(identity)
            if schema == ups.EVENT:
                window = {**(asked.get("timeFilter") or {}), "start": one.get("start")}
                window |= {"limit": asked.get("limit"), "orderby": asked.get("orderby")}
                answer[key] = await self._events(call, access, identity, fields, window)
                continue
            person = await self._profiles.look_up(access, identity, policy)
            answer[key] = (
                ups.nobody(key) if person is None else _entity(key, person, fields, policy)
            )
        return answered(answer)

    async def delete(self, call: Call, access: AuthorizedContainer) -> Response:
        """DELETE: erase a customer with all stored data, and report what was erased."""
        query = call.request.query_params
        _schema(query.get("schema.name", ups.PROFILE))
        identity = self._key(access, query.get("entityId"), query.get("entityIdNS"))
        erased = await self._profiles.erase(access, identity)
        if erased is None:
            raise _nobody(identity)
        return answered({"removed": removed(erased)}, 202)

    async def _events(
        self,
        call: Call,
        access: AuthorizedContainer,
        identity: IdentityKey,
        fields: Sequence[str],
        window: Mapping[str, Any],
    ) -> dict[str, Any]:
        events = await self._profiles.events_of(access, identity)
        order = str(window.get("orderby") or "timestamp")
        children = [
            one
            for event in events
            if _inside((one := _child(event, identity, fields))["timestamp"], window)
        ]
        if order.startswith("-"):
            children.reverse()
        start = window.get("start")
        ids = [one["entityId"] for one in children]
        if start in ids:
            children = children[ids.index(start) :]
        limit = number("limit", window.get("limit"), _MOST_EVENTS)
        following = children[limit]["entityId"] if len(children) > limit else ""
        href = ""
        if following:
            again = dict(call.request.query_params) | {"start": following}
            href = f"/entities?{urlencode(again)}"
        return ups.events_page(children[:limit], orderby=order, following=following, href=href)

    def _key(
        self,
        access: AuthorizedContainer,
        entity_id: str | None,
        namespace: str | None,
        path: str = "entityId",
    ) -> IdentityKey:
        spelled, key = _identity(entity_id, namespace, path)
        return self._profiles.key(access, spelled, key)


def removed(erased: Erased) -> dict[str, Any]:
    """Return the report of an erasure: identities, and counts of the other data."""
    return {
        "identities": [
            {"id": one.id, "namespace": {"code": one.namespace}} for one in erased.identities
        ],
        "attributes": erased.attributes,
        "events": erased.events,
        "audiences": erased.audiences,
        "counters": erased.counters,
        "decisions": erased.decisions,
        "feedback": erased.feedback,
    }


def _entity(key: str, person: Person, fields: Sequence[str], policy: str | None) -> dict[str, Any]:
    identities = [known for customer in person.customers for known in customer.identities]
    document = person.document
    if fields:
        listed = [{"id": one.id, "namespace": {"code": one.namespace}} for one in identities]
        document = ups.selected({**document, "identities": listed}, fields)
    return ups.entity(
        xid=key,
        graph=[xid(one) for one in identities],
        sources=person.sources,
        document=document,
        modified=xdm_time(person.modified_us),
        policy=policy if policy and person.policy_known else "default",
    )


def _child(event: Attributes, identity: IdentityKey, fields: Sequence[str]) -> dict[str, Any]:
    stamped_us = parse_moment(event["timestamp"])
    return {
        "relatedEntityId": xid(identity),
        "entityId": event["_id"],
        "timestamp": stamped_us // 1000,
        "entity": ups.selected(event, fields) if fields else dict(event),
        "lastModifiedAt": xdm_time(stamped_us),
    }


def _inside(moment_ms: int, window: Mapping[str, Any]) -> bool:
    start = number("startTime", window.get("startTime"), 0, least=-(2**62))
    end = number("endTime", window.get("endTime"), 2**62, least=-(2**62))
    return start <= moment_ms < end


def _schema(name: str | None) -> str:
    if name not in {ups.PROFILE, ups.EVENT}:
        said = f"not `{name[:100]}`" if name else "and is missing"
        raise Malformed(
            f"`schema.name` is `{ups.PROFILE}` or `{ups.EVENT}`, {said}", code="bad-parameter"
        )
    return name


def _identity(
    entity_id: str | None, namespace: str | None, path: str = "entityId"
) -> tuple[str, str]:
    """Return namespace and id. An id without a namespace must be an XID. Raises `Invalid`."""
    if not entity_id:
        message = "the id of the entity is missing or empty"
    elif namespace:
        return namespace, entity_id
    else:
        parsed = parse_xid(entity_id)
        if parsed is not None:
            return parsed
        message = "without a namespace the id must be an XID, and this is none"
    raise Invalid.of(
        [
            Finding(
                code="identity",
                message=message,
                path=path,
                help="give `entityId` together with `entityIdNS`, the namespace code",
            )
        ]
    )


def _nobody(identity: IdentityKey) -> NotFound:
    return NotFound(
        f"there is no profile with the identity `{identity.id[:200]}` of namespace `{identity.namespace}`",
        code="profile-not-found",
    )
