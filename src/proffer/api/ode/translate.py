"""Between decision requests and answers on the wire and the model's."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from proffer.api.kit.media import Media, schema_names
from proffer.api.kit.problems import problem
from proffer.api.ode.fragments import Fragments, Wanted, wanted_of
from proffer.errors import Finding, Invalid, Unsupported
from proffer.model.ids import canonical
from proffer.model.outcome import DecisionOutcome, Proposition, UnknownScope
from proffer.model.placement import Placement
from proffer.model.profile import Identity, Profile, without_prefixes
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.model.trace import ScopeTrace
from proffer.service.decisions.decide import (
    SCOPE_HELP,
    SCOPE_NOT_FOUND,
    UNKNOWN_SCOPE,
    Decided,
    Diagnosis,
    OffersOfDecision,
    scope_name,
)
from proffer.wire import ode
from proffer.wire.codec import decode_as
from proffer.wire.scope import encode_scope

_MARK_10 = b'"xdm:propositionRequests"'
_MARK_09 = b'"xdm:offerActivities"'
NOTHING = wanted_of(False, frozenset(), frozenset(), frozenset())
"""The wish of a request that says nothing of its answer: ids and etags."""


def is_older(media: Media, body: bytes) -> bool:
    """Whether the body is a 0.9 request: the schema's version says so, or the body does, or neither says anything.

    Raises `Unsupported` for a schema that is no decision request.
    """
    for name in schema_names(media) if media.parameters else ():
        if name.uri != ode.REQUEST_SCHEMA:
            raise Unsupported(
                f"`{name.uri[:200]}` is no decision request; use `{ode.REQUEST_SCHEMA};version=1.0`",
                code="unknown-schema",
            )
        if name.version is not None:
            return name.version.startswith("0")
    newer, older = _MARK_10 in body, _MARK_09 in body
    if newer != older:
        return older
    # Both names or neither are in it somewhere: look at the members themselves.
    which = decode_as(ode.WhichDoc, body)
    return which.requests is UNSET and (which.activities is not UNSET or which.profiles is UNSET)


def request_10(body: bytes) -> ode.DecisionRequestDoc:
    """A 1.0 request; raises `Invalid` with every mistake in it."""
    document = decode_as(ode.DecisionRequestDoc, body, shape=ode.REQUEST_SHAPE)
    asked = sum([one.item_count or 1 for one in document.requests])
    refuse_many(asked, "$.xdm:propositionRequests")
    return document


def request_09(body: bytes) -> ode.DecisionRequestDoc09:
    """A 0.9 request; raises `Invalid` with every mistake in it."""
    return decode_as(ode.DecisionRequestDoc09, body, shape=ode.REQUEST_SHAPE_09)


def refuse_many(asked: int, path: str) -> None:
    """Raise `Invalid` where more offers are asked for than one answer may hold."""
    if asked > ode.MAX_OPTIONS:
        finding = Finding(
            code="limit",
            message=f"{asked} offers are more than the limit of {ode.MAX_OPTIONS} per answer",
            path=path,
            help="ask for fewer, or send several requests",
        )
        raise Invalid.of([finding])


def to_request(
    scopes: Iterable[ScopeRequest],
    duplicates: ode.DuplicatesDoc | None,
    context: Sequence[ode.ContextDoc] | None,
    languages: Sequence[str],
) -> DecisionRequest:
    by_type = {one.type: without_prefixes(one.data or {}) for one in context or ()}
    event = {name: value for data in by_type.values() for name, value in data.items()}
    return DecisionRequest(
        scopes=tuple(scopes),
        across_decisions=duplicates is not None and bool(duplicates.across_activities),
        across_placements=duplicates is not None and bool(duplicates.across_placements),
        languages=tuple(languages),
        context=by_type,
        event=event or None,
    )


def to_scopes(requests: Sequence[ode.ScopeDoc]) -> list[ScopeRequest]:
    return [
        ScopeRequest(canonical(one.activity), canonical(one.placement), one.item_count or 1)
        for one in requests
    ]


def to_wanted(asked: ode.FormatDoc | None) -> Wanted:
    """What the request says of the answer; names that no object has are ignored."""
    if asked is None:
        return NOTHING
    metadata = asked.include_metadata
    return wanted_of(
        bool(asked.include_content),
        frozenset((metadata and metadata.activity) or ()),
        frozenset((metadata and metadata.placement) or ()),
        frozenset((metadata and metadata.option) or ()),
    )


def to_profile(identities: ode.IdentityMapDoc, attributes: ode.Attributes | None) -> Profile:
    """Who asks. The attributes are those the request brings; without any, the customer is unknown."""
    return Profile(
        identities=tuple(
            [
                Identity(namespace=namespace, id=one.id, primary=bool(one.primary))
                for namespace, listed in identities.items()
                for one in listed
            ]
        ),
        attributes=without_prefixes(attributes) if attributes else {},
        found=attributes is not None,
    )


def response_10(
    decided: Decided,
    wanted: Callable[[Placement], Wanted],
    factors: dict[str, str],
    request_id: str | None,
    paths: Callable[[], Sequence[str]],
    fragments: Fragments,
) -> ode.DecisionResponseDoc:
    """The answer to a 1.0 request. Its propositions are encoded already: joined from what is kept."""
    outcome = decided.outcome
    propositions: list[Any] = [
        fragments.proposition(one, wanted(one.placement))
        for one in outcome.scopes
        if isinstance(one, Proposition)
    ]
    return ode.DecisionResponseDoc(
        proposition_id=decided.proposition_id,
        proposition_id_too=decided.proposition_id,
        propositions=propositions,
        factors=factors,
        created=decided.decided_us // 1000,
        request_id=request_id if request_id is not None else UNSET,
        reservation=_reserved(decided),
        trace=_trace(outcome),
        errors=_errors(outcome, paths),
    )


def response_09(
    decided: Decided, factors: dict[str, str], paths: Callable[[], Sequence[str]]
) -> ode.DecisionResponseDoc09:
    outcome = decided.outcome
    return ode.DecisionResponseDoc09(
        proposition_id=decided.proposition_id,
        propositions=[
            ode.PropositionDoc09(
                activity=one.decision.shown_id,
                scope=encode_scope(
                    one.decision.shown_id,
                    # As documented, it names the decision alone, where that says everything.
                    one.placement.shown_id if len(one.decision.placements) > 1 else None,
                ),
                offers=[choice.offer.shown_id for choice in one.options] or UNSET,
                fallback=one.fallback.offer.shown_id if one.fallback is not None else UNSET,
            )
            for one in outcome.scopes
            if isinstance(one, Proposition)
        ],
        factors=factors,
        reservation=_reserved(decided),
        trace=_trace(outcome),
        errors=_errors(outcome, paths),
    )


def _reserved(decided: Decided) -> ode.ReservedDoc | UnsetType:
    until_us = decided.reserved_until_us
    return UNSET if until_us is None else ode.ReservedDoc(expires=until_us // 1000)


def factors(decided: Decided, profile: Profile) -> dict[str, str]:
    """What influenced the answer: whether the customer and the merge policy are known, offers not for this customer.

    `degraded`, which is ours, says what the decision had to do without.
    """
    outcome = decided.outcome
    found: dict[str, str] = {}
    if decided.without:
        found["degraded"] = decided.without
    if profile.withheld:
        found["xdm:profileResponse"] = "HTTP 503"
    elif not profile.found:
        found["xdm:profileResponse"] = "HTTP 404"
    if not profile.policy_known:
        found["xdm:mergePolicyResponse"] = "HTTP 404"
    if outcome.ineligible:
        found["xdm:numberOfIneligibleOffers"] = str(outcome.ineligible)
    return found


def offers(found: Sequence[OffersOfDecision], href: str) -> dict[str, Any]:
    """The answer of GET /offers; `href` is the absolute address that instance ids are appended to."""

    def reference(entity_id: str, instance_id: str, etag: int) -> dict[str, Any]:
        return {
            "@id": entity_id,
            "_links": {"self": {"href": f"{href}{instance_id}"}},
            "repo:etag": str(etag),
        }

    return {
        "xdm:activityOffers": [
            {
                "xdm:offerActivity": reference(
                    one.decision.shown_id, one.decision.instance_id, one.decision.etag
                ),
                "xdm:offers": [
                    reference(offer.shown_id, offer.instance_id, offer.etag) for offer in one.offers
                ],
                "xdm:fallbackOffer": reference(
                    one.fallback.shown_id, one.fallback.instance_id, one.fallback.etag
                ),
            }
            for one in found
        ]
    }


def diagnostics(diagnosis: Diagnosis, date: str | None, href: str) -> dict[str, Any]:
    """The answer of GET /diagnostics: nothing built, healthy, or the tree of errors (spec 4.7)."""
    if date is None:
        return {"xdm:operations": {}}
    causes = [_fault(one, href) for one in diagnosis.faults]
    errors = [
        {
            "xdm:description": "Error(s) were found in instances related to a live activity",
            "xdm:causes": causes,
        }
    ]
    return {
        "xdm:operations": {
            "xdm:decisioningPackageUpdate": {
                "xdm:date": date,
                "xdm:errors": errors if causes else [],
            }
        }
    }


def _fault(fault: Any, href: str) -> dict[str, Any]:
    document: dict[str, Any] = {"xdm:description": fault.description}
    if fault.id is not None:
        document["xdm:details"] = {
            "@id": fault.id,
            "instanceId": fault.instance_id,
            "href": f"{href}{fault.instance_id}",
            "etag": str(fault.etag),
        }
    if fault.causes:
        document["xdm:causes"] = [_fault(one, href) for one in fault.causes]
    return document


def _scope(one: UnknownScope | ScopeTrace) -> str:
    return encode_scope(one.decision, one.placement or None)


def _trace(outcome: DecisionOutcome) -> Any:
    if outcome.trace is None:
        return UNSET
    return [
        ode.TraceDoc(
            scope=_scope(one),
            seed=one.seed,
            candidates=[
                ode.CandidateDoc(
                    id=verdict.id,
                    name=verdict.name,
                    stage=verdict.stage,
                    reason=verdict.reason,
                    rank=verdict.rank if verdict.rank is not None else UNSET,
                    score=verdict.score if verdict.score is not None else UNSET,
                )
                for verdict in one.candidates
            ],
        )
        for one in outcome.trace
    ]


def _errors(outcome: DecisionOutcome, paths: Callable[[], Sequence[str]]) -> Any:
    """One problem per scope without an answer, for an answer in part; `paths` gives those of all scopes."""
    if not outcome.unknown:
        return UNSET
    found = [
        problem(
            404,
            SCOPE_NOT_FOUND,
            f"The following scope was not found: {scope_name(one)}",
            scope=_scope(one),
            report={
                "violations": [
                    {
                        "code": UNKNOWN_SCOPE,
                        "message": one.reason,
                        "path": path,
                        "help": SCOPE_HELP,
                    }
                ]
            },
        )
        for one, path in zip(outcome.scopes, paths(), strict=True)
        if isinstance(one, UnknownScope)
    ]
    return found or UNSET
