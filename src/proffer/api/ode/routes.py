"""The decisioning API: decisions, what they may offer, and what is wrong with them (spec 4, R4 to R8)."""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import Response

from proffer.api.kit.languages import languages
from proffer.api.kit.media import parse_accept, parse_media
from proffer.api.kit.request import Answer
from proffer.api.kit.surface import Call, Endpoint, Surface
from proffer.api.ode import translate
from proffer.api.ode.fragments import Fragments, Wanted
from proffer.errors import Malformed
from proffer.model.instance import timestamp
from proffer.model.placement import Placement
from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest
from proffer.service.customers.profiles import ProfileService
from proffer.service.decisions.decide import Decided, DecideService, ScopesNotFound
from proffer.wire import ode
from proffer.wire.codec import encode

PREFIX = "/data/core/ode"
_REPOSITORY = "/data/core/xcore"


class OdeSurface:
    """The handlers, over the decide service and what is known of customers."""

    name = "ode"

    def __init__(self, service: DecideService, profiles: ProfileService) -> None:
        self._service = service
        self._profiles = profiles
        self._fragments = Fragments()

    def surface(self) -> Surface:
        """The URL table."""
        table = [
            ("POST", "/{container}/decisions", self.decide),
            ("GET", "/{container}/offers", self.offers),
            ("GET", "/{container}/diagnostics", self.diagnostics),
        ]
        return Surface(
            name=self.name,
            prefix=PREFIX,
            endpoints=[
                Endpoint(method=method, path=path, handler=handler)
                for method, path, handler in table
            ],
        )

    async def decide(self, call: Call) -> Response:
        """POST /decisions: options or a fallback for every scope."""
        self._service.admit(call.principal, call.container)
        body = await call.body()
        if translate.is_older(parse_media(call.header(b"content-type")), body):
            return await self._decide_09(call, body)
        return await self._decide_10(call, body)

    async def _decide_10(self, call: Call, body: bytes) -> Response:
        asked = translate.request_10(body)
        wanted = translate.to_wanted(asked.format)
        return await self.answer_10(call, call.container, asked, lambda _: wanted)

    async def answer_10(
        self,
        call: Call,
        container: str,
        asked: ode.DecisionRequestDoc,
        wanted: Callable[[Placement], Wanted],
    ) -> Response:
        """The answer to a 1.0 request; `wanted` says what it tells of each placement's offers."""
        who = asked.profiles[0]
        if asked.validate_context or who.validate_context:
            self._validate(call, container, who.context_data, "$.xdm:profiles[0].xdm:contextData")
        profile = await self._profiles.asked_for(
            call.principal,
            container,
            translate.to_profile(who.identity_map, who.attributes),
            asked.merge_policy.id if asked.merge_policy is not None else None,
            at="$.xdm:profiles[0].xdm:identityMap",
        )
        request = translate.to_request(
            translate.to_scopes(asked.requests),
            asked.duplicates,
            who.context_data,
            _languages(call, profile),
        )

        def paths() -> list[str]:
            return [f"$.xdm:propositionRequests[{index}]" for index in range(len(asked.requests))]

        decided = await self._ask(call, container, request, profile, paths, asked)
        document = translate.response_10(
            decided,
            wanted,
            translate.factors(decided, profile),
            who.request_id,
            paths,
            self._fragments,
        )
        return _answer(call, decided, document, "1.0")

    async def _decide_09(self, call: Call, body: bytes) -> Response:
        asked = translate.request_09(body)
        if asked.validate_context:
            self._validate(call, call.container, asked.context_data, "$.xdm:contextData")
        profile = await self._profiles.asked_for(
            call.principal,
            call.container,
            translate.to_profile(asked.identity_map, asked.attributes),
        )
        scopes = self._service.scopes_of(
            call.principal, call.container, [one.activity for one in asked.activities]
        )
        paths = [
            f"$.xdm:offerActivities[{index}]"
            for index, of_decision in enumerate(scopes)
            for _ in of_decision
        ]
        translate.refuse_many(len(paths), "$.xdm:offerActivities")
        request = translate.to_request(
            [scope for of_decision in scopes for scope in of_decision],
            asked.duplicates,
            asked.context_data,
            _languages(call, profile),
        )
        decided = await self._ask(call, call.container, request, profile, lambda: paths, asked)
        document = translate.response_09(
            decided, translate.factors(decided, profile), lambda: paths
        )
        return _answer(call, decided, document, "0.9")

    def _validate(
        self, call: Call, container: str, data: Sequence[ode.ContextDoc] | None, path: str
    ) -> None:
        entries = [(one.type, one.data or {}) for one in data or ()]
        self._service.validate_context(call.principal, container, entries, path)

    async def _ask(
        self,
        call: Call,
        container: str,
        request: DecisionRequest,
        profile: Profile,
        paths: Callable[[], Sequence[str]],
        asked: ode.DecisionRequestDoc | ode.DecisionRequestDoc09,
    ) -> Decided:
        request_id = (
            asked.profiles[0].request_id if isinstance(asked, ode.DecisionRequestDoc) else None
        )
        try:
            return await self._service.decide(
                call.principal,
                container,
                request,
                profile,
                surface=self.name,
                explain=call.flag("explain"),
                partial=call.flag("partial"),
                dry_run=bool(asked.dry_run),
                reserve_us=asked.reservation.ttl * 1_000_000 if asked.reservation else None,
                request_id=request_id,
            )
        except ScopesNotFound as error:
            raise error.at(paths()) from None

    async def offers(self, call: Call) -> Response:
        """GET /offers?activityId=…: what live decisions may propose, with etags that tell whether a change arrived."""
        decisions = call.request.query_params.getlist("activityId")
        if not 1 <= len(decisions) <= ode.MAX_SCOPES:
            raise Malformed(
                f"name 1 to {ode.MAX_SCOPES} decisions: `?activityId=…`", code="bad-parameter"
            )
        found = self._service.offers(call.principal, call.container, decisions)
        return _json(translate.offers(found, _instances(call)))

    async def diagnostics(self, call: Call) -> Response:
        """GET /diagnostics: when the library last came into force, and what is broken in it."""
        diagnosis = self._service.diagnose(call.principal, call.container)
        published = diagnosis.published_us
        date = timestamp(published) if published is not None else None
        return _json(translate.diagnostics(diagnosis, date, _instances(call)))


def _instances(call: Call) -> str:
    """The absolute address of this container's instances; an instance id is appended to it."""
    return f"{call.origin}{_REPOSITORY}/{call.container.lower()}/instances/"


def _languages(call: Call, profile: Profile) -> list[str]:
    return languages(call.header(b"accept-language"), profile.attributes)


def _answer(call: Call, decided: Decided, document: Any, version: str) -> Response:
    """The answer, as the documented media type where the Accept header names it, else as plain JSON."""
    media_type = b"application/json"
    if ode.XDM_TYPE in [one.type for one in parse_accept(call.header(b"accept"))]:
        media_type = f'{ode.XDM_TYPE}; schema="{ode.RESPONSE_SCHEMA};version={version}"'.encode()
    return Answer(encode(document), 207 if decided.outcome.unknown else 200, media_type)


def _json(document: Any) -> Response:
    return Answer(encode(document))
