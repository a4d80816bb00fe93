"""Library as file content in a stable order (for git and reviews), and diffs of two libraries."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.model.difference import difference
from proffer.model.ids import EntityKind, canonical
from proffer.model.instance import Instance
from proffer.service.library.load import SECTIONS, Entry

Content = dict[str, list[Mapping[str, Any]]]


def exported(instances: Iterable[Instance]) -> Content:
    """Return the lists of a library file, sorted by name and id, without empty lists."""
    by_kind: dict[EntityKind, list[Instance]] = {}
    for instance in instances:
        by_kind.setdefault(instance.kind, []).append(instance)
    return {
        name: [
            {"@id": one.id, **one.document}
            for one in sorted(by_kind[kind], key=lambda one: (one.name, one.key))
        ]
        for name, kind in SECTIONS.items()
        if kind in by_kind
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """An object that differs between two libraries. `action`: `added`, `removed` or `changed`."""

    kind: EntityKind
    id: str
    name: str
    what: str
    difference: list[dict[str, Any]]


def compared(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[Differing]:
    """Yield the differing objects of two libraries, in loading order.

    Objects are matched by kind and `@id` (either spelling), or by kind and name without an `@id`.
    """
    old, new = _by_key(before), _by_key(after)
    for key in [*old, *(key for key in new if key not in old)]:
        one, other = old.get(key), new.get(key)
        document = other if other is not None else one
        assert document is not None
        what = "added" if one is None else "removed" if other is None else "changed"
        made = changes(one, other) if one is not None and other is not None else []
        if what != "changed" or made:
            yield Differing(
                kind=key[0],
                id=str(document.get("@id", "")),
                name=str(document.get("xdm:name", "")),
                what=what,
                difference=made,
            )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the changes from the first document to the second, ignoring `@id`."""
    return difference(_bare(before), _bare(after))


def _bare(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "@id"}


def _by_key(entries: Sequence[Entry]) -> dict[tuple[EntityKind, str], Mapping[str, Any]]:
    found: dict[tuple[EntityKind, str], Mapping[str, Any]] = {}
    for kind, _, document in entries:
        entity_id = document.get("@id")
        named = (
            canonical(entity_id) if isinstance(entity_id, str) else str(document.get("xdm:name"))
        )
        found[kind, named] = document
    return found
