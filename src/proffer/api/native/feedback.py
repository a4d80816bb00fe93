"""`/api/feedback` and `/api/reservations`: feedback in short form (Proffer extension, R31).

The library is that of the caller's sandbox. `/collection` accepts whole experience events.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Surface
from proffer.auth.principal import Permission
from proffer.errors import Finding, Invalid, Malformed
from proffer.model.attribution import Attributed
from proffer.model.capping import Reservation
from proffer.model.customer import EVENT_LIMITS
from proffer.model.feedback import EVENT_TYPES, Feedback, plain_event, read_feedback
from proffer.model.instance import timestamp
from proffer.model.profile import without_prefixes
from proffer.service.decisions.reservations import ReservationService
from proffer.service.event_log.feedback import FeedbackService, Received
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.service.search.search import parse_limit
from proffer.validation import (
    Anything,
    DateTime,
    ListOf,
    MapOf,
    Member,
    Object,
    Shape,
    Text,
    parse_moment,
    walk,
)
from proffer.wire.codec import decode, encode

MAX_EVENTS = 1000
MAX_DATA = EVENT_LIMITS.bytes_each
"""Maximum bytes of an event's `data`, as for any experience event."""
_KEY = Text(min=1, max=1024)

FEEDBACK_EVENT = Object(
    {
        "id": Member(_KEY, required=True),
        "type": Member(Text(min=1, max=200), required=True),
        "propositionId": Member(_KEY, required=True),
        "scope": Member(Text(min=1, max=4096)),
        "items": Member(ListOf(_KEY)),
        "at": Member(DateTime()),
        "data": Member(MapOf(Anything())),
    }
)
FEEDBACK: Shape = Object({"events": Member(ListOf(FEEDBACK_EVENT, 1, MAX_EVENTS), required=True)})

_TYPES = {kind.value: event_type for event_type, kind in EVENT_TYPES.items()}


class FeedbackSurface:
    """Routes and handlers of feedback and reservations."""

    def __init__(
        self,
        service: FeedbackService,
        reservations: ReservationService,
        registry: ContainerRegistry,
        clock: Clock,
    ) -> None:
        self._service = service
        self._reservations = reservations
        self._registry = registry
        self._clock = clock

    def surface(self) -> Surface:
        table: list[Row] = [
            ("POST", "/feedback", Permission.DECISIONS_EXECUTE, self.take),
            ("GET", "/feedback/unattributed", Permission.PROFILES_READ, self.unattributed),
            ("GET", "/reservations/{proposition}", Permission.DECISIONS_EXECUTE, self.reservation),
            (
                "POST",
                "/reservations/{proposition}/confirm",
                Permission.DECISIONS_EXECUTE,
                self.confirm,
            ),
            (
                "POST",
                "/reservations/{proposition}/release",
                Permission.DECISIONS_EXECUTE,
                self.release,
            ),
        ]
        return Surface(
            name="feedback",
            prefix="/api",
            endpoints=in_sandbox(self._registry, table),
        )

    async def take(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST /api/feedback: events, durable and counted when the response is sent."""
        value = decode(await call.body())
        found = walk(FEEDBACK, value) or list(_too_large(value["events"]))
        if found:
            raise Invalid.of(found)
        now_us = self._clock()
        events = [
            _to_feedback(one, f"$.events[{place}]", now_us)
            for place, one in enumerate(value["events"])
        ]
        received = await self._service.take(access, events)
        return _json({"received": [_received(item) for item in received]})

    async def unattributed(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/feedback/unattributed: feedback about propositions that are not on record."""
        after = call.query.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 19):
            raise Malformed(f"`after` is a whole number, not `{after[:50]}`", code="bad-parameter")
        page, following = await self._service.unattributed(
            access,
            after=int(after),
            limit=parse_limit(call.query.get("limit")),
        )
        listed = [{"number": number, **_kept(one)} for number, one in page]
        return _json({"events": listed, "next": following})

    async def reservation(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/reservations/…: the state of a decision's reservation."""
        return await self._settled(call, access, self._reservations.state)

    async def confirm(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST /api/reservations/…/confirm: count the reservation permanently."""
        return await self._settled(call, access, self._reservations.confirm)

    async def release(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST /api/reservations/…/release: return the reserved counts to the caps."""
        return await self._settled(call, access, self._reservations.release)

    async def _settled(self, call: Call, access: AuthorizedContainer, what: Any) -> Response:
        proposition = str(call.request.path_params["proposition"])
        found: Reservation = await what(access, proposition)
        return _json(
            {
                "propositionId": proposition,
                "decisionId": found.decision_id,
                "state": found.state.value,
                "expires": timestamp(found.expires_us),
            }
        )


def _too_large(events: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for place, event in enumerate(events):
        size = len(encode(event.get("data", {})))
        if size > MAX_DATA:
            yield Finding(
                code="limit",
                message=f"{size:,} bytes are more than the limit of {MAX_DATA:,} bytes",
                path=f"$.events[{place}].data",
                help=f"stay within {MAX_DATA:,} bytes",
            )


def _to_feedback(event: Mapping[str, Any], at: str, now_us: int) -> Feedback:
    """Convert to an experience event, the only form rules and exports see."""
    reported: dict[str, Any] = {"id": event["propositionId"]}
    if "scope" in event:
        reported["scope"] = event["scope"]
    if "items" in event:
        reported["items"] = [{"id": one} for one in event["items"]]
    at_us = parse_moment(event["at"]) if "at" in event else now_us
    own = plain_event(without_prefixes(event.get("data", {})))
    experience = own.get("_experience")
    decisioning = experience.get("decisioning") if isinstance(experience, Mapping) else None
    entity = {
        **own,
        "_id": event["id"],
        "timestamp": timestamp(at_us),
        "eventType": _TYPES.get(event["type"], event["type"]),
        "_experience": {
            **(experience if isinstance(experience, Mapping) else {}),
            "decisioning": {
                **(decisioning if isinstance(decisioning, Mapping) else {}),
                "propositions": [reported],
            },
        },
    }
    feedback = read_feedback(entity, event_id=event["id"], at_us=at_us, at=f"{at}.data")
    assert feedback is not None  # the event has a proposition
    return feedback


def _received(one: Received) -> dict[str, Any]:
    return {
        "id": one.attributed.feedback.id,
        "kind": one.attributed.feedback.kind.value,
        "again": one.again,
        "waiting": one.waiting,
        **_attributed(one.attributed),
    }


def _attributed(one: Attributed) -> dict[str, Any]:
    return {
        "delivered": [
            {
                "propositionId": each.event,
                "decision": each.decision,
                "placement": each.placement,
                "item": each.offer,
            }
            for each in one.delivered
        ],
        "missed": [
            {"propositionId": each.proposition, "item": each.item, "why": each.why.value}
            for each in one.missed
        ],
    }


def _kept(one: Attributed) -> dict[str, Any]:
    return {
        "id": one.feedback.id,
        "kind": one.feedback.kind.value,
        "at": timestamp(one.feedback.at_us),
        "received": timestamp(one.received_us),
        **_attributed(one),
        "event": one.feedback.document,
    }


def _json(document: Mapping[str, Any]) -> Response:
    return Response(encode(document), media_type="application/json")
