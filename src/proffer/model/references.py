"""References between objects: the foreign keys of each kind of document (spec 1.11).

Works on documents of any shape: values of the wrong type are ignored here and reported by
`model/documents.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.model.ids import EntityKind, canonical


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference: the JSON path `path` holds `id`, an object of `kind` in the same container."""

    path: str
    id: str
    kind: EntityKind

    @property
    def key(self) -> str:
        """The canonical form of the referenced id."""
        return canonical(self.id)


def references(kind: EntityKind, document: Mapping[str, Any]) -> list[Reference]:
    """Return all references of a document of this kind, in document order."""
    return list(_FINDERS[kind](document))


def _none(_: Mapping[str, Any]) -> Iterator[Reference]:
    return iter(())


def _collection(document: Mapping[str, Any]) -> Iterator[Reference]:
    member = "xdm:ids" if "xdm:ids" in document else "ids"
    listed = document.get("xdm:filterType") == "offers"
    kind = EntityKind.OFFER if listed else EntityKind.TAG
    yield from _each(f"$.{member}", document.get(member), kind)


def _fallback(document: Mapping[str, Any]) -> Iterator[Reference]:
    for index, representation in _objects(document.get("xdm:representations")):
        path = f"$.xdm:representations[{index}].xdm:placement"
        yield from _one(path, representation.get("xdm:placement"), EntityKind.PLACEMENT)
    yield from _each("$.xdm:tags", document.get("xdm:tags"), EntityKind.TAG)


def _offer(document: Mapping[str, Any]) -> Iterator[Reference]:
    yield from _fallback(document)
    yield from _constraint("$.xdm:selectionConstraint", document.get("xdm:selectionConstraint"))
    yield from _formula("$.xdm:rank", document.get("xdm:rank"))
    for index, cap in _objects(document.get("xdm:frequencyCappingConstraints")):
        path = f"$.xdm:frequencyCappingConstraints[{index}]"
        yield from _one(f"{path}.xdm:placement", cap.get("xdm:placement"), EntityKind.PLACEMENT)
        yield from _each(f"{path}.xdm:placements", cap.get("xdm:placements"), EntityKind.PLACEMENT)


def _decision(document: Mapping[str, Any]) -> Iterator[Reference]:
    yield from _one("$.xdm:fallback", document.get("xdm:fallback"), EntityKind.FALLBACK)
    if "xdm:criteria" not in document:
        yield from _one("$.xdm:placement", document.get("xdm:placement"), EntityKind.PLACEMENT)
        yield from _one("$.xdm:filter", document.get("xdm:filter"), EntityKind.COLLECTION)
    for index, criterion in _objects(document.get("xdm:criteria")):
        path = f"$.xdm:criteria[{index}]"
        yield from _each(
            f"{path}.xdm:placements", criterion.get("xdm:placements"), EntityKind.PLACEMENT
        )
        selection = criterion.get("xdm:optionSelection")
        if isinstance(selection, Mapping):
            at = f"{path}.xdm:optionSelection"
            yield from _one(f"{at}.xdm:filter", selection.get("xdm:filter"), EntityKind.COLLECTION)
            yield from _each(f"{at}.xdm:options", selection.get("xdm:options"), EntityKind.OFFER)
        for member in ("xdm:rank", "xdm:ranking"):
            yield from _formula(f"{path}.{member}", criterion.get(member))
        for member in ("xdm:profileConstraint", "xdm:profileConstraints"):
            yield from _constraint(f"{path}.{member}", criterion.get(member))


def _constraint(path: str, constraint: Any) -> Iterator[Reference]:
    if isinstance(constraint, Mapping):
        rule = constraint.get("xdm:eligibilityRule")
        yield from _one(f"{path}.xdm:eligibilityRule", rule, EntityKind.RULE)
        yield from _each(f"{path}.xdm:rules", constraint.get("xdm:rules"), EntityKind.RULE)


def _formula(path: str, rank: Any) -> Iterator[Reference]:
    order = rank.get("xdm:order") if isinstance(rank, Mapping) else None
    if isinstance(order, Mapping):
        named = order.get("xdm:function")
        yield from _one(f"{path}.xdm:order.xdm:function", named, EntityKind.FORMULA)


def _one(path: str, value: Any, kind: EntityKind) -> Iterator[Reference]:
    if isinstance(value, str):
        yield Reference(path, value, kind)


def _each(path: str, values: Any, kind: EntityKind) -> Iterator[Reference]:
    if isinstance(values, Sequence) and not isinstance(values, str):
        for index, value in enumerate(values):
            yield from _one(f"{path}[{index}]", value, kind)


def _objects(values: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(values, Sequence) and not isinstance(values, str):
        for index, value in enumerate(values):
            if isinstance(value, Mapping):
                yield index, value


_FINDERS = {
    EntityKind.PLACEMENT: _none,
    EntityKind.TAG: _none,
    EntityKind.RULE: _none,
    EntityKind.AUDIENCE: _none,
    EntityKind.NAMESPACE: _none,
    EntityKind.MERGE_POLICY: _none,
    EntityKind.DESCRIPTOR: _none,
    EntityKind.FORMULA: _none,
    EntityKind.SCHEMA: _none,
    EntityKind.DATASTREAM: _none,
    EntityKind.COLLECTION: _collection,
    EntityKind.OFFER: _offer,
    EntityKind.FALLBACK: _fallback,
    EntityKind.DECISION: _decision,
}
