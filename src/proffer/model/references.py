"""References between objects: the foreign keys of each kind of document (spec 1.11).

Works on documents of any shape: values of the wrong type are ignored here and reported by
`model/documents.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.model.ids import EntityKind, canonical


@dataclass(frozen=True, slots=True)
class DocumentReference:
    """A reference: the JSON path `path` holds `id`, an object of `kind` in the same container."""

    path: str
    id: str
    kind: EntityKind

    @property
    def key(self) -> str:
        """The canonical form of the referenced id."""
        return canonical(self.id)


def find_references(kind: EntityKind, document: Mapping[str, Any]) -> list[DocumentReference]:
    """Return all references of a document of this kind, in document order."""
    return list(_FINDERS[kind](document))


def _no_references(_: Mapping[str, Any]) -> Iterator[DocumentReference]:
    return iter(())


def _collection(document: Mapping[str, Any]) -> Iterator[DocumentReference]:
    member = "xdm:ids" if "xdm:ids" in document else "ids"
    lists_offers = document.get("xdm:filterType") == "offers"
    kind = EntityKind.OFFER if lists_offers else EntityKind.TAG
    yield from _reference_list(f"$.{member}", document.get(member), kind)


def _fallback(document: Mapping[str, Any]) -> Iterator[DocumentReference]:
    for index, representation in _enumerate_objects(document.get("xdm:representations")):
        path = f"$.xdm:representations[{index}].xdm:placement"
        yield from _reference(path, representation.get("xdm:placement"), EntityKind.PLACEMENT)
    yield from _reference_list("$.xdm:tags", document.get("xdm:tags"), EntityKind.TAG)


def _offer(document: Mapping[str, Any]) -> Iterator[DocumentReference]:
    yield from _fallback(document)
    yield from _constraint("$.xdm:selectionConstraint", document.get("xdm:selectionConstraint"))
    yield from _formula("$.xdm:rank", document.get("xdm:rank"))
    for index, cap in _enumerate_objects(document.get("xdm:frequencyCappingConstraints")):
        path = f"$.xdm:frequencyCappingConstraints[{index}]"
        yield from _reference(f"{path}.xdm:placement", cap.get("xdm:placement"), EntityKind.PLACEMENT)
        yield from _reference_list(f"{path}.xdm:placements", cap.get("xdm:placements"), EntityKind.PLACEMENT)


def _decision(document: Mapping[str, Any]) -> Iterator[DocumentReference]:
    yield from _reference("$.xdm:fallback", document.get("xdm:fallback"), EntityKind.FALLBACK)
    if "xdm:criteria" not in document:
        yield from _reference("$.xdm:placement", document.get("xdm:placement"), EntityKind.PLACEMENT)
        yield from _reference("$.xdm:filter", document.get("xdm:filter"), EntityKind.COLLECTION)
    for index, criterion in _enumerate_objects(document.get("xdm:criteria")):
        path = f"$.xdm:criteria[{index}]"
        yield from _reference_list(f"{path}.xdm:placements", criterion.get("xdm:placements"), EntityKind.PLACEMENT)
        selection = criterion.get("xdm:optionSelection")
        if isinstance(selection, Mapping):
            at = f"{path}.xdm:optionSelection"
            yield from _reference(f"{at}.xdm:filter", selection.get("xdm:filter"), EntityKind.COLLECTION)
            yield from _reference_list(f"{at}.xdm:options", selection.get("xdm:options"), EntityKind.OFFER)
        for member in ("xdm:rank", "xdm:ranking"):
            yield from _formula(f"{path}.{member}", criterion.get(member))
        for member in ("xdm:profileConstraint", "xdm:profileConstraints"):
            yield from _constraint(f"{path}.{member}", criterion.get(member))


def _constraint(path: str, constraint: Any) -> Iterator[DocumentReference]:
    if isinstance(constraint, Mapping):
        rule = constraint.get("xdm:eligibilityRule")
        yield from _reference(f"{path}.xdm:eligibilityRule", rule, EntityKind.RULE)
        yield from _reference_list(f"{path}.xdm:rules", constraint.get("xdm:rules"), EntityKind.RULE)


def _formula(path: str, rank: Any) -> Iterator[DocumentReference]:
    order = rank.get("xdm:order") if isinstance(rank, Mapping) else None
    if isinstance(order, Mapping):
        formula_id = order.get("xdm:function")
        yield from _reference(f"{path}.xdm:order.xdm:function", formula_id, EntityKind.FORMULA)


def _reference(path: str, value: Any, kind: EntityKind) -> Iterator[DocumentReference]:
    if isinstance(value, str):
        yield DocumentReference(path, value, kind)


def _reference_list(path: str, values: Any, kind: EntityKind) -> Iterator[DocumentReference]:
    if isinstance(values, Sequence) and not isinstance(values, str):
        for index, value in enumerate(values):
            yield from _reference(f"{path}[{index}]", value, kind)


def _enumerate_objects(values: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(values, Sequence) and not isinstance(values, str):
        for index, value in enumerate(values):
            if isinstance(value, Mapping):
                yield index, value


_FINDERS = {
    EntityKind.PLACEMENT: _no_references,
    EntityKind.TAG: _no_references,
    EntityKind.RULE: _no_references,
    EntityKind.AUDIENCE: _no_references,
    EntityKind.NAMESPACE: _no_references,
    EntityKind.MERGE_POLICY: _no_references,
    EntityKind.DESCRIPTOR: _no_references,
    EntityKind.FORMULA: _no_references,
    EntityKind.SCHEMA: _no_references,
    EntityKind.DATASTREAM: _no_references,
    EntityKind.COLLECTION: _collection,
    EntityKind.OFFER: _offer,
    EntityKind.FALLBACK: _fallback,
    EntityKind.DECISION: _decision,
}
