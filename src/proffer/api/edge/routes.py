"""Edge API: interact, collect, identity and consent, for `@adobe/alloy` and the mobile SDKs."""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from proffer.api.edge import problems, translate
from proffer.api.edge.client_state import (
    ClientState,
    Visitor,
    build_state_update,
    identify,
    read_client_state,
    stored_consent,
)
from proffer.api.edge.fragments import EdgeFragments
from proffer.api.edge.middleware import (
    EdgeHandler,
    EdgeMiddleware,
    EdgeRequest,
    preflight_response,
    query_parameters,
    read_document,
    request_id_for,
    with_common_headers,
)
from proffer.api.edge.openapi import OPERATIONS
from proffer.api.kit.endpoints import Authenticator
from proffer.api.kit.languages import preferred_languages
from proffer.api.kit.request import BytesResponse, FastRequest
from proffer.errors import Invalid, Violation
from proffer.model.feedback import Feedback, near_event_type
from proffer.model.profile import Profile
from proffer.service.edge.datastreams import DatastreamService
from proffer.service.edge.edge import FEEDBACK_PREFIXES, EdgeService
from proffer.wire import edge
from proffer.wire.codec import encode
from proffer.wire.consent import Consent, parse_consent

_PATH_PATTERN = re.compile(r"(?:/(?:ee|ee-pre-prd)(?:/[a-z0-9]{1,20})?)?/(?P<version>v[12])/(?P<name>[a-z/-]+)")
_OTHER_PATHS = ("/ee/{rest:path}", "/ee-pre-prd/{rest:path}", "/v2/{rest:path}")
"""The documented paths with a location hint, and unknown paths under the edge's prefixes."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DENYING_CONSENTS = frozenset({Consent.OUT, Consent.PENDING})
_JSON = edge.JSON_TYPE.encode()


class ResponseParts(Struct):
    """The parts of a response; entries of `handle` are encoded JSON."""

    handle: list[bytes] = []
    errors: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []


class EdgeRoutes:
    """Routes and handlers of the edge API."""

    def __init__(self, service: EdgeService, datastreams: DatastreamService, authenticator: Authenticator) -> None:
        self._service = service
        self._fragments = EdgeFragments()
        self._middleware = EdgeMiddleware(datastreams, authenticator)
        self._handlers: Mapping[tuple[str, str], EdgeHandler] = {
            ("v1", "interact"): self.interact,
            ("v1", "collect"): self.collect,
            ("v1", "identity/acquire"): self.acquire,
            ("v1", "privacy/set-consent"): self.set_consent,
            ("v2", "interact"): self.interact,
            ("v2", "collect"): self.collect,
        }
        # Lookup for the paths of nearly all requests.
        self._common_routes: Mapping[str, tuple[EdgeHandler, str]] = {
            f"{base}/{version}/{name}": (handler, version)
            for (version, name), handler in self._handlers.items()
            for base in ("/ee", f"/ee/{edge.LOCATION_HINT}")
        }

    def routes(self) -> list[Route]:
        """Return the routes; unknown paths of the edge are answered with edge problems too."""
        return [
            *(
                Route(operation.path, self._dispatch, methods=[operation.method], name=f"edge{operation.path}")
                for operation in OPERATIONS
            ),
            *(Route(path, _AnyMethodApp(self._dispatch), name=f"edge{path}") for path in _OTHER_PATHS),
        ]

    async def interact(self, edge_request: EdgeRequest) -> Response:
        """POST interact: record feedback, then decide for every event that requests decisions."""
        document: edge.RequestDoc
        if edge_request.version == "v1":
            document = await read_document(edge_request, edge.EventsDoc, edge.EVENTS_SHAPE)
        else:
            document = await read_document(edge_request, edge.OneEventDoc, edge.EVENT_SHAPE)
        separators = _separators(document.meta)
        request = translate.read(document, overrides=edge_request.stream.datastream.overrides)
        parts, sender = await self._process_events(edge_request, request)
        return self._build_response(edge_request, request, parts, sender, separators=separators)

    async def collect(self, edge_request: EdgeRequest) -> Response:
        """POST collect: record events and feedback without deciding."""
        document = await read_document(edge_request, edge.EventsDoc, edge.EVENTS_SHAPE)
        request = translate.read(document, overrides=edge_request.stream.datastream.overrides)
        parts, _ = await self._process_events(edge_request, request, decide=False)
        if parts.errors:
            body = encode({"requestId": edge_request.request_id, "errors": parts.errors})
            return Response(body, 207, media_type=edge.JSON_TYPE)
        if edge_request.version == "v1" or edge_request.query.get("silent") == "true":
            return Response(status_code=204)
        return Response(encode({"requestId": edge_request.request_id}), 202, media_type=edge.JSON_TYPE)

    async def acquire(self, edge_request: EdgeRequest) -> Response:
        """POST identity/acquire: return the identity of this client."""
        document = await read_document(edge_request, edge.RequestDoc, edge.ACQUIRE_SHAPE)
        request = translate.read(document)
        client_state = _client_state(edge_request, request)
        sender = identify(edge_request.stream, request.identity_maps, client_state)
        if stored_consent(edge_request.stream, client_state) in _DENYING_CONSENTS:
            return self._build_response(edge_request, request, ResponseParts(warnings=[_no_consent_warning()]), None)
        return self._build_response(edge_request, request, ResponseParts(warnings=list(sender.warnings)), sender)

    async def set_consent(self, edge_request: EdgeRequest) -> Response:
        """POST privacy/set-consent: return the consent for the client to store."""
        document = await read_document(edge_request, edge.ConsentsDoc, edge.CONSENT_SHAPE)
        consent = _combined_consent(document)
        request = translate.read(document)
        client_state = _client_state(edge_request, request)
        sender = identify(edge_request.stream, request.identity_maps, client_state)
        if consent in _DENYING_CONSENTS and sender.is_new:
            # Do not assign an identity to a new visitor who does not consent.
            return self._build_response(edge_request, request, ResponseParts(), None, consent=consent)
        return self._build_response(
            edge_request,
            request,
            ResponseParts(warnings=list(sender.warnings)),
            sender,
            consent=consent,
        )

    async def _process_events(
        self, edge_request: EdgeRequest, request: translate.RequestInput, *, decide: bool = True
    ) -> tuple[ResponseParts, Visitor | None]:
        """Process the events of a request; also return the visitor, or None without consent."""
        stream = edge_request.stream
        events, maps = request.events, request.identity_maps
        offers_enabled = stream.datastream.offers_enabled and request.offers
        client_state = _client_state(edge_request, request)
        sender = identify(stream, maps, client_state, needs_primary=edge_request.version == "v2")
        if stored_consent(stream, client_state) in _DENYING_CONSENTS:
            return ResponseParts(warnings=[_no_consent_warning()]), None
        stamped_events = self._stamp_events(edge_request, events)
        parts = ResponseParts(warnings=list(sender.warnings))
        feedback = self._read_feedback(edge_request, events, stamped_events, sender, parts) if stamped_events else ()
        profile = Profile()
        if len(sender.identities) > 1 or (
            decide and offers_enabled and any(event.requested and event.requested.scopes for event in events)
        ):
            profile = await self._service.resolve_profile(stream, sender.identities)  # also links the identities
        if feedback:
            await self._service.report(stream, feedback)
        for index, event in enumerate(events):
            if stamped_events and stream.datastream.keep_events:
                stamped_event = stamped_events[index]
                if stamped_event is not None and not event.dry_run:
                    await self._store_event(edge_request, stamped_event, sender, index, parts)
            if decide and event.requested is not None:
                payload: Sequence[bytes] = []
                if offers_enabled:
                    payload = await self._decide(edge_request, event, event.requested, profile, index, parts)
                parts.handle.append(edge.decisions_handle(payload, index))
        return parts, sender

    def _stamp_events(
        self, edge_request: EdgeRequest, events: Sequence[translate.EventInput]
    ) -> list[dict[str, Any] | None]:
        """Add ids and timestamps to feedback events and events to be stored.

        None stands for each other event; an empty list if there is no such event. A repeated request
        gets the same ids.
        """
        keep_events = edge_request.stream.datastream.keep_events
        needs_stamp = [event.xdm is not None and (keep_events or _is_feedback(event.xdm)) for event in events]
        if True not in needs_stamp:
            return []  # the usual case
        request_id = edge_request.query.get("requestId", "")
        prefix = request_id if _UUID.fullmatch(request_id) else str(uuid.uuid4())
        return [
            self._service.with_id_and_time(event.xdm or {}, f"{prefix}.{index}") if stamp else None
            for index, (event, stamp) in enumerate(zip(events, needs_stamp, strict=True))
        ]

    def _read_feedback(
        self,
        edge_request: EdgeRequest,
        events: Sequence[translate.EventInput],
        stamped_events: Sequence[Mapping[str, Any] | None],
        sender: Visitor,
        parts: ResponseParts,
    ) -> list[Feedback]:
        """Parse the feedback in these events; list malformed feedback in the errors. Skips dry runs.

        Raises `Invalid` if the feedback of all events is malformed, before anything is stored.
        """
        reports: list[Feedback] = []
        refusals: list[Invalid] = []
        for index, (event, stamped_event) in enumerate(zip(events, stamped_events, strict=True)):
            if stamped_event is None or event.dry_run:
                continue
            try:
                report = self._service.feedback(
                    edge_request.stream, stamped_event, sender.identities, f"{event.path}.xdm"
                )
            except Invalid as error:
                refusals.append(error)
                parts.errors.append(problems.refusal_entry(error, eventIndex=index))
                continue
            if report is None:
                continue
            reports.append(report)
            if (known := near_event_type(stamped_event.get("eventType"))) is not None:
                parts.warnings.append(_event_type_warning(stamped_event["eventType"], known, index))
        if refusals and len(refusals) == len(events):
            raise Invalid.of([violation for refusal in refusals for violation in refusal.violations])
        return reports

    async def _decide(
        self,
        edge_request: EdgeRequest,
        event: translate.EventInput,
        requested: translate.ScopeTexts,
        profile: Profile,
        index: int,
        parts: ResponseParts,
    ) -> Sequence[bytes]:
        result = None
        if requested.names:
            names = set(requested.names.values())
            requested = requested.with_named_scopes(await self._service.named_scopes(edge_request.stream, names))
        if requested.scopes:
            result = await self._service.decide(
                edge_request.stream,
                profile,
                requested.scopes,
                event=event.context,
                languages=preferred_languages(edge_request.request.header(b"accept-language"), profile.attributes),
                request_id=edge_request.request_id,
                is_plain=edge_request.is_plain,
                dry_run=event.dry_run,
                explain=edge_request.stream.datastream.explain and event.explain,
            )
        payload, errors = translate.write(result, requested, index, self._fragments)
        parts.errors += errors
        if result is not None and result.without:
            suffix = ", and not recorded" if result.unrecorded else ""
            parts.warnings.append(
                problems.report_entry(
                    "EXEG-0205-200",
                    200,
                    "Decided without the database",
                    f"the database is not available: decided without {result.without}{suffix}",
                    eventIndex=index,
                )
            )
        return payload

    async def _store_event(
        self,
        edge_request: EdgeRequest,
        event: Mapping[str, Any],
        sender: Visitor,
        index: int,
        parts: ResponseParts,
    ) -> None:
        refusal = await self._service.store_event(edge_request.stream, event, sender.identities)
        if refusal is not None:
            parts.warnings.append(
                problems.report_entry(
                    "EXEG-0204-200",
                    200,
                    "Event not stored",
                    refusal.detail,
                    eventIndex=index,
                    errors=problems.finding_texts(refusal.violations),
                )
            )

    def _build_response(
        self,
        edge_request: EdgeRequest,
        request: translate.RequestInput,
        parts: ResponseParts,
        sender: Visitor | None,
        *,
        consent: Consent | None = None,
        separators: tuple[str, str] | None = None,
    ) -> Response:
        state_update = build_state_update(
            edge_request.stream,
            request.state,
            edge_request.request.header(b"host") or "",
            self._service.now_us,
            visitor=sender,
            consent=consent,
        )
        if sender is not None and request.fetches_ecid:
            parts.handle.insert(0, edge.identity_handle(sender.ecid))
        parts.handle.append(edge.LOCATION_HANDLE)
        if state_update.entries:
            parts.handle.append(edge.state_handle(state_update.entries))
        body = edge.response_body(edge_request.request_id, parts.handle, parts.errors, parts.warnings)
        if separators is not None:
            body = separators[0].encode() + body + separators[1].encode()
        response = BytesResponse(body, 207 if parts.errors else 200, _JSON)
        response.raw_headers += [(b"set-cookie", cookie.encode("latin-1")) for cookie in state_update.cookies]
        return response

    async def _dispatch(self, request: FastRequest) -> Response:
        if request.method == "OPTIONS":
            return preflight_response(request)
        common_route = self._common_routes.get(request.scope["path"])
        if common_route is not None and request.method == "POST":
            return await self._middleware.wrap(*common_route, request)
        match = _PATH_PATTERN.fullmatch(request.scope["path"])
        handler = self._handlers.get((match["version"], match["name"])) if match else None
        if match is None or handler is None:
            return _problem_response(request, 404, "no-such-path", "this path does not exist")
        if request.method != "POST":
            response = _problem_response(request, 405, "method-not-allowed", "only POST is allowed")
            response.headers["Allow"] = "OPTIONS, POST"
            return response
        return await self._middleware.wrap(handler, match["version"], request)


class _AnyMethodApp:
    """Wrap the handler as an ASGI app; a route to a function would accept only GET."""

    def __init__(self, handler: Callable[[FastRequest], Awaitable[Response]]) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._handler(FastRequest(scope, receive, send))
        await response(scope, receive, send)


def _problem_response(request: FastRequest, status: int, code: str, detail: str) -> Response:
    request_id = request_id_for(request, query_parameters(request))
    return with_common_headers(problems.status_response(status, code, detail, request_id), request, request_id)


def _client_state(edge_request: EdgeRequest, request: translate.RequestInput) -> ClientState:
    cookies = edge_request.request.cookies if edge_request.request.header(b"cookie") is not None else {}
    return read_client_state(request.state, cookies)


def _is_feedback(xdm: Mapping[str, Any]) -> bool:
    """Return whether an event has feedback about propositions."""
    for name in xdm:  # noqa: SIM110 - three times as fast as `any`
        if name.startswith(FEEDBACK_PREFIXES):
            return True
    return False


def _separators(meta: edge.MetaDoc | None) -> tuple[str, str] | None:
    """Return record separator and line feed of a streaming response; None if not streaming."""
    konductor = meta.konductor if meta is not None else None
    streaming = konductor.streaming if konductor is not None else None
    if streaming is None or not streaming.enabled:
        return None
    before, after = streaming.record_separator or "\0", streaming.line_feed or "\n"
    if len(before) > edge.MAX_SEPARATOR or len(after) > edge.MAX_SEPARATOR:
        raise Invalid.of(
            [
                Violation(
                    code="range",
                    message=f"separators must have at most {edge.MAX_SEPARATOR} characters",
                    path="$.meta.konductorConfig.streaming",
                    help='as in `{"recordSeparator": "\\u0000", "lineFeed": "\\n"}`',
                )
            ]
        )
    return before, after


def _combined_consent(document: edge.ConsentsDoc) -> Consent:
    """Return the most restrictive consent of all entries. Raises `Invalid` with every mistake."""
    consents: list[Consent] = []
    findings: list[Violation] = []
    for index, entry in enumerate(document.consent):
        try:
            consents.append(parse_consent(entry.standard, entry.version, entry.value, entry.gdpr_applies))
        except ValueError as reason:
            findings.append(
                Violation(
                    code="format",
                    message=str(reason),
                    path=f"$.consent[{index}]",
                    help="see the documented consent formats",
                )
            )
    if findings:
        raise Invalid.of(findings)
    return next(value for value in (Consent.OUT, Consent.PENDING, Consent.IN) if value in consents)


def _event_type_warning(event_type: str, known: str, index: int) -> dict[str, Any]:
    return problems.report_entry(
        "EXEG-0206-200",
        200,
        "Unknown event type",
        f"`{event_type[:200]}` counts as a custom event; did you mean `{known}`?",
        eventIndex=index,
    )


def _no_consent_warning() -> dict[str, Any]:
    return problems.report_entry(
        "EXEG-0301-200",
        200,
        "No consent",
        "the person does not consent to the collection of events; the request was ignored",
    )
