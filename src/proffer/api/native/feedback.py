"""`/api/feedback` and `/api/reservations`: feedback in short form (Proffer extension, R31).

The library is that of the caller's sandbox. `/collection` accepts whole experience events.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.json_body import json_response, parse_whole_number
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.kit.problems import violation
from proffer.api.kit.warnings import warning_headers
from proffer.api.native.openapi_feedback import OPERATIONS
from proffer.auth.principal import Permission
from proffer.errors import Invalid, Violation
from proffer.model.attribution import AttributedFeedback
from proffer.model.capping import Reservation
from proffer.model.customer import EVENT_LIMITS
from proffer.model.feedback import KIND_BY_EVENT_TYPE, Feedback, FeedbackKind, normalize_event, read_feedback
from proffer.model.instance import format_timestamp
from proffer.model.profile import without_prefixes
from proffer.service.decisions.reservations import ReservationService
from proffer.service.event_log.feedback import FeedbackResult, FeedbackService
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.service.search.search import parse_limit
from proffer.validation import (
    near_name,
    parse_timestamp_us,
    validate,
)
from proffer.wire.codec import decode, encode
from proffer.wire.feedback import FEEDBACK_EVENT, FEEDBACK_LIST

MAX_DATA = EVENT_LIMITS.max_event_bytes
"""Maximum bytes of an event's `data`, as for any experience event."""
_EVENT_TYPE_BY_KIND = {kind.value: event_type for event_type, kind in KIND_BY_EVENT_TYPE.items()}

_KIND_BY_CAP_EVENT = {"impression": FeedbackKind.DISPLAY.value, "click": FeedbackKind.INTERACT.value}
"""What caps call these events; as the type of an event it would be the client's own."""


