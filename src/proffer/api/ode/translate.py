"""Translate decision requests and outcomes to and from both wire versions."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from proffer.api.kit.fragments import candidate_documents
from proffer.api.kit.media_types import MediaType, schema_names
from proffer.api.kit.problems import problem, violation
from proffer.api.ode.fragments import FieldSelection, OdeFragments, field_selection
from proffer.errors import Invalid, Unsupported, Violation
from proffer.model.ids import canonical
from proffer.model.instance import format_timestamp
from proffer.model.outcome import DecisionOutcome, Proposition, UnknownScope
from proffer.model.placement import Placement
from proffer.model.profile import Profile, ProfileIdentity, without_prefixes
from proffer.model.request import DecisionRequest, RequestedScope, ScopeRequest
from proffer.model.trace import ScopeTrace
from proffer.service.decisions.decide import DecisionResult, OffersOfDecision
from proffer.service.decisions.diagnose import Diagnosis
from proffer.service.decisions.unknown_scopes import (
    SCOPE_NOT_FOUND,
    SCOPE_UNREAD,
    ScopeIds,
    as_sent,
    not_found_message,
    scope_name,
    scope_violation,
    unread_message,
)
from proffer.wire import ode
from proffer.wire.codec import decode_as, decode_with_warnings, encode
from proffer.wire.scope import encode_scope

_MARK_10 = b'"xdm:propositionRequests"'
_MARK_09 = b'"xdm:offerActivities"'
_NO_METADATA = (frozenset[str](), frozenset[str](), frozenset[str]())


class DecisionInput(Struct):
    """A decision request of either version, as input of the use cases.

    `scopes` is empty for version 0.9 until `expand`; `owners` then has the index of each scope's
    decision in the request. `across_placements`, a scope's `item_count`, `content` and `metadata`
    (members of decisions, placements and options) are None if the request leaves them open.
    `context_entries` are to be validated; their JSON path is `context_path`. `warnings` are about accepted
    members that have no effect.
    """

    is_older: bool
    profile: Profile
    profile_path: str
    scopes: list[RequestedScope]
    across_decisions: bool
    across_placements: bool | None
    context: dict[str, dict[str, Any]]
    dry_run: bool
    reserve_us: int | None
    context_path: str
    context_entries: list[tuple[str, dict[str, Any]]] | None = None
    policy_id: str | None = None
    request_id: str | None = None
    content: bool | None = None
    metadata: tuple[frozenset[str], frozenset[str], frozenset[str]] | None = None
    requests: Sequence[ode.ScopeDoc] = ()
    decisions: list[str] = []
    owners: list[int] = []
    warnings: list[Violation] = []

    @property
    def selection(self) -> FieldSelection:
        """The response fields, without defaults of placements."""
        return field_selection(bool(self.content), *(self.metadata or _NO_METADATA))

    @property
    def paths(self) -> list[str]:
        """The JSON path of each scope."""
        if self.is_older:
            return [f"$.xdm:offerActivities[{index}]" for index in self.owners]
        return [f"$.xdm:propositionRequests[{index}]" for index in range(len(self.scopes))]

    @property
    def sent_ids(self) -> list[ScopeIds]:
        """The ids of each scope as the client spelled them."""
        if self.is_older:
            return [
                (self.decisions[owner], scope.placement) for owner, scope in zip(self.owners, self.scopes, strict=True)
            ]
        return [(scope.activity, scope.placement) for scope in self.requests]

    def expand(self, scopes: Sequence[Sequence[RequestedScope]]) -> None:
        """Set the scopes of each decision of a 0.9 request. Raises `Invalid` for too many."""
        self.owners = [index for index, group in enumerate(scopes) for _ in group]
        self.scopes = [scope for group in scopes for scope in group]
        self.check_option_count()

    def check_option_count(self) -> None:
        """Raise `Invalid` where more offers are requested than one answer may hold."""
        count = sum([scope.item_count or 1 for scope in self.scopes])
        if count > ode.MAX_OPTIONS:
            finding = Violation(
                code="limit",
                message=f"{count} offers exceed the limit of {ode.MAX_OPTIONS} per answer",
                path="$.xdm:offerActivities" if self.is_older else "$.xdm:propositionRequests",
                help="ask for fewer, or send several requests",
            )
            raise Invalid.of([finding])

    def request(self, languages: Sequence[str]) -> DecisionRequest:
        """Return the request for the decide service, with the customer's languages."""
        event = {name: value for data in self.context.values() for name, value in data.items()}
        return DecisionRequest(
            scopes=tuple(
                [ScopeRequest(scope.decision, scope.placement, scope.item_count or 1) for scope in self.scopes]
            ),
            across_decisions=self.across_decisions,
            across_placements=bool(self.across_placements),
            languages=tuple(languages),
            context=self.context,
            event=event or None,
        )


