"""The documents of the decisioning API, field for field: requests 0.9 and 1.0, and their answers (spec 4).

Members that no type names are skipped: documented clients send several (R25).
"""

from typing import Annotated, Any, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from proffer.shapes import Anything, Boolean, Integer, ListOf, MapOf, Member, Object, Shape, Text

REQUEST_SCHEMA = "https://ns.adobe.com/experience/offer-management/decision-request"
RESPONSE_SCHEMA = "https://ns.adobe.com/experience/offer-management/decision-response"
XDM_TYPE = "application/vnd.adobe.xdm+json"

MAX_SCOPES = 30
MAX_ITEMS = 30
MAX_OPTIONS = 100

Attributes: TypeAlias = dict[str, Any]


class IdentityDoc(Struct):
    id: Annotated[str, Meta(min_length=1)] = field(name="xdm:id")
    primary: bool = False


IdentityMapDoc: TypeAlias = dict[str, list[IdentityDoc]]


class ContextDoc(Struct):
    type: str = field(name="@type")
    data: dict[str, Any] = field(name="xdm:data", default_factory=dict)


class DuplicatesDoc(Struct):
    across_activities: bool = field(name="xdm:acrossActivities", default=False)
    across_placements: bool = field(name="xdm:acrossPlacements", default=False)


class MetadataDoc(Struct):
    activity: list[str] = field(name="xdm:activity", default_factory=list)
    placement: list[str] = field(name="xdm:placement", default_factory=list)
    option: list[str] = field(name="xdm:option", default_factory=list)


class FormatDoc(Struct):
    include_content: bool = field(name="xdm:includeContent", default=False)
    include_metadata: MetadataDoc = field(name="xdm:includeMetadata", default_factory=MetadataDoc)


class ScopeDoc(Struct):
    activity: str = field(name="xdm:activityId")
    placement: str = field(name="xdm:placementId")
    item_count: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] = field(name="xdm:itemCount", default=1)


class ProfileDoc(Struct):
    identity_map: IdentityMapDoc = field(name="xdm:identityMap")
    attributes: Attributes | None = field(name="xdm:attributes", default=None)
    context_data: list[ContextDoc] = field(name="xdm:contextData", default_factory=list)
    request_id: str | None = field(name="xdm:decisionRequestId", default=None)


class DecisionRequestDoc(Struct):
    """Version 1.0. `attributes` on the profile is ours: an XDM profile document (R31)."""

    requests: Annotated[list[ScopeDoc], Meta(min_length=1, max_length=MAX_SCOPES)] = field(
        name="xdm:propositionRequests"
    )
    profiles: Annotated[list[ProfileDoc], Meta(min_length=1, max_length=1)] = field(
        name="xdm:profiles"
    )
    duplicates: DuplicatesDoc = field(
        name="xdm:allowDuplicatePropositions", default_factory=DuplicatesDoc
    )
    format: FormatDoc = field(name="xdm:responseFormat", default_factory=FormatDoc)
    dry_run: bool = field(name="xdm:dryRun", default=False)


class ActivityDoc(Struct):
    activity: str = field(name="xdm:offerActivity")


class DecisionRequestDoc09(Struct):
    """Version 0.9: decisions without placements. `attributes` is ours, as in 1.0."""

    activities: Annotated[list[ActivityDoc], Meta(min_length=1, max_length=MAX_SCOPES)] = field(
        name="xdm:offerActivities"
    )
    identity_map: IdentityMapDoc = field(name="xdm:identityMap")
    attributes: Attributes | None = field(name="xdm:attributes", default=None)
    context_data: list[ContextDoc] = field(name="xdm:contextData", default_factory=list)
    duplicates: DuplicatesDoc = field(
        name="xdm:allowDuplicatePropositions", default_factory=DuplicatesDoc
    )
    dry_run: bool = field(name="xdm:dryRun", default=False)


_FLAG = Member(Boolean())
_IDENTITIES = MapOf(
    ListOf(Object({"xdm:id": Member(Text(min=1), required=True), "primary": _FLAG}))
)
_CONTEXT = ListOf(
    Object({"@type": Member(Text(), required=True), "xdm:data": Member(MapOf(Anything()))})
)
_DUPLICATES = Object({"xdm:acrossActivities": _FLAG, "xdm:acrossPlacements": _FLAG})
_NAMES = Member(ListOf(Text()))

REQUEST_SHAPE: Shape = Object(
    {
        "xdm:propositionRequests": Member(
            ListOf(
                Object(
                    {
                        "xdm:activityId": Member(Text(), required=True),
                        "xdm:placementId": Member(Text(), required=True),
                        "xdm:itemCount": Member(Integer(min=1, max=MAX_ITEMS)),
                    }
                ),
                1,
                MAX_SCOPES,
            ),
            required=True,
        ),
        "xdm:profiles": Member(
            ListOf(
                Object(
                    {
                        "xdm:identityMap": Member(_IDENTITIES, required=True),
                        "xdm:attributes": Member(MapOf(Anything())),
                        "xdm:contextData": Member(_CONTEXT),
                        "xdm:decisionRequestId": Member(Text()),
                    }
                ),
                1,
                1,
            ),
            required=True,
        ),
        "xdm:allowDuplicatePropositions": Member(_DUPLICATES),
        "xdm:responseFormat": Member(
            Object(
                {
                    "xdm:includeContent": _FLAG,
                    "xdm:includeMetadata": Member(
                        Object(
                            {"xdm:activity": _NAMES, "xdm:placement": _NAMES, "xdm:option": _NAMES}
                        )
                    ),
                }
            )
        ),
        "xdm:dryRun": _FLAG,
    }
)
"""The 1.0 request again, for saying everything that is wrong with one."""

REQUEST_SHAPE_09: Shape = Object(
    {
        "xdm:offerActivities": Member(
            ListOf(Object({"xdm:offerActivity": Member(Text(), required=True)}), 1, MAX_SCOPES),
            required=True,
        ),
        "xdm:identityMap": Member(_IDENTITIES, required=True),
        "xdm:attributes": Member(MapOf(Anything())),
        "xdm:contextData": Member(_CONTEXT),
        "xdm:allowDuplicatePropositions": Member(_DUPLICATES),
        "xdm:dryRun": _FLAG,
    }
)


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
    """An option or a fallback. With content, `content` is always there: strict clients demand it (wire 4.3)."""

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


class CandidateDoc(Struct, omit_defaults=True):
    id: str
    name: str
    stage: str
    reason: str
    rank: int | UnsetType = UNSET
    score: float | UnsetType = UNSET


class TraceDoc(Struct):
    scope: str
    seed: str
    candidates: list[CandidateDoc]


class DecisionResponseDoc(Struct, omit_defaults=True):
    """Version 1.0. The proposition id is spelled both ways (R5); members without prefix are ours."""

    proposition_id: str = field(name="xdm:propositionId")
    proposition_id_too: str = field(name="xdm:propositionID")
    propositions: list[PropositionDoc] = field(name="xdm:propositions")
    factors: dict[str, str] = field(name="xdm:factors")
    created: int = field(name="ode:createDate")
    request_id: str | UnsetType = field(name="xdm:decisionRequestId", default=UNSET)
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
    trace: list[TraceDoc] | UnsetType = UNSET
    errors: list[dict[str, Any]] | UnsetType = UNSET
