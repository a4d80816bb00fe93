"""Integrity checks between the objects of a container, made before every write.

References exist and are of the right kind; referenced objects are not deleted; tag names and ids are
unique; limits are kept; and the fallback guarantee (R11): a live decision has an approved fallback offer
with content of the right kind for each of its placements, so that there is always a result.
"""

from collections.abc import Iterable, Iterator

from proffer.errors import Conflict, Violation
from proffer.model.catalog import CatalogOverlay
from proffer.model.decision import Decision
from proffer.model.documents import (
    MAX_CAP_RULES,
    count_cap_rules,
    document_violations,
    limit_violation,
)
from proffer.model.ids import KIND_LABELS, EntityKind, kind_phrase
from proffer.model.instance import Instance
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.offer import FallbackOffer
from proffer.model.parse import parse_entity
from proffer.model.placement import Placement
from proffer.model.references import find_references

MAX_OF_KIND = {
    EntityKind.PLACEMENT: 1_000,
    EntityKind.TAG: 1_000,
    EntityKind.RULE: 10_000,
    EntityKind.FORMULA: 10_000,
    EntityKind.COLLECTION: 10_000,
    EntityKind.OFFER: 10_000,
    EntityKind.FALLBACK: 10_000,
    EntityKind.DECISION: 10_000,
    EntityKind.AUDIENCE: 4_000,
    EntityKind.NAMESPACE: 1_000,
    EntityKind.MERGE_POLICY: 50,
    EntityKind.DESCRIPTOR: 1_000,
    EntityKind.SCHEMA: 100,
    EntityKind.DATASTREAM: 1_000,
}
_PQL = frozenset({EntityKind.RULE, EntityKind.FORMULA})
MAX_LIVE_DECISIONS = 1_000


def version_violations(overlay: CatalogOverlay, version: Instance) -> list[Violation]:
    """Return all violations that forbid adding this version to the overlay (R39)."""
    violations = document_violations(version.kind, version.document)
    reported_paths = {finding.path for finding in violations}
    violations += [
        violation for violation in _check_references(overlay, version) if violation.path not in reported_paths
    ]
    violations += _check_limits(overlay, version)
    if not violations:  # the guarantee can only be checked on valid documents
        violations = list(_check_fallback_guarantee(overlay, version))
    return violations


def check_unique(overlay: CatalogOverlay, version: Instance) -> None:
    """Check that a new id or a tag name is unused. Raises `Conflict` (R12, R13)."""
    before = overlay.by_instance(version.instance_id)
    if before is None and overlay.is_id_used(version.id):
        raise Conflict(f"the id `{version.id}` is already in use", code="id-taken")
    if version.kind is EntityKind.TAG:
        holder = overlay.tag_by_name(version.name)
        if holder is not None and holder.instance_id != version.instance_id:
            raise Conflict(
                f"the name `{version.name}` is already in use by tag `{holder.id}`",
                code="name-taken",
                extra={"report": {"holder": holder.id}},
            )


def check_unreferenced(overlay: CatalogOverlay, instance: Instance, users: Iterable[Instance] = ()) -> None:
    """Check that no object refers to this one. Raises `Conflict`, listing the referrers and `users` (R9)."""
    referrers = [referrer for referrer in overlay.referrers(instance.id) if referrer is not instance]
    referrers += users
    if referrers:
        names = ", ".join(f"{KIND_LABELS[referrer.kind]} `{referrer.name}`" for referrer in referrers[:3])
        more = f" and {len(referrers) - 3} more" if len(referrers) > 3 else ""
        raise Conflict(
            f"{KIND_LABELS[instance.kind]} `{instance.name}` is used by {names}{more}",
            code="still-referenced",
            extra={
                "report": {
                    "referrers": [
                        {
                            "@id": referrer.id,
                            "instanceId": referrer.instance_id,
                            "xdm:name": referrer.name,
                        }
                        for referrer in referrers
                    ]
                }
            },
        )


def _check_references(overlay: CatalogOverlay, version: Instance) -> Iterator[Violation]:
    for reference in find_references(version.kind, version.document):
        target = overlay.by_id(reference.key)
        if target is None:
            yield Violation(
                code="unknown-reference",
                message=f"there is no {KIND_LABELS[reference.kind]} `{reference.id}`",
                path=reference.path,
                help=f"create the {KIND_LABELS[reference.kind]} first, or refer to an existing one",
            )
        elif target.kind is not reference.kind:
            yield Violation(
                code="wrong-kind",
                message=f"`{reference.id}` is {kind_phrase(target.kind)}, not {kind_phrase(reference.kind)}",
                path=reference.path,
                help=f"refer to {kind_phrase(reference.kind)}",
            )