def read(media: MediaType, body: bytes, *, newest_only: bool = False) -> DecisionInput:
    """Parse a decision request of version 1.0 or 0.9.

    Raises `Unsupported` for another schema and `Invalid` with every mistake of the document.
    """
    if _is_older(media, body) and not newest_only:
        return _read_09(body)
    return _read_10(body)


def write(
    result: DecisionResult,
    request: DecisionInput,
    profile: Profile,
    fragments: OdeFragments,
    selection: Callable[[Placement], FieldSelection],
) -> bytes:
    """Encode the answer in the version of the request."""
    if request.is_older:
        return encode(_write_09(result, request, profile))
    return encode(_write_10(result, request, profile, fragments, selection))


def write_offers(decisions: Sequence[OffersOfDecision], href: str) -> bytes:
    """Encode the offers of decisions; `href` is the URL that instance ids are appended to."""

    def reference(entity_id: str, instance_id: str, etag: int) -> dict[str, Any]:
        return {
            "@id": entity_id,
            "_links": {"self": {"href": f"{href}{instance_id}"}},
            "repo:etag": str(etag),
        }

    document = {
        "xdm:activityOffers": [
            {
                "xdm:offerActivity": reference(
                    decision_offers.decision.public_id,
                    decision_offers.decision.instance_id,
                    decision_offers.decision.etag,
                ),
                "xdm:offers": [
                    reference(offer.public_id, offer.instance_id, offer.etag) for offer in decision_offers.offers
                ],
                "xdm:fallbackOffer": reference(
                    decision_offers.fallback.public_id,
                    decision_offers.fallback.instance_id,
                    decision_offers.fallback.etag,
                ),
            }
            for decision_offers in decisions
        ]
    }
    return encode(document)


def write_diagnostics(diagnosis: Diagnosis, href: str) -> bytes:
    """Encode a library's diagnostics as a tree of errors (spec 4.7)."""
    if diagnosis.published_us is None:
        return encode({"xdm:operations": {}})
    causes = [_diagnostic_document(diagnostic, href) for diagnostic in diagnosis.diagnostics]
    errors = [
        {
            "xdm:description": "Error(s) were found in instances related to a live activity",
            "xdm:causes": causes,
        }
    ]
    update = {
        "xdm:date": format_timestamp(diagnosis.published_us),
        "xdm:errors": errors if causes else [],
    }
    return encode({"xdm:operations": {"xdm:decisioningPackageUpdate": update}})


def _is_older(media: MediaType, body: bytes) -> bool:
    """Return whether the body is a 0.9 request, by schema or members.

    Raises `Unsupported` for a schema that is not a decision request.
    """
    for name in schema_names(media) if media.parameters else ():
        if name.uri != ode.REQUEST_SCHEMA:
            raise Unsupported(
                f"`{name.uri[:200]}` is not a decision request; use `{ode.REQUEST_SCHEMA};version=1.0`",
                code="unknown-schema",
            )
        if name.version is not None:
            return name.version.startswith("0")
    newer, older = _MARK_10 in body, _MARK_09 in body
    if newer != older:
        return older
    # The body contains both names or neither: look at the top-level members.
    members = decode_as(ode.WhichDoc, body)
    return members.requests is UNSET and (members.activities is not UNSET or members.profiles is UNSET)


