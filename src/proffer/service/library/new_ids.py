"""Replacement of the ids of a library for import into another one."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from proffer.errors import Invalid, Violation
from proffer.model.catalog import Catalog
from proffer.model.ids import KIND_LABELS, EntityKind, canonical
from proffer.service.library.load import Entry


def remap_ids(
    entries: Sequence[Entry],
    catalog: Catalog,
    mint: Callable[[EntityKind], str],
    new_ids: MutableMapping[str, str],
) -> list[Entry]:
    """Return the objects with new ids, in their references too.

    An object whose kind and name exist in the catalog gets that id, so importing again creates no
    duplicates; others get a minted id. `new_ids` maps canonical old ids to new ones and is extended.
    Raises `Invalid` for ambiguous names.
    """
    violations: list[Violation] = []
    ids_by_name: dict[tuple[EntityKind, str], list[str]] = {}
    for instance in catalog:
        ids_by_name.setdefault((instance.kind, instance.name), []).append(instance.id)
    path_by_name: dict[tuple[EntityKind, str], str] = {}
    for kind, path, document in entries:
        entity_id, name = document.get("@id"), document.get("xdm:name")
        if not isinstance(entity_id, str):
            continue
        existing_ids: list[str] = []
        if isinstance(name, str):
            first_path = path_by_name.setdefault((kind, name), path)
            if first_path != path:
                violations.append(
                    _ambiguous(
                        path,
                        f"the object at {first_path} has the same kind and the name `{name}` too",
                    )
                )
            existing_ids = ids_by_name.get((kind, name), [])
        if len(existing_ids) > 1:
            count = f"{len(existing_ids)} objects of kind {KIND_LABELS[kind]}"
            violations.append(_ambiguous(path, f"the library has {count} named `{name}`"))
        new_ids[canonical(entity_id)] = existing_ids[0] if existing_ids else mint(kind)
    if violations:
        raise Invalid.of(violations)
    return [(kind, path, _replace_ids(document, new_ids)) for kind, path, document in entries]


def _ambiguous(path: str, message: str) -> Violation:
    remedy = "keep the ids, or give each object its own name"
    return Violation(code="library-file", message=message, path=f"{path}.xdm:name", help=remedy)


def _replace_ids(value: Any, new_ids: Mapping[str, str]) -> Any:
    """Return the value with every old id replaced by the new one. Both spellings of an id are replaced."""
    if isinstance(value, str):
        return new_ids.get(canonical(value), value)
    if isinstance(value, Mapping):
        return {name: _replace_ids(member, new_ids) for name, member in value.items()}
    if isinstance(value, list):
        return [_replace_ids(member, new_ids) for member in value]
    return value