class FeedbackRoutes:
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
        table: list[RouteSpec] = [
            ("takeFeedback", Permission.DECISIONS_EXECUTE, self.receive),
            ("listUnattributed", Permission.PROFILES_READ, self.unattributed),
            ("getReservation", Permission.DECISIONS_EXECUTE, self.reservation),
            (
                "confirmReservation",
                Permission.DECISIONS_EXECUTE,
                self.confirm,
            ),
            (
                "releaseReservation",
                Permission.DECISIONS_EXECUTE,
                self.release,
            ),
        ]
        return Surface(
            name="feedback",
            prefix="/api",
            endpoints=OperationRoutes(OPERATIONS, "/api").in_sandbox(self._registry, table),
        )

    async def receive(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /api/feedback: events, durable and counted when the response is sent."""
        value = decode(await call.body())
        findings = validate(FEEDBACK_LIST, value)
        if findings:
            raise Invalid.of(findings)
        now_us = self._clock()
        events: list[Feedback] = []
        warnings: list[Violation] = []
        refusals: list[tuple[int, Any, Invalid]] = []
        for index, event in enumerate(value["events"]):
            try:
                events.append(_read_event(event, f"$.events[{index}]", now_us))
            except Invalid as error:
                refusals.append((index, event, error))
            else:
                warnings += _type_warnings(event["type"], f"$.events[{index}].type")
        if not events:
            raise Invalid.of([violation for _, _, refusal in refusals for violation in refusal.violations])
        received = await self._service.record(access, events)
        document = {"received": [_received_document(receipt) for receipt in received]}
        if refusals:
            document["refused"] = [_refused_document(*refusal) for refusal in refusals]
        return json_response(document, 207 if refusals else 200, warning_headers(warnings))

    async def unattributed(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/feedback/unattributed: feedback about propositions that are not on record."""
        page, next_after = await self._service.unattributed(
            access,
            after=parse_whole_number("after", call.query.get("after", "0")),
            limit=parse_limit(call.query.get("limit")),
        )
        documents = [{"number": number, **_unattributed_document(report)} for number, report in page]
        return json_response({"events": documents, "next": next_after})

    async def reservation(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/reservations/…: the state of a decision's reservation."""
        return await self._reservation_response(call, access, self._reservations.state)

    async def confirm(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /api/reservations/…/confirm: count the reservation permanently."""
        return await self._reservation_response(call, access, self._reservations.confirm)

    async def release(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /api/reservations/…/release: return the reserved counts to the caps."""
        return await self._reservation_response(call, access, self._reservations.release)

    async def _reservation_response(self, call: ApiCall, access: AuthorizedContainer, operation: Any) -> Response:
        proposition = str(call.request.path_params["proposition"])
        reservation: Reservation = await operation(access, proposition)
        return json_response(
            {
                "propositionId": proposition,
                "decisionId": reservation.decision_id,
                "state": reservation.state.value,
                "expires": format_timestamp(reservation.expires_us),
            }
        )


def _read_event(event: Any, path: str, now_us: int) -> Feedback:
    """Check and convert one event. Raises `Invalid` with all its violations."""
    findings = validate(FEEDBACK_EVENT, event)
    if findings:
        raise Invalid.of(findings).with_root(path)
    size = len(encode(event.get("data", {})))
    if size > MAX_DATA:
        violation = Violation(
            code="limit",
            message=f"{size} bytes exceed the limit of {MAX_DATA} bytes",
            path=f"{path}.data",
            help=f"send at most {MAX_DATA} bytes",
        )
        raise Invalid.of([violation])
    return _to_feedback(event, path, now_us)


def _type_warnings(event_type: str, path: str) -> Iterator[Violation]:
    if event_type in _EVENT_TYPE_BY_KIND or event_type in KIND_BY_EVENT_TYPE:
        return
    known = _KIND_BY_CAP_EVENT.get(event_type) or near_name(event_type, (*_EVENT_TYPE_BY_KIND, *KIND_BY_EVENT_TYPE))
    if known is not None:
        yield Violation(
            code="unknown-event-type",
            message=f"`{event_type[:200]}` counts as a custom event",
            path=path,
            help=f"did you mean `{known}`?",
        )


def _refused_document(index: int, event: Any, refusal: Invalid) -> dict[str, Any]:
    event_id = event.get("id") if isinstance(event, Mapping) else None
    return {"index": index, "id": event_id, "violations": [violation(finding) for finding in refusal.violations]}


def _to_feedback(event: Mapping[str, Any], path: str, now_us: int) -> Feedback:
    """Convert to an experience event, the only form rules and exports see."""
    proposition: dict[str, Any] = {"id": event["propositionId"]}
    if "scope" in event:
        proposition["scope"] = event["scope"]
    if "items" in event:
        proposition["items"] = [{"id": item} for item in event["items"]]
    at_us = parse_timestamp_us(event["at"]) if "at" in event else now_us
    data = normalize_event(without_prefixes(event.get("data", {})))
    experience = data.get("_experience")
    decisioning = experience.get("decisioning") if isinstance(experience, Mapping) else None
    action = {"propositionAction": {"tokens": event["tokens"]}} if "tokens" in event else {}
    entity = {
        **data,
        "_id": event["id"],
        "timestamp": format_timestamp(at_us),
        "eventType": _EVENT_TYPE_BY_KIND.get(event["type"], event["type"]),
        "_experience": {
            **(experience if isinstance(experience, Mapping) else {}),
            "decisioning": {
                **(decisioning if isinstance(decisioning, Mapping) else {}),
                "propositions": [proposition],
                **action,
            },
        },
    }
    feedback = read_feedback(entity, event_id=event["id"], at_us=at_us, at=f"{path}.data")
    assert feedback is not None  # the event has a proposition
    return feedback


def _received_document(received: FeedbackResult) -> dict[str, Any]:
    return {
        "id": received.attributed.feedback.id,
        "kind": received.attributed.feedback.kind.value,
        "again": received.is_duplicate,
        "waiting": received.is_spooled,
        **_attribution_document(received.attributed),
    }


def _attribution_document(attributed: AttributedFeedback) -> dict[str, Any]:
    return {
        "delivered": [
            {
                "propositionId": item.event,
                "decision": item.decision,
                "placement": item.placement,
                "item": item.offer,
            }
            for item in attributed.delivered_offers
        ],
        "missed": [
            {"propositionId": item.proposition, "item": item.item, "why": item.reason.value}
            for item in attributed.unattributed
        ],
    }


def _unattributed_document(report: AttributedFeedback) -> dict[str, Any]:
    return {
        "id": report.feedback.id,
        "kind": report.feedback.kind.value,
        "at": format_timestamp(report.feedback.at_us),
        "received": format_timestamp(report.received_us),
        **_attribution_document(report),
        "event": report.feedback.document,
    }
