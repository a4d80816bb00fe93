"""Load a library from a file: objects by kind, each matched by `@id`, else by kind and name, or new.

What exists and says the same is left alone, so loading a file twice changes nothing the second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proffer.auth.principal import Principal
from proffer.errors import Finding, Invalid, ProfferError
from proffer.model.catalog import Catalog
from proffer.model.ids import WORDS, EntityKind, canonical
from proffer.model.instance import Instance
from proffer.service.catalog import CatalogService
from proffer.service.content import template_mistakes
from proffer.service.libraries import Libraries
from proffer.service.rules import mistakes, schema_of

SECTIONS: Mapping[str, EntityKind] = {
    "placements": EntityKind.PLACEMENT,
    "tags": EntityKind.TAG,
    "rules": EntityKind.RULE,
    "formulas": EntityKind.FORMULA,
    "offers": EntityKind.OFFER,
    "collections": EntityKind.COLLECTION,
    "fallbacks": EntityKind.FALLBACK,
    "decisions": EntityKind.DECISION,
}
"""The lists of a library file, in the order they are loaded: what is referred to comes first."""


@dataclass(slots=True)
class Report:
    """What loading did, by kind: how many were created, changed, and already as the file says.

    `broken` says what is wrong with rules and formulas that were let in and count as false (R33).
    """

    created: dict[EntityKind, int] = field(default_factory=dict)
    changed: dict[EntityKind, int] = field(default_factory=dict)
    same: dict[EntityKind, int] = field(default_factory=dict)
    broken: list[Finding] = field(default_factory=list)

    def count(self, kind: EntityKind) -> int:
        return sum(made.get(kind, 0) for made in (self.created, self.changed, self.same))


def sections(content: Any) -> list[tuple[EntityKind, str, Mapping[str, Any]]]:
    """Every object of a library file, with its kind and JSON path, in loading order.

    Raises `Invalid`, listing every mistake, for a file that is not one mapping of such lists.
    """
    return list(_read(content))


def _read(content: Any) -> Iterator[tuple[EntityKind, str, Mapping[str, Any]]]:
    if not isinstance(content, Mapping):
        raise Invalid.of([_finding("$", "the file is not a mapping", "see the sample library")])
    wrong = [
        _finding(
            f"$.{name}", f"`{name}` is no list of a library", f"lists are {', '.join(SECTIONS)}"
        )
        for name in content
        if name not in SECTIONS and name != "comment"
    ]
    for name in SECTIONS:
        objects = content.get(name) or []
        if not isinstance(objects, Sequence) or isinstance(objects, str):
            wrong.append(
                _finding(f"$.{name}", f"`{name}` is not a list", "write a list of objects")
            )
            continue
        wrong += [
            _finding(f"$.{name}[{index}]", "this is not an object", "write one object per entry")
            for index, one in enumerate(objects)
            if not isinstance(one, Mapping)
        ]
    if wrong:
        raise Invalid.of(wrong)
    found = [
        (kind, f"$.{name}[{index}]", one)
        for name, kind in SECTIONS.items()
        for index, one in enumerate(content.get(name) or [])
    ]
    twins = list(_twins(found))
    if twins:
        raise Invalid.of(twins)
    yield from found


def _twins(found: Sequence[tuple[EntityKind, str, Mapping[str, Any]]]) -> Iterator[Finding]:
    """Objects of the file that would be taken for one another, so that the last would win."""
    ids: dict[str, str] = {}
    names: dict[tuple[EntityKind, str], list[tuple[str, bool]]] = {}
    for kind, path, one in found:
        entity_id, name = one.get("@id"), one.get("xdm:name")
        if isinstance(entity_id, str):
            first = ids.setdefault(canonical(entity_id), path)
            if first != path:
                message = f"`{entity_id}` is the `@id` of the object at {first} too"
                yield _finding(f"{path}.@id", message, "give each object an `@id` of its own")
        if isinstance(name, str):
            named = names.setdefault((kind, name), [])
            known = isinstance(entity_id, str)
            if named and not (known and all(other for _, other in named)):
                message = f"the object at {named[0][0]} is of this kind and named `{name}` too"
                yield _finding(f"{path}.xdm:name", message, "give both an `@id`, or another name")
            named.append((path, known))


async def load(
    catalog: CatalogService,
    libraries: Libraries,
    by: Principal,
    container: str,
    content: Any,
) -> Report:
    """Write every object of a library file, in order. Stops at the first that is refused.

    What was written before that stays: load the mended file again. Two objects of one kind and name,
    in the file or in the library, cannot be told apart without `@id`s and are an error.
    """
    report = Report()
    objects = sections(content)
    library = libraries.find(by, container)
    named = _Names(library.catalog)
    for kind, path, document in objects:
        try:
            before = _match(library.catalog, named, kind, document, path)
            if before is None:
                written = await catalog.create(by, container, kind, document, importing=True)
                named.add(written)
                made = report.created
            elif _same({**document, "@id": before.id}, before.document):
                written, made = before, report.same
            else:
                written = await catalog.revise(
                    by, container, before.instance_id, _constant(document), importing=True
                )
                made = report.changed
        except Invalid as error:
            raise error.under(path) from None
        except ProfferError as error:
            raise type(error)(
                f"{path}: {error.detail}", code=error.code, extra=error.extra
            ) from None
        made[kind] = made.get(kind, 0) + 1
        broken = [*mistakes(written, schema_of(library.catalog)), *template_mistakes(written)]
        report.broken += Invalid.of(broken).under(path).findings if broken else ()
    return report


def _constant(document: Mapping[str, Any]) -> Any:
    return lambda _: document


class _Names:
    """Which objects had which name when loading began, and which of those written since were new."""

    def __init__(self, catalog: Catalog) -> None:
        self._found: dict[tuple[EntityKind, str], list[str]] = {}
        for instance in catalog:
            self.add(instance)

    def add(self, instance: Instance) -> None:
        self._found.setdefault((instance.kind, instance.name), []).append(instance.instance_id)

    def get(self, kind: EntityKind, name: str) -> list[str]:
        return self._found.get((kind, name), [])


def _match(
    catalog: Catalog, named: _Names, kind: EntityKind, document: Mapping[str, Any], path: str
) -> Instance | None:
    entity_id, name = document.get("@id"), document.get("xdm:name")
    if isinstance(entity_id, str):
        holder = catalog.by_id(entity_id)
        return holder if holder is not None and holder.kind is kind else None
    if not isinstance(name, str):
        return None
    found = (catalog.by_instance(instance_id) for instance_id in named.get(kind, name))
    same = [one for one in found if one is not None and one.name == name]
    if len(same) > 1:
        word = WORDS[kind]
        raise Invalid.of(
            [
                _finding(
                    "$.xdm:name",
                    f"the library has {len(same)} objects of kind {word} named `{name}`",
                    f"give the `@id` of the one meant at {path}",
                )
            ]
        )
    return same[0] if same else None


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """True when both are the same JSON, whatever the order of members; 1 is not `true`."""
    if left != right:
        return False
    return msgspec.json.encode(dict(left), order="sorted") == msgspec.json.encode(
        dict(right), order="sorted"
    )


def _finding(path: str, message: str, mend: str) -> Finding:
    return Finding(code="library-file", message=message, path=path, help=mend)
