"""Documents of the decisioning API: requests 0.9 and 1.0, and their responses (spec 4).

Unknown members are skipped, as documented clients send several (R25).
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from proffer.validation import (
    AnyShape,
    BooleanShape,
    IntegerShape,
    ListShape,
    MapShape,
    Member,
    NullShape,
    ObjectShape,
    OneOfShape,
    Shape,
    TextShape,
)

REQUEST_SCHEMA = "https://ns.adobe.com/experience/offer-management/decision-request"
RESPONSE_SCHEMA = "https://ns.adobe.com/experience/offer-management/decision-response"
XDM_TYPE = "application/vnd.adobe.xdm+json"

MAX_SCOPES = 30
MAX_ITEMS = 30
MAX_OPTIONS = 100
MAX_RESERVED_S = 90 * 86_400
"""Maximum lifetime of a reservation in seconds: 90 days."""

Attributes: TypeAlias = dict[str, Any]

# Requests. An optional member may be null, which means the same as omitting it.


class IdentityDoc(Struct):
    id: Annotated[str, Meta(min_length=1)] = field(name="xdm:id")
    primary: bool | None = None


IdentityMapDoc: TypeAlias = dict[str, list[IdentityDoc]]


class ContextDoc(Struct):
    type: str = field(name="@type")
    data: dict[str, Any] | None = field(name="xdm:data", default=None)


class DuplicatesDoc(Struct):
    across_activities: bool | None = field(name="xdm:acrossActivities", default=None)
    across_placements: bool | None = field(name="xdm:acrossPlacements", default=None)


class MetadataDoc(Struct):
    activity: list[str] | None = field(name="xdm:activity", default=None)
    placement: list[str] | None = field(name="xdm:placement", default=None)
    option: list[str] | None = field(name="xdm:option", default=None)


class MergePolicyDoc(Struct):
    id: str | None = field(name="xdm:id", default=None)


class ReservationDoc(Struct):
    """A Proffer extension: hold the counts for `ttl` seconds, unless confirmed."""

    ttl: Annotated[int, Meta(ge=1, le=MAX_RESERVED_S)] = field(name="xdm:ttl")


class FormatDoc(Struct):
    include_content: bool | None = field(name="xdm:includeContent", default=None)
    include_metadata: MetadataDoc | None = field(name="xdm:includeMetadata", default=None)


class ScopeDoc(Struct):
    activity: str = field(name="xdm:activityId")
    placement: str = field(name="xdm:placementId")
    item_count: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] | None = field(name="xdm:itemCount", default=None)


class ProfileDoc(Struct):
    identity_map: IdentityMapDoc = field(name="xdm:identityMap")
    attributes: Attributes | None = field(name="xdm:attributes", default=None)
    context_data: list[ContextDoc] | None = field(name="xdm:contextData", default=None)
    request_id: str | None = field(name="xdm:decisionRequestId", default=None)
    validate_context: bool | None = field(name="xdm:validateContextData", default=None)


class DecisionRequestDoc(Struct):
    """Version 1.0. `attributes` is a Proffer extension: an XDM profile document (R31)."""

    requests: Annotated[list[ScopeDoc], Meta(min_length=1, max_length=MAX_SCOPES)] = field(
        name="xdm:propositionRequests"
    )
    profiles: Annotated[list[ProfileDoc], Meta(min_length=1, max_length=1)] = field(name="xdm:profiles")
    duplicates: DuplicatesDoc | None = field(name="xdm:allowDuplicatePropositions", default=None)
    format: FormatDoc | None = field(name="xdm:responseFormat", default=None)
    dry_run: bool | None = field(name="xdm:dryRun", default=None)
    reservation: ReservationDoc | None = field(name="xdm:reservation", default=None)
    merge_policy: MergePolicyDoc | None = field(name="xdm:mergePolicy", default=None)
    enriched_audience: bool | None = field(name="xdm:enrichedAudience", default=None)
    validate_context: bool | None = field(name="xdm:validateContextData", default=None)


class ActivityDoc(Struct):
    activity: str = field(name="xdm:offerActivity")


class DecisionRequestDoc09(Struct):
    """Version 0.9: decisions without placements. `attributes` is a Proffer extension."""

    activities: Annotated[list[ActivityDoc], Meta(min_length=1, max_length=MAX_SCOPES)] = field(
        name="xdm:offerActivities"
    )
    identity_map: IdentityMapDoc = field(name="xdm:identityMap")
    attributes: Attributes | None = field(name="xdm:attributes", default=None)
    context_data: list[ContextDoc] | None = field(name="xdm:contextData", default=None)
    duplicates: DuplicatesDoc | None = field(name="xdm:allowDuplicatePropositions", default=None)
    dry_run: bool | None = field(name="xdm:dryRun", default=None)
    reservation: ReservationDoc | None = field(name="xdm:reservation", default=None)
    validate_context: bool | None = field(name="xdm:validateContextData", default=None)


class WhichDoc(Struct):
    """The members that tell the two versions apart."""

    requests: Raw | UnsetType = field(name="xdm:propositionRequests", default=UNSET)
    profiles: Raw | UnsetType = field(name="xdm:profiles", default=UNSET)
    activities: Raw | UnsetType = field(name="xdm:offerActivities", default=UNSET)


# Shapes of the same requests, to report every violation.


def _optional(shape: Shape) -> Member:
    return Member(OneOfShape([shape, NullShape()]))


_FLAG = _optional(BooleanShape())
_IDENTITIES = MapShape(ListShape(ObjectShape({"xdm:id": Member(TextShape(min=1), required=True), "primary": _FLAG})))
_ATTRIBUTES = _optional(MapShape(AnyShape()))
_CONTEXT = _optional(ListShape(ObjectShape({"@type": Member(TextShape(), required=True), "xdm:data": _ATTRIBUTES})))
_DUPLICATES = _optional(ObjectShape({"xdm:acrossActivities": _FLAG, "xdm:acrossPlacements": _FLAG}))
_RESERVATION = _optional(ObjectShape({"xdm:ttl": Member(IntegerShape(min=1, max=MAX_RESERVED_S), required=True)}))
_NAMES = _optional(ListShape(TextShape()))
_METADATA = ObjectShape({"xdm:activity": _NAMES, "xdm:placement": _NAMES, "xdm:option": _NAMES})
_SCOPE = ObjectShape(
    {
        "xdm:activityId": Member(TextShape(), required=True),
        "xdm:placementId": Member(TextShape(), required=True),
        "xdm:itemCount": _optional(IntegerShape(min=1, max=MAX_ITEMS)),
    }
)
_PROFILE = ObjectShape(
    {
        "xdm:identityMap": Member(_IDENTITIES, required=True),
        "xdm:attributes": _ATTRIBUTES,
        "xdm:contextData": _CONTEXT,
        "xdm:decisionRequestId": _optional(TextShape()),
        "xdm:validateContextData": _FLAG,
    }
)

REQUEST_SHAPE: Shape = ObjectShape(
    {
        "xdm:propositionRequests": Member(ListShape(_SCOPE, 1, MAX_SCOPES), required=True),
        "xdm:profiles": Member(ListShape(_PROFILE, 1, 1), required=True),
        "xdm:allowDuplicatePropositions": _DUPLICATES,
        "xdm:responseFormat": _optional(
            ObjectShape({"xdm:includeContent": _FLAG, "xdm:includeMetadata": _optional(_METADATA)})
        ),
        "xdm:dryRun": _FLAG,
        "xdm:reservation": _RESERVATION,
        "xdm:mergePolicy": _optional(ObjectShape({"xdm:id": _optional(TextShape())})),
        "xdm:enrichedAudience": _FLAG,
        "xdm:validateContextData": _FLAG,
    }
)

REQUEST_SHAPE_09: Shape = ObjectShape(
    {
        "xdm:offerActivities": Member(
            ListShape(
                ObjectShape({"xdm:offerActivity": Member(TextShape(), required=True)}),
                1,
                MAX_SCOPES,
            ),
            required=True,
        ),
        "xdm:identityMap": Member(_IDENTITIES, required=True),
        "xdm:attributes": _ATTRIBUTES,
        "xdm:contextData": _CONTEXT,
        "xdm:allowDuplicatePropositions": _DUPLICATES,
        "xdm:dryRun": _FLAG,
        "xdm:reservation": _RESERVATION,
        "xdm:validateContextData": _FLAG,
    }
)

# Responses.

OFFER_PROPOSITIONS = "https://ns.adobe.com/experience/offer-management/offer-propositions"
"""The metric of `GET /metrics`."""


def offer_propositions(count: int, by_channel: Mapping[str, int]) -> dict[str, Any]:
    """Return the response of `GET /metrics`."""
    channels = [{"xdm:channel": channel, "xdm:usage": usage} for channel, usage in by_channel.items()]
    return {"xdm:metrics": {OFFER_PROPOSITIONS: {"xdm:value": count}, "xdm:channels": channels}}


class ActivityRef(Struct, omit_defaults=True):
    id: str = field(name="xdm:id")
    etag: str = field(name="repo:etag")
    name: str | UnsetType = field(name="xdm:name", default=UNSET)


class PlacementRef(Struct, omit_defaults=True):
    id: str = field(name="xdm:id")
    etag: str = field(name="repo:etag")
    name: str | UnsetType = field(name="xdm:name", default=UNSET)
    channel: str | UnsetType = field(name="xdm:channel", default=UNSET)
    component_type: str | UnsetType = field(name="xdm:componentType", default=UNSET)


class OptionDoc(Struct, omit_defaults=True):
    """An option or a fallback. With content, `content` is always present: strict clients require it (wire 4.3)."""

    id: str = field(name="xdm:id")
    etag: str = field(name="repo:etag")
    name: str | UnsetType = field(name="xdm:name", default=UNSET)
    priority: int | UnsetType = field(name="xdm:priority", default=UNSET)
    characteristics: dict[str, str] | UnsetType = field(name="xdm:characteristics", default=UNSET)
    type: str | UnsetType = field(name="@type", default=UNSET)
    format: str | UnsetType = field(name="dc:format", default=UNSET)
    language: list[str] | UnsetType = field(name="dc:language", default=UNSET)
    content: str | UnsetType = field(name="xdm:content", default=UNSET)
    delivery_url: str | UnsetType = field(name="xdm:deliveryURL", default=UNSET)
    link_url: str | UnsetType = field(name="xdm:linkURL", default=UNSET)
    score: float | UnsetType = field(name="xdm:score", default=UNSET)


class PropositionDoc(Struct, omit_defaults=True):
    activity: ActivityRef = field(name="xdm:activity")
    placement: PlacementRef = field(name="xdm:placement")
    scope: str = field(name="xdm:scope")
    options: list[OptionDoc] | UnsetType = field(name="xdm:options", default=UNSET)
    fallback: OptionDoc | UnsetType = field(name="xdm:fallback", default=UNSET)


class NamedDoc(Struct, gc=False):
    id: str
    name: str


class RuleFailureDoc(Struct, omit_defaults=True, gc=False):
    rule: NamedDoc
    tests: Any = UNSET


class AudienceDoc(Struct, omit_defaults=True, gc=False):
    id: str
    namespace: str
    name: str | UnsetType = UNSET


class CapDoc(Struct, omit_defaults=True, gc=False):
    name: str
    limit: int
    used: int
    per: str
    resets_at: str | UnsetType = field(name="resetsAt", default=UNSET)


class WindowDoc(Struct, omit_defaults=True, gc=False):
    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET


class ByDoc(Struct, omit_defaults=True, gc=False):
    """What ranked an offer: priority or formula; or the earlier scope that was given it."""

    priority: int | UnsetType = UNSET
    formula: NamedDoc | UnsetType = UNSET
    decision: NamedDoc | UnsetType = UNSET
    placement: NamedDoc | UnsetType = UNSET


class CandidateDoc(Struct, omit_defaults=True, gc=False):
    """A candidate of a trace: the stage at which it was excluded, and the reason as a sentence and in parts."""

    id: str
    name: str
    stage: str
    reason: str
    rank: int | UnsetType = UNSET
    score: float | UnsetType = UNSET
    rule: NamedDoc | UnsetType = UNSET
    tests: Any = UNSET
    other_rules: list[RuleFailureDoc] | UnsetType = field(name="otherRules", default=UNSET)
    audience: AudienceDoc | UnsetType = UNSET
    audiences: list[AudienceDoc] | UnsetType = UNSET
    cap: CapDoc | UnsetType = UNSET
    window: WindowDoc | UnsetType = UNSET
    by: ByDoc | UnsetType = UNSET


class TraceDoc(Struct, omit_defaults=True):
    scope: str
    seed: str
    candidates: list[CandidateDoc]
    warnings: list[str] | UnsetType = UNSET


class ReservedDoc(Struct):
    """When the reservation expires, in milliseconds since 1970."""

    expires: int = field(name="xdm:expires")


class DecisionResponseDoc(Struct, omit_defaults=True):
    """Version 1.0. The proposition id has two spellings (R5); members without prefix are Proffer extensions."""

    proposition_id: str = field(name="xdm:propositionId")
    proposition_id_too: str = field(name="xdm:propositionID")
    propositions: list[PropositionDoc] = field(name="xdm:propositions")
    factors: dict[str, str] = field(name="xdm:factors")
    created: int = field(name="ode:createDate")
    request_id: str | UnsetType = field(name="xdm:decisionRequestId", default=UNSET)
    reservation: ReservedDoc | UnsetType = field(name="xdm:reservation", default=UNSET)
    trace: list[TraceDoc] | UnsetType = UNSET
    errors: list[dict[str, Any]] | UnsetType = UNSET


class PropositionDoc09(Struct, omit_defaults=True):
    activity: str = field(name="xdm:offerActivity")
    scope: str = field(name="xdm:scope")
    offers: list[str] | UnsetType = field(name="xdm:offers", default=UNSET)
    fallback: str | UnsetType = field(name="xdm:fallbackOffer", default=UNSET)


class DecisionResponseDoc09(Struct, omit_defaults=True):
    proposition_id: str = field(name="xdm:propositionID")
    propositions: list[PropositionDoc09] = field(name="xdm:propositions")
    factors: dict[str, str] = field(name="xdm:factors")
    reservation: ReservedDoc | UnsetType = field(name="xdm:reservation", default=UNSET)
    trace: list[TraceDoc] | UnsetType = UNSET
    errors: list[dict[str, Any]] | UnsetType = UNSET
