"""Replacement of the ids of a library for import into another one."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from proffer.errors import Finding, Invalid
from proffer.model.catalog import Catalog
from proffer.model.ids import WORDS, EntityKind, canonical
from proffer.service.library.load import Entry


def renewed(
    entries: Sequence[Entry],
    catalog: Catalog,
    mint: Callable[[EntityKind], str],
    known: MutableMapping[str, str],
) -> list[Entry]:
    """Return the objects with new ids, in their references too.

    An object whose kind and name exist in the catalog gets that id, so importing again creates no
    duplicates; others get a minted id. `new_ids` maps canonical old ids to new ones and is extended.
    Raises `Invalid` for ambiguous names.
    """
    wrong: list[Finding] = []
    named: dict[tuple[EntityKind, str], list[str]] = {}
    for one in catalog:
        named.setdefault((one.kind, one.name), []).append(one.id)
    first: dict[tuple[EntityKind, str], str] = {}
    for kind, path, document in entries:
        entity_id, name = document.get("@id"), document.get("xdm:name")
        if not isinstance(entity_id, str):
            continue
        there: list[str] = []
        if isinstance(name, str):
            twin = first.setdefault((kind, name), path)
            if twin != path:
                wrong.append(
                    _unclear(path, f"the object at {twin} is of this kind and named `{name}` too")
                )
            there = named.get((kind, name), [])
        if len(there) > 1:
            count = f"{len(there)} objects of kind {WORDS[kind]}"
            wrong.append(_unclear(path, f"the library has {count} named `{name}`"))
        known[canonical(entity_id)] = there[0] if there else mint(kind)
    if wrong:
        raise Invalid.of(wrong)
    return [(kind, path, _with(document, known)) for kind, path, document in entries]


def _unclear(path: str, message: str) -> Finding:
    mend = "keep the ids, or give each a name of its own"
    return Finding(code="library-file", message=message, path=f"{path}.xdm:name", help=mend)


def _with(value: Any, known: Mapping[str, str]) -> Any:
    """Return the value with every old id, in either spelling, replaced by the new one."""
    if isinstance(value, str):
        return known.get(canonical(value), value)
    if isinstance(value, Mapping):
        return {name: _with(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [_with(one, known) for one in value]
    return value