def _read_10(body: bytes) -> DecisionInput:
    document, warnings = decode_with_warnings(ode.DecisionRequestDoc, body, ode.REQUEST_SHAPE)
    customer, format_, duplicates = document.profiles[0], document.format, document.duplicates
    metadata = format_.include_metadata if format_ is not None else None
    request = DecisionInput(
        is_older=False,
        profile=_profile(customer.identity_map, customer.attributes),
        profile_path="$.xdm:profiles[0].xdm:identityMap",
        scopes=[
            RequestedScope(canonical(scope.activity), canonical(scope.placement), scope.item_count)
            for scope in document.requests
        ],
        requests=document.requests,
        across_decisions=duplicates is not None and bool(duplicates.across_activities),
        across_placements=duplicates.across_placements if duplicates is not None else None,
        context=_context(customer.context_data),
        dry_run=bool(document.dry_run),
        reserve_us=_reserve_us(document.reservation),
        context_path="$.xdm:profiles[0].xdm:contextData",
        policy_id=document.merge_policy.id if document.merge_policy is not None else None,
        request_id=customer.request_id,
        warnings=warnings,
        content=format_.include_content if format_ is not None else None,
        metadata=None
        if metadata is None
        else (
            frozenset(metadata.activity or ()),
            frozenset(metadata.placement or ()),
            frozenset(metadata.option or ()),
        ),
    )
    if document.validate_context or customer.validate_context:
        request.context_entries = _context_entries(customer.context_data)
    request.check_option_count()
    return request


def _read_09(body: bytes) -> DecisionInput:
    document, warnings = decode_with_warnings(ode.DecisionRequestDoc09, body, ode.REQUEST_SHAPE_09)
    duplicates = document.duplicates
    request = DecisionInput(
        is_older=True,
        profile=_profile(document.identity_map, document.attributes),
        profile_path="$.xdm:identityMap",
        scopes=[],
        across_decisions=duplicates is not None and bool(duplicates.across_activities),
        across_placements=duplicates.across_placements if duplicates is not None else None,
        context=_context(document.context_data),
        dry_run=bool(document.dry_run),
        reserve_us=_reserve_us(document.reservation),
        context_path="$.xdm:contextData",
        decisions=[decision.activity for decision in document.activities],
        warnings=warnings,
    )
    if document.validate_context:
        request.context_entries = _context_entries(document.context_data)
    return request


def _context(data: Sequence[ode.ContextDoc] | None) -> dict[str, dict[str, Any]]:
    """Return the context data by type, names without prefixes."""
    return {entry.type: without_prefixes(entry.data or {}) for entry in data or ()}


