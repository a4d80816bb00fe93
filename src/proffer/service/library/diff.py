"""Library file content in a stable order, and diffs of two libraries. The order is stable for git and reviews."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.model.difference import difference
from proffer.model.ids import EntityKind, canonical
from proffer.model.instance import Instance
from proffer.model.limit_index import with_indexes
from proffer.service.library.load import SECTIONS, Entry

LibraryContent = dict[str, list[Mapping[str, Any]]]


def library_content(instances: Iterable[Instance]) -> LibraryContent:
    """Return the lists of a library file, sorted by name and id. Empty lists are left out."""
    by_kind: dict[EntityKind, list[Instance]] = {}
    for instance in instances:
        by_kind.setdefault(instance.kind, []).append(instance)
    return {
        name: [
            {"@id": version.id, **version.document}
            for version in sorted(by_kind[kind], key=lambda version: (version.name, version.key))
        ]
        for name, kind in SECTIONS.items()
        if kind in by_kind
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDifference:
    """An object that differs between two libraries. `action`: `added`, `removed` or `changed`."""

    kind: EntityKind
    id: str
    name: str
    action: str
    difference: list[dict[str, Any]]


def diff_libraries(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[ObjectDifference]:
    """Yield the differing objects of two libraries, in loading order.

    Objects are matched by kind and `@id` (either spelling), or by kind and name without an `@id`.
    """
    old, new = _by_key(before), _by_key(after)
    for key in [*old, *(key for key in new if key not in old)]:
        old_document, new_document = old.get(key), new.get(key)
        document = new_document if new_document is not None else old_document
        assert document is not None
        action = "added" if old_document is None else "removed" if new_document is None else "changed"
        document_difference = (
            document_changes(key[0], old_document, new_document)
            if old_document is not None and new_document is not None
            else []
        )
        if action != "changed" or document_difference:
            yield ObjectDifference(
                kind=key[0],
                id=str(document.get("@id", "")),
                name=str(document.get("xdm:name", "")),
                action=action,
                difference=document_difference,
            )


def document_changes(kind: EntityKind, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the changes from the first document to the second, ignoring `@id`.

    An index of a limit that only one of them has is no change (R46).
    """
    if kind is EntityKind.OFFER:
        before, after = with_indexes(before, before), with_indexes(after, before)
    return difference(_without_id(before), _without_id(after))


def _without_id(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "@id"}


def _by_key(entries: Sequence[Entry]) -> dict[tuple[EntityKind, str], Mapping[str, Any]]:
    documents: dict[tuple[EntityKind, str], Mapping[str, Any]] = {}
    for kind, _, document in entries:
        entity_id = document.get("@id")
        identifier = canonical(entity_id) if isinstance(entity_id, str) else str(document.get("xdm:name"))
        documents[kind, identifier] = document
    return documents
