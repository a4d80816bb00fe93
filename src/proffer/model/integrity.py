"""Integrity checks between the objects of a container, made before every write.

References exist and are of the right kind; referenced objects are not deleted; tag names and ids are
unique; limits are kept; and the fallback guarantee (R11): a live decision has an approved fallback offer
with content of the right kind for each of its placements, so that there is always a result.
"""

from collections.abc import Iterator

from proffer.errors import Conflict, Finding
from proffer.model.catalog import Draft
from proffer.model.decision import Decision
from proffer.model.documents import MAX_CAP_RULES, cap_rules, limit, mistakes
from proffer.model.ids import WORDS, EntityKind
from proffer.model.instance import Instance
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.offer import FallbackOffer
from proffer.model.parse import read
from proffer.model.placement import Placement
from proffer.model.references import references

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


def problems(draft: Draft, version: Instance) -> list[Finding]:
    """Return all violations that forbid adding this version to the overlay (R39)."""
    found = mistakes(version.kind, version.document)
    reported = {finding.path for finding in found}
    found += [one for one in _dangling(draft, version) if one.path not in reported]
    found += _limits(draft, version)
    if not found:  # the guarantee can only be checked on valid documents
        found = list(_unguarded(draft, version))
    return found


def refuse_taken(draft: Draft, version: Instance) -> None:
    """Raise `Conflict` if a new id or a tag name is in use (R12, R13)."""
    before = draft.by_instance(version.instance_id)
    if before is None and draft.is_taken(version.id):
        raise Conflict(f"`{version.id}` is already taken", code="id-taken")
    if version.kind is EntityKind.TAG:
        holder = draft.tag_named(version.name)
        if holder is not None and holder.instance_id != version.instance_id:
            raise Conflict(
                f"the name `{version.name}` belongs to tag `{holder.id}`",
                code="name-taken",
                extra={"report": {"holder": holder.id}},
            )


def refuse_referenced(draft: Draft, instance: Instance) -> None:
    """Raise `Conflict`, listing the referrers, if any object refers to this one (R9)."""
    referrers = [one for one in draft.referrers(instance.id) if one is not instance]
    if referrers:
        named = ", ".join(f"{WORDS[one.kind]} `{one.name}`" for one in referrers[:3])
        more = f" and {len(referrers) - 3} more" if len(referrers) > 3 else ""
        raise Conflict(
            f"{WORDS[instance.kind]} `{instance.name}` is used by {named}{more}",
            code="still-referenced",
            extra={
                "report": {
                    "referrers": [
                        {"@id": one.id, "instanceId": one.instance_id, "xdm:name": one.name}
                        for one in referrers
                    ]
                }
            },
        )


def _dangling(draft: Draft, version: Instance) -> Iterator[Finding]:
    for reference in references(version.kind, version.document):
        target = draft.by_id(reference.key)
        if target is None:
            yield Finding(
                code="unknown-reference",
                message=f"there is no {WORDS[reference.kind]} `{reference.id}`",
                path=reference.path,
                help=f"create the {WORDS[reference.kind]} first, or name one that exists",
            )
        elif target.kind is not reference.kind:
            yield Finding(
                code="wrong-kind",
                message=f"`{reference.id}` is a {WORDS[target.kind]}, not a {WORDS[reference.kind]}",
                path=reference.path,
                help=f"name a {WORDS[reference.kind]}",
            )


def _limits(draft: Draft, version: Instance) -> Iterator[Finding]:
    word = f"{WORDS[version.kind]}s"
    most = MAX_OF_KIND[version.kind]
    counted = draft.count(version.kind)
    if version.kind in _PQL:  # rules and formulas are counted together
        word, counted = "rules and formulas", sum(draft.count(kind) for kind in _PQL)
    if draft.by_instance(version.instance_id) is None and counted >= most:
        yield limit("$", f"one more than {most:,} {word}", f"{most:,} {word} per container")
    if version.kind is EntityKind.OFFER and (mine := cap_rules(version.document)):
        rules = mine + draft.cap_rules_beside(version.instance_id)
        if rules > MAX_CAP_RULES:
            allowed = f"{MAX_CAP_RULES:,} capping rules per container"
            yield limit("$.xdm:frequencyCappingConstraints", f"{rules:,} capping rules", allowed)
    if version.kind is EntityKind.DECISION and _is_live(version):
        live = sum(
            _is_live(one)
            for one in draft.of_kind(EntityKind.DECISION)
            if one.instance_id != version.instance_id
        )
        if live >= MAX_LIVE_DECISIONS:
            allowed = f"{MAX_LIVE_DECISIONS:,} live decisions"
            yield limit("$.xdm:status", "one more live decision", allowed)


def _is_live(decision: Instance) -> bool:
    return decision.document.get("xdm:status") == DecisionStatus.LIVE


def _unguarded(draft: Draft, version: Instance) -> Iterator[Finding]:
    """Yield violations for live decisions that would lack fallback content for a placement (R11)."""
    if version.kind is EntityKind.DECISION:
        affected = [version]
    elif version.kind in {EntityKind.FALLBACK, EntityKind.PLACEMENT}:
        affected = [one for one in draft.referrers(version.id) if one.kind is EntityKind.DECISION]
    else:
        return
    for instance in affected:
        if _is_live(instance):
            yield from _gaps(draft, instance, version)


def _gaps(draft: Draft, instance: Instance, version: Instance) -> Iterator[Finding]:
    decision = read(instance)
    assert isinstance(decision, Decision)
    fallback = _entity(draft, version, decision.fallback)
    if not isinstance(fallback, FallbackOffer):
        return  # a missing reference, reported as such
    about = f"live decision `{decision.name}`"
    path, status_path = {
        EntityKind.DECISION: ("$.xdm:fallback", "$.xdm:fallback"),
        EntityKind.FALLBACK: ("$.xdm:representations", "$.xdm:status"),
        EntityKind.PLACEMENT: ("$.xdm:componentType", "$.xdm:componentType"),
    }[version.kind]
    if fallback.status is not OfferStatus.APPROVED:
        yield Finding(
            code="fallback-guarantee",
            message=f"{about} needs an approved fallback offer; `{fallback.name}` is {fallback.status}",
            path=status_path,
            help="approve the fallback offer, or take the decision out of service first",
        )
    for key in decision.placements:
        placement = _entity(draft, version, key)
        if not isinstance(placement, Placement) or _covers(fallback, placement):
            continue
        if version.kind is EntityKind.PLACEMENT and key != version.key:
            continue  # not caused by this write
        yield Finding(
            code="fallback-guarantee",
            message=f"{about} uses placement `{placement.name}`, for which fallback offer "
            f"`{fallback.name}` has no content of type `{placement.component_type}`",
            path=path,
            help=f"give `{fallback.name}` a representation for `{placement.id}`",
        )


def _covers(fallback: FallbackOffer, placement: Placement) -> bool:
    representation = fallback.representations.get(placement.id)
    return representation is not None and any(
        placement.takes(component.type) for component in representation.components
    )


def _entity(draft: Draft, version: Instance, key: str) -> object:
    """Return the typed object as it would be after this write; None if missing."""
    if key == version.key:
        return read(version)
    instance = draft.by_id(key)
    return read(instance) if instance is not None else None