def _check_limits(overlay: CatalogOverlay, version: Instance) -> Iterator[Violation]:
    word = f"{KIND_LABELS[version.kind]}s"
    maximum = MAX_OF_KIND[version.kind]
    count = overlay.count(version.kind)
    if version.kind in _PQL:  # rules and formulas are counted together
        word, count = "rules and formulas", sum(overlay.count(kind) for kind in _PQL)
    if overlay.by_instance(version.instance_id) is None and count >= maximum:
        yield limit_violation("$", f"{count + 1:,} {word}", f"{maximum:,} {word} per container")
    if version.kind is EntityKind.OFFER and (own_rules := count_cap_rules(version.document)):
        rules = own_rules + overlay.cap_rule_count_without(version.instance_id)
        if rules > MAX_CAP_RULES:
            allowed = f"{MAX_CAP_RULES:,} capping rules per container"
            yield limit_violation("$.xdm:frequencyCappingConstraints", f"{rules:,} capping rules", allowed)
    if version.kind is EntityKind.DECISION and _is_live(version):
        live_count = sum(
            _is_live(decision)
            for decision in overlay.of_kind(EntityKind.DECISION)
            if decision.instance_id != version.instance_id
        )
        if live_count >= MAX_LIVE_DECISIONS:
            allowed = f"{MAX_LIVE_DECISIONS:,} live decisions"
            yield limit_violation("$.xdm:status", f"{live_count + 1:,} live decisions", allowed)


def _is_live(decision: Instance) -> bool:
    return decision.document.get("xdm:status") == DecisionStatus.LIVE


def _check_fallback_guarantee(overlay: CatalogOverlay, version: Instance) -> Iterator[Violation]:
    """Yield violations for live decisions without fallback content for a placement (R11)."""
    if version.kind is EntityKind.DECISION:
        affected = [version]
    elif version.kind in {EntityKind.FALLBACK, EntityKind.PLACEMENT}:
        affected = [referrer for referrer in overlay.referrers(version.id) if referrer.kind is EntityKind.DECISION]
    else:
        return
    for instance in affected:
        if _is_live(instance):
            yield from _check_decision_fallback(overlay, instance, version)


def _check_decision_fallback(overlay: CatalogOverlay, instance: Instance, version: Instance) -> Iterator[Violation]:
    decision = parse_entity(instance)
    assert isinstance(decision, Decision)
    fallback = _read_entity(overlay, version, decision.fallback)
    if not isinstance(fallback, FallbackOffer):
        return  # a missing reference, reported as such
    about = f"live decision `{decision.name}`"
    path, status_path = {
        EntityKind.DECISION: ("$.xdm:fallback", "$.xdm:fallback"),
        EntityKind.FALLBACK: ("$.xdm:representations", "$.xdm:status"),
        EntityKind.PLACEMENT: ("$.xdm:componentType", "$.xdm:componentType"),
    }[version.kind]
    if fallback.status is not OfferStatus.APPROVED:
        yield Violation(
            code="fallback-guarantee",
            message=f"{about} needs an approved fallback offer; `{fallback.name}` is {fallback.status}",
            path=status_path,
            help="approve the fallback offer, or take the decision out of service first",
        )
    for key in decision.placements:
        placement = _read_entity(overlay, version, key)
        if not isinstance(placement, Placement) or _has_content_for(fallback, placement):
            continue
        if version.kind is EntityKind.PLACEMENT and key != version.key:
            continue  # not caused by this write
        yield Violation(
            code="fallback-guarantee",
            message=f"{about} uses placement `{placement.name}`, for which fallback offer "
            f"`{fallback.name}` has no content of type `{placement.component_type}`",
            path=path,
            help=f"give `{fallback.name}` a representation for `{placement.public_id}`",
        )


def _has_content_for(fallback: FallbackOffer, placement: Placement) -> bool:
    representation = fallback.representations.get(placement.id)
    return representation is not None and any(
        placement.accepts(component.type) for component in representation.components
    )


def _read_entity(overlay: CatalogOverlay, version: Instance, key: str) -> object:
    """Return the typed object as it would be after this write; None if missing."""
    if key == version.key:
        return parse_entity(version)
    instance = overlay.by_id(key)
    return parse_entity(instance) if instance is not None else None
