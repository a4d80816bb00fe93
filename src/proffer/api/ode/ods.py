"""The decisioning API under its current path (spec 4.1): the sandbox instead of the container.

What a request leaves open, its placements settle: how many offers, whether they may be repeated, and
what the answer tells of them (spec 1.1, 4.2, 4.5). Where the request speaks, it wins.
"""

from collections.abc import Mapping

from starlette.responses import Response

from proffer.api.kit.media import parse_media
from proffer.api.kit.surface import Call, Endpoint, Surface
from proffer.api.ode import translate
from proffer.api.ode.fragments import Wanted, wanted_of
from proffer.api.ode.routes import OdeSurface
from proffer.auth.policy import require
from proffer.auth.principal import Permission
from proffer.model.ids import canonical
from proffer.model.placement import Placement
from proffer.service.customers.profiles import ProfileService
from proffer.service.decisions.decide import DecideService
from proffer.service.library.registry import Libraries
from proffer.wire import ode

PREFIX = "/data/core/ods"

_METADATA: Mapping[str, tuple[str, str]] = {
    "decisionName": ("decision", "name"),
    "placementName": ("placement", "name"),
    "channelType": ("placement", "channel"),
    "contentType": ("placement", "componentType"),
    "offerName": ("option", "name"),
    "offerAttributes": ("option", "characteristics"),
    "offerPriority": ("option", "priority"),
}
"""What each switch of a placement's `returnMetaData` puts into an answer."""


class OdsSurface(OdeSurface):
    """The handler, over the decide service."""

    name = "ods"

    def __init__(
        self, service: DecideService, profiles: ProfileService, libraries: Libraries
    ) -> None:
        super().__init__(service, profiles)
        self._libraries = libraries

    def surface(self) -> Surface:
        """The URL table."""
        line = Endpoint(method="POST", path="/decisions", handler=self.decide)
        return Surface(name=self.name, prefix=PREFIX, endpoints=[line])

    async def decide(self, call: Call) -> Response:
        """POST /decisions: options or a fallback for every scope."""
        require(call.principal, Permission.DECISIONS_EXECUTE)
        body = await call.body()
        # The schema is looked at for what it refuses; there is one generation of requests here.
        translate.is_older(parse_media(call.request.headers.get("content-type")), body)
        asked = translate.request_10(body)
        library = self._libraries.of_sandbox(
            call.principal, call.request.headers.get("x-sandbox-name")
        )
        container = library.container.id
        placements = self._service.placements(
            call.principal, container, [one.placement for one in asked.requests]
        )
        settle(asked, placements)
        return await self.answer_10(
            call, container, asked, lambda placement: wanted(asked.format, placement)
        )


def settle(asked: ode.DecisionRequestDoc, placements: Mapping[str, Placement]) -> None:
    """Write into the request what it leaves open and its placements say."""
    for one in asked.requests:
        placement = placements.get(canonical(one.placement))
        if one.item_count is None and placement is not None:
            one.item_count = placement.item_count
    translate.refuse_many(
        sum(one.item_count or 1 for one in asked.requests), "$.xdm:propositionRequests"
    )
    duplicates = asked.duplicates = asked.duplicates or ode.DuplicatesDoc()
    if duplicates.across_placements is None:
        duplicates.across_placements = all(one.allow_duplicates for one in placements.values())


def wanted(asked: ode.FormatDoc | None, placement: Placement) -> Wanted:
    """What an answer tells of a placement's offers: what the request says, else what the placement does."""
    said = translate.to_wanted(asked)
    content = said.content
    if asked is None or asked.include_content is None:
        content = bool(placement.return_content)
    if asked is not None and asked.include_metadata is not None:
        return wanted_of(content, said.decision, said.placement, said.option)
    told: dict[str, set[str]] = {"decision": set(), "placement": set(), "option": set()}
    for switch, on in (placement.metadata or {}).items():
        if on and switch in _METADATA:
            about, member = _METADATA[switch]
            told[about].add(member)
    return wanted_of(content, *(frozenset(members) for members in told.values()))
