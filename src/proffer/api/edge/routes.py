"""Edge API: interact, collect, identity and consent, for `@adobe/alloy` and the mobile SDKs."""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from proffer.api.edge import problems, translate, visitor
from proffer.api.edge.envelope import (
    Envelope,
    Handler,
    Hit,
    closed,
    document_of,
    preflight,
    query_of,
    request_id_for,
)
from proffer.api.edge.fragments import Fragments
from proffer.api.kit.languages import languages
from proffer.api.kit.request import Answer, Asked
from proffer.api.kit.surface import Authenticator
from proffer.errors import Finding, Invalid
from proffer.model.feedback import Feedback
from proffer.model.profile import Profile
from proffer.service.edge.datastreams import DatastreamService
from proffer.service.edge.edge import REPORTING, EdgeService
from proffer.wire import edge
from proffer.wire.codec import encode
from proffer.wire.consent import Consent, read_consent

_WHICH = re.compile(
    r"(?:/(?:ee|ee-pre-prd)(?:/[a-z0-9]{1,20})?)?/(?P<version>v[12])/(?P<name>[a-z/-]+)"
)
_DOCUMENTED = (
    "/ee/v1/interact",
    "/ee/v1/collect",
    "/ee/v1/identity/acquire",
    "/ee/v1/privacy/set-consent",
    "/ee/v2/interact",
    "/ee/v2/collect",
    "/v2/interact",
    "/v2/collect",
)
_NEAR = ("/ee/{rest:path}", "/ee-pre-prd/{rest:path}", "/v2/{rest:path}")
"""The same paths with a location hint, and unknown paths under the edge's prefixes."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REFUSED = frozenset({Consent.OUT, Consent.PENDING})
_JSON = edge.JSON_TYPE.encode()


class Told(Struct):
    """The parts of a response; entries of `handle` are encoded JSON."""

    handle: list[bytes] = []
    errors: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []


class EdgeSurface:
    """Routes and handlers of the edge API."""

    def __init__(
        self, service: EdgeService, datastreams: DatastreamService, authenticator: Authenticator
    ) -> None:
        self._service = service
        self._fragments = Fragments()
        self._envelope = Envelope(datastreams, authenticator)
        self._handlers: Mapping[tuple[str, str], Handler] = {
            ("v1", "interact"): self.interact,
            ("v1", "collect"): self.collect,
            ("v1", "identity/acquire"): self.acquire,
            ("v1", "privacy/set-consent"): self.set_consent,
            ("v2", "interact"): self.interact,
            ("v2", "collect"): self.collect,
        }
        # Lookup for the paths of nearly all requests.
        self._usual: Mapping[str, tuple[Handler, str]] = {
            f"/ee/{version}/{name}": (handler, version)
            for (version, name), handler in self._handlers.items()
        }

    def routes(self) -> list[Route]:
        """Return the routes; unknown paths of the edge are answered with edge problems too."""
        return [
            *(
                Route(path, self._serve, methods=["POST"], name=f"edge{path}")
                for path in _DOCUMENTED
            ),
            *(Route(path, _EveryMethod(self._serve), name=f"edge{path}") for path in _NEAR),
        ]

    async def interact(self, hit: Hit) -> Response:
        """POST interact: record feedback, then decide for every event that requests decisions."""
        document: edge.RequestDoc
        if hit.version == "v1":
            document = await document_of(hit, edge.EventsDoc, edge.EVENTS_SHAPE)
        else:
            document = await document_of(hit, edge.OneEventDoc, edge.EVENT_SHAPE)
        separators = _separators(document.meta)
        request = translate.read(document, overrides=hit.stream.datastream.overrides)
        told, who = await self._take(hit, request)
        return self._answer(hit, request, told, who, separators=separators)

    async def collect(self, hit: Hit) -> Response:
        """POST collect: record events and feedback without deciding."""
        document = await document_of(hit, edge.EventsDoc, edge.EVENTS_SHAPE)
        request = translate.read(document, overrides=hit.stream.datastream.overrides)
        await self._take(hit, request, decide=False)
        if hit.version == "v1" or hit.query.get("silent") == "true":
            return Response(status_code=204)
        return Response(encode({"requestId": hit.request_id}), 202, media_type=edge.JSON_TYPE)

    async def acquire(self, hit: Hit) -> Response:
        """POST identity/acquire: return the identity of this client."""
        document = await document_of(hit, edge.RequestDoc, edge.ACQUIRE_SHAPE)
        request = translate.read(document)
        kept = _kept(hit, request)
        who = visitor.visitor_of(hit.stream, request.identity_maps, kept)
        if visitor.consent_of(hit.stream, kept) in _REFUSED:
            return self._answer(hit, request, Told(warnings=[_no_consent()]), None)
        return self._answer(hit, request, Told(warnings=list(who.warnings)), who)

    async def set_consent(self, hit: Hit) -> Response:
        """POST privacy/set-consent: return the consent for the client to store."""
        document = await document_of(hit, edge.ConsentsDoc, edge.CONSENT_SHAPE)
        consent = _consent(document)
        request = translate.read(document)
        kept = _kept(hit, request)
        who = visitor.visitor_of(hit.stream, request.identity_maps, kept)
        if consent in _REFUSED and who.is_new:
            # Do not assign an identity to a new visitor who does not consent.
            return self._answer(hit, request, Told(), None, consent=consent)
        return self._answer(hit, request, Told(warnings=list(who.warnings)), who, consent=consent)

    async def _take(
        self, hit: Hit, request: translate.RequestInput, *, decide: bool = True
    ) -> tuple[Told, visitor.Visitor | None]:
        """Process the events of a request; also return the visitor, or None without consent."""
        stream = hit.stream
        events, maps = request.events, request.identity_maps
        on = stream.datastream.offers and request.offers
        kept = _kept(hit, request)
        if hit.version == "v2":
            visitor.refuse_without_primary(visitor.read_maps(maps))
        who = visitor.visitor_of(stream, maps, kept)
        if visitor.consent_of(stream, kept) in _REFUSED:
            return Told(warnings=[_no_consent()]), None
        stamped = self._stamped(hit, events)
        heard = self._heard(hit, events, stamped, who) if stamped else ()
        told = Told(warnings=list(who.warnings))
        profile = Profile()
        if len(who.known) > 1 or (
            decide and on and any(event.requested and event.requested.scopes for event in events)
        ):
            profile = await self._service.customer(stream, who.known)  # also links the identities
        if heard:
            await self._service.report(stream, heard)
        for index, event in enumerate(events):
            if stamped and stream.datastream.keep_events:
                one = stamped[index]
                if one is not None and not event.dry_run:
                    await self._keep(hit, one, who, index, told)
            if decide and event.requested is not None:
                payload: Sequence[bytes] = []
                if on:
                    payload = await self._decide(hit, event, event.requested, profile, index, told)
                told.handle.append(edge.decisions(payload, index))
        return told, who

    def _stamped(
        self, hit: Hit, events: Sequence[translate.EventInput]
    ) -> list[dict[str, Any] | None]:
        """Add ids and timestamps to events that are feedback or will be stored.

        None stands for each other event; an empty list if there is no such event. A repeated request
        gets the same ids.
        """
        keep = hit.stream.datastream.keep_events
        wanted = [event.xdm is not None and (keep or _reports(event.xdm)) for event in events]
        if True not in wanted:
            return []  # the usual case
        given = hit.query.get("requestId", "")
        prefix = given if _UUID.fullmatch(given) else str(uuid.uuid4())
        return [
            self._service.stamped(event.xdm or {}, f"{prefix}.{index}") if stamp else None
            for index, (event, stamp) in enumerate(zip(events, wanted, strict=True))
        ]

    def _heard(
        self,
        hit: Hit,
        events: Sequence[translate.EventInput],
        stamped: Sequence[Mapping[str, Any] | None],
        who: visitor.Visitor,
    ) -> list[Feedback]:
        """Parse the feedback in these events; raises before anything is stored. Skips dry runs."""
        found = [
            self._service.feedback(hit.stream, one, who.known, f"$.events[{index}].xdm")
            for index, (event, one) in enumerate(zip(events, stamped, strict=True))
            if one is not None and not event.dry_run
        ]
        return [report for report in found if report is not None]

    async def _decide(
        self,
        hit: Hit,
        event: translate.EventInput,
        requested: translate.ScopeTexts,
        profile: Profile,
        index: int,
        told: Told,
    ) -> Sequence[bytes]:
        result = None
        if requested.scopes:
            result = await self._service.decide(
                hit.stream,
                profile,
                requested.scopes,
                event=event.context,
                languages=languages(hit.request.header(b"accept-language"), profile.attributes),
                request_id=hit.request_id,
                is_plain=hit.is_plain,
                dry_run=event.dry_run,
                explain=hit.stream.datastream.explain and event.explain,
            )
        payload, errors = translate.write(result, requested, index, self._fragments)
        told.errors += errors
        if result is not None and result.without:
            told.warnings.append(
                problems.note(
                    "EXEG-0205-200",
                    200,
                    "Decided without the database",
                    f"the database is away: this was decided without {result.without}",
                    eventIndex=index,
                )
            )
        return payload

    async def _keep(
        self,
        hit: Hit,
        event: Mapping[str, Any],
        who: visitor.Visitor,
        index: int,
        told: Told,
    ) -> None:
        refusal = await self._service.keep(hit.stream, event, who.known)
        if refusal is not None:
            told.warnings.append(
                problems.note(
                    "EXEG-0204-200",
                    200,
                    "Event not kept",
                    refusal.detail,
                    eventIndex=index,
                    errors=problems.texts(refusal.findings),
                )
            )

    def _answer(
        self,
        hit: Hit,
        request: translate.RequestInput,
        told: Told,
        who: visitor.Visitor | None,
        *,
        consent: Consent | None = None,
        separators: tuple[str, str] | None = None,
    ) -> Response:
        given = visitor.to_keep(
            hit.stream,
            request.state,
            hit.request.header(b"host") or "",
            self._service.now_us,
            visitor=who,
            consent=consent,
        )
        if who is not None and request.fetches_ecid:
            told.handle.insert(0, edge.identity(who.ecid))
        if given.entries:
            told.handle.append(edge.state(given.entries))
        body = edge.answer(hit.request_id, told.handle, told.errors, told.warnings)
        if separators is not None:
            body = separators[0].encode() + body + separators[1].encode()
        response = Answer(body, 207 if told.errors else 200, _JSON)
        response.raw_headers += [(b"set-cookie", one.encode("latin-1")) for one in given.cookies]
        return response

    async def _serve(self, request: Asked) -> Response:
        if request.method == "OPTIONS":
            return preflight(request)
        which = self._usual.get(request.scope["path"])
        if which is not None and request.method == "POST":
            return await self._envelope.around(*which, request)
        match = _WHICH.fullmatch(request.scope["path"])
        handler = self._handlers.get((match["version"], match["name"])) if match else None
        if match is None or handler is None:
            return _elsewhere(request, 404, "no-such-path", "nothing is served here")
        if request.method != "POST":
            response = _elsewhere(request, 405, "method-not-allowed", "only POST is served here")
            response.headers["Allow"] = "OPTIONS, POST"
            return response
        return await self._envelope.around(handler, match["version"], request)


class _EveryMethod:
    """Wrap the handler as an ASGI app; a route to a function would accept only GET."""

    def __init__(self, serve: Callable[[Asked], Awaitable[Response]]) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._serve(Asked(scope, receive, send))
        await response(scope, receive, send)


def _elsewhere(request: Asked, status: int, code: str, detail: str) -> Response:
    request_id = request_id_for(request, query_of(request))
    return closed(problems.refusal(status, code, detail, request_id), request, request_id)


def _kept(hit: Hit, request: translate.RequestInput) -> visitor.Kept:
    cookies = hit.request.cookies if hit.request.header(b"cookie") is not None else {}
    return visitor.kept_of(request.state, cookies)


def _reports(xdm: Mapping[str, Any]) -> bool:
    """Return whether an event has feedback about propositions."""
    for name in xdm:  # noqa: SIM110 - three times as fast as `any`
        if name.startswith(REPORTING):
            return True
    return False


def _separators(meta: edge.MetaDoc | None) -> tuple[str, str] | None:
    """Return record separator and line feed of a streaming response; None if not streaming."""
    konductor = meta.konductor if meta is not None else None
    asked = konductor.streaming if konductor is not None else None
    if asked is None or not asked.enabled:
        return None
    before, after = asked.record_separator or "\0", asked.line_feed or "\n"
    if len(before) > edge.MAX_SEPARATOR or len(after) > edge.MAX_SEPARATOR:
        raise Invalid.of(
            [
                Finding(
                    code="range",
                    message=f"separators have at most {edge.MAX_SEPARATOR} characters",
                    path="$.meta.konductorConfig.streaming",
                    help='as in `{"recordSeparator": "\\u0000", "lineFeed": "\\n"}`',
                )
            ]
        )
    return before, after


def _consent(document: edge.ConsentsDoc) -> Consent:
    """Return the most restrictive consent of all entries. Raises `Invalid` with every mistake."""
    said: list[Consent] = []
    wrong: list[Finding] = []
    for index, one in enumerate(document.consent):
        try:
            said.append(read_consent(one.standard, one.version, one.value, one.gdpr_applies))
        except ValueError as reason:
            wrong.append(
                Finding(
                    code="format",
                    message=str(reason),
                    path=f"$.consent[{index}]",
                    help="see how consent is said",
                )
            )
    if wrong:
        raise Invalid.of(wrong)
    return next(value for value in (Consent.OUT, Consent.PENDING, Consent.IN) if value in said)


def _no_consent() -> dict[str, Any]:
    return problems.note(
        "EXEG-0301-200",
        200,
        "No consent",
        "this person does not consent to the collection of events, so the request was ignored",
    )
