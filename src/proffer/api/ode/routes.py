"""Routes and handlers of the decisioning API (spec 4, R4 to R8)."""

from collections.abc import Callable

from msgspec import structs
from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.languages import preferred_languages
from proffer.api.kit.media_types import parse_accept, parse_content_type
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.kit.request import BytesResponse
from proffer.api.kit.warnings import warning_headers
from proffer.api.ode import translate
from proffer.api.ode.fragments import FieldSelection, OdeFragments
from proffer.api.ode.openapi import OPERATIONS
from proffer.auth.principal import Permission
from proffer.errors import Malformed
from proffer.model.placement import Placement
from proffer.service.customers.profiles import ProfileService
from proffer.service.decisions.decide import DecideService
from proffer.service.decisions.diagnose import diagnose
from proffer.service.decisions.unknown_scopes import ScopesNotFound
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire import ode
from proffer.wire.codec import encode

PREFIX = "/data/core/ode"
_XCORE_PREFIX = "/data/core/xcore"


class OdeRoutes:
    """Routes and handlers over the decide and profile services."""

    name = "ode"

    def __init__(self, service: DecideService, profiles: ProfileService, registry: ContainerRegistry) -> None:
        self._service = service
        self._profiles = profiles
        self._registry = registry
        self._fragments = OdeFragments()

    def surface(self) -> Surface:
        permission = Permission.DECISIONS_EXECUTE
        table: list[RouteSpec] = [
            ("decide", permission, self.decide),
            ("listOffers", permission, self.offers),
            ("getDiagnostics", permission, self.diagnostics),
            ("getOfferMetrics", permission, self.metrics),
        ]
        return Surface(
            name=self.name,
            prefix=PREFIX,
            endpoints=OperationRoutes(OPERATIONS, PREFIX).in_container(self._registry, table),
        )

    async def decide(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /decisions: options or a fallback for every scope."""
        media = parse_content_type(call.header(b"content-type"))
        request = translate.read(media, await call.body())
        sees_writes = request.is_older or await self._service.see_scopes(
            access, request.scopes, partial=call.flag("partial")
        )
        selection = request.selection
        return await self.decide_and_respond(call, access, request, lambda _: selection, sees_writes=sees_writes)

    async def decide_and_respond(
        self,
        call: ApiCall,
        access: AuthorizedContainer,
        request: translate.DecisionInput,
        selection: Callable[[Placement], FieldSelection],
        *,
        sees_writes: bool,
    ) -> Response:
        """Decide and respond; `selection` returns the response fields of a placement's offers.

        `sees_writes`: what `DecideService.see_scopes` returned.
        """
        if request.context_entries is not None:
            request.warnings += self._service.validate_context(access, request.context_entries, request.context_path)
        profile = await self._profiles.resolve(access, request.profile, request.policy_id, path=request.profile_path)
        if request.is_older:
            request.expand(await self._service.scopes_of(access, request.decisions))
        try:
            result = await self._service.decide(
                access,
                request.request(preferred_languages(call.header(b"accept-language"), profile.attributes)),
                profile,
                surface=self.name,
                explain=call.flag("explain"),
                partial=call.flag("partial"),
                dry_run=request.dry_run,
                reserve_us=request.reserve_us,
                request_id=request.request_id,
            )
        except ScopesNotFound as error:
            raise error.at(request.paths, request.sent_ids) from None
        if not sees_writes:
            result = structs.replace(result, misses_writes=True)
        body = translate.write(result, request, profile, self._fragments, selection)
        status = 207 if result.outcome.unknown_scopes else 200
        response = BytesResponse(body, status, _media_type(call, request))
        if request.warnings:
            response.headers.update(warning_headers(request.warnings))
        return response

    async def offers(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /offers?activityId=…: offers of live decisions, with etags that show published changes."""
        decisions = call.request.query_params.getlist("activityId")
        if not 1 <= len(decisions) <= ode.MAX_SCOPES:
            raise Malformed(f"name 1 to {ode.MAX_SCOPES} decisions: `?activityId=…`", code="bad-parameter")
        offers = await self._service.offers(access, decisions)
        return BytesResponse(translate.write_offers(offers, _instances_url(call, access)))

    async def diagnostics(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /diagnostics: when the library was last published, and its errors."""
        diagnosis = await diagnose(access.state)
        return BytesResponse(translate.write_diagnostics(diagnosis, _instances_url(call, access)))

    async def metrics(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /metrics?metric=…&id=…: how often an offer was proposed."""
        query = call.request.query_params
        if query.get("metric") != ode.OFFER_PROPOSITIONS:
            raise Malformed(f"`metric` must be `{ode.OFFER_PROPOSITIONS}`", code="bad-parameter")
        offer_id = query.get("id")
        if not offer_id:
            raise Malformed("`id` is missing: give the `@id` of an offer", code="bad-parameter")
        usage = await self._service.offer_usage(access, offer_id)
        return BytesResponse(encode(ode.offer_propositions(usage.propositions, usage.by_channel)))


def _instances_url(call: ApiCall, access: AuthorizedContainer) -> str:
    """Return the absolute URL to which the container's instance ids are appended."""
    return f"{call.origin}{_XCORE_PREFIX}/{access.id}/instances/"


def _media_type(call: ApiCall, request: translate.DecisionInput) -> bytes:
    """Return the documented media type if accepted, else plain JSON."""
    if ode.XDM_TYPE not in [media.type for media in parse_accept(call.header(b"accept"))]:
        return b"application/json"
    version = "0.9" if request.is_older else "1.0"
    return f'{ode.XDM_TYPE}; schema="{ode.RESPONSE_SCHEMA};version={version}"'.encode()