def _context_entries(data: Sequence[ode.ContextDoc] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return the context data as it was sent."""
    return [(entry.type, entry.data or {}) for entry in data or ()]


def _reserve_us(reservation: ode.ReservationDoc | None) -> int | None:
    return reservation.ttl * 1_000_000 if reservation is not None else None


def _profile(identities: ode.IdentityMapDoc, attributes: ode.Attributes | None) -> Profile:
    """Return the customer as the request describes them; without attributes they are unknown."""
    return Profile(
        identities=tuple(
            [
                ProfileIdentity(namespace=namespace, id=entry.id, primary=bool(entry.primary))
                for namespace, entries in identities.items()
                for entry in entries
            ]
        ),
        attributes=without_prefixes(attributes) if attributes else {},
        is_known=attributes is not None,
    )


def _write_10(
    result: DecisionResult,
    request: DecisionInput,
    profile: Profile,
    fragments: OdeFragments,
    selection: Callable[[Placement], FieldSelection],
) -> ode.DecisionResponseDoc:
    outcome = result.outcome
    propositions: list[Any] = [  # encoded already, from cached fragments
        fragments.encode_proposition(scope, selection(scope.placement))
        for scope in outcome.scopes
        if isinstance(scope, Proposition)
    ]
    return ode.DecisionResponseDoc(
        proposition_id=result.proposition_id,
        proposition_id_too=result.proposition_id,
        propositions=propositions,
        factors=_factors(result, profile),
        created=result.decided_us // 1000,
        request_id=request.request_id if request.request_id is not None else UNSET,
        reservation=_reservation(result),
        trace=_trace(outcome, request.warnings),
        errors=_errors(result, request),
    )


def _write_09(result: DecisionResult, request: DecisionInput, profile: Profile) -> ode.DecisionResponseDoc09:
    outcome = result.outcome
    return ode.DecisionResponseDoc09(
        proposition_id=result.proposition_id,
        propositions=[
            ode.PropositionDoc09(
                activity=proposition.decision.public_id,
                scope=encode_scope(
                    proposition.decision.public_id,
                    # As documented, a decision with one placement is named alone.
                    proposition.placement.public_id if len(proposition.decision.placements) > 1 else None,
                ),
                offers=[choice.offer.public_id for choice in proposition.options] or UNSET,
                fallback=proposition.fallback.offer.public_id if proposition.fallback is not None else UNSET,
            )
            for proposition in outcome.scopes
            if isinstance(proposition, Proposition)
        ],
        factors=_factors(result, profile),
        reservation=_reservation(result),
        trace=_trace(outcome, request.warnings),
        errors=_errors(result, request),
    )


def _reservation(result: DecisionResult) -> ode.ReservedDoc | UnsetType:
    until_us = result.reserved_until_us
    return UNSET if until_us is None else ode.ReservedDoc(expires=until_us // 1000)


def _factors(result: DecisionResult, profile: Profile) -> dict[str, str]:
    """Return what influenced the response: an unknown customer or merge policy, ineligible offers.

    `degraded` and `recorded`, Proffer extensions, name the data that was unavailable and say that the
    decision is on no record.
    """
    factors: dict[str, str] = {}
    if result.without:
        factors["degraded"] = result.without
        if result.unrecorded:
            factors["recorded"] = "false"
    if profile.withheld:
        factors["xdm:profileResponse"] = "HTTP 503"
    elif not profile.is_known:
        factors["xdm:profileResponse"] = "HTTP 404"
    if not profile.policy_known:
        factors["xdm:mergePolicyResponse"] = "HTTP 404"
    if result.outcome.ineligible:
        factors["xdm:numberOfIneligibleOffers"] = str(result.outcome.ineligible)
    return factors


def _diagnostic_document(diagnostic: Any, href: str) -> dict[str, Any]:
    document: dict[str, Any] = {"xdm:description": diagnostic.description}
    if diagnostic.id is not None:
        document["xdm:details"] = {
            "@id": diagnostic.id,
            "instanceId": diagnostic.instance_id,
            "href": f"{href}{diagnostic.instance_id}",
            "etag": str(diagnostic.etag),
        }
    if diagnostic.causes:
        document["xdm:causes"] = [_diagnostic_document(cause, href) for cause in diagnostic.causes]
    return document


def _encoded_scope(scope: UnknownScope | ScopeTrace) -> str:
    return encode_scope(scope.decision, scope.placement or None)


def _trace(outcome: DecisionOutcome, warnings: Sequence[Violation]) -> Any:
    """Return the trace of each scope; each repeats the warnings about the request."""
    if outcome.trace is None:
        return UNSET
    texts = [f"{warning.path}: {warning.message}" for warning in warnings] or UNSET
    return [
        ode.TraceDoc(
            scope=_encoded_scope(scope_trace),
            seed=scope_trace.seed,
            candidates=candidate_documents(scope_trace),
            warnings=texts,
        )
        for scope_trace in outcome.trace
    ]


def _errors(result: DecisionResult, request: DecisionInput) -> Any:
    """Return one problem per unknown scope, for a partial answer."""
    outcome = result.outcome
    if not outcome.unknown_scopes:
        return UNSET
    sent_scopes = [
        (as_sent(scope, ids), path)
        for scope, ids, path in zip(outcome.scopes, request.sent_ids, request.paths, strict=True)
        if isinstance(scope, UnknownScope)
    ]
    if result.misses_writes:
        return [
            problem(503, SCOPE_UNREAD, unread_message(scope_name(scope)), scope=_encoded_scope(scope))
            for scope, _ in sent_scopes
        ]
    return [
        problem(
            404,
            SCOPE_NOT_FOUND,
            not_found_message([scope_name(scope)]),
            scope=_encoded_scope(scope),
            report={"violations": [violation(scope_violation(scope, path))]},
        )
        for scope, path in sent_scopes
    ]
