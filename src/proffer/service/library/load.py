"""Load a library from a file: objects by kind, each matched by `@id`, else by kind and name, or new.

Unchanged objects are not written, so loading a file twice changes nothing the second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from proffer.errors import Finding, Invalid, ProfferError
from proffer.model.catalog import Catalog
from proffer.model.ids import WORDS, EntityKind, canonical
from proffer.model.instance import Instance
from proffer.service.library.check_templates import template_mistakes
from proffer.service.library.objects import CatalogService
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.rules.check import mistakes, schema_of

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
"""The lists of a library file, in loading order: referenced objects first."""


Entry: TypeAlias = tuple[EntityKind, str, Mapping[str, Any]]
"""One object of a library file: kind, JSON path, document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One written object: its previous version, if any, and the new one."""

    before: Instance | None
    after: Instance


@dataclass(slots=True)
class Report:
    """Result of loading: how many objects were created, changed and unchanged, by kind.

    `steps`: created and changed objects, in order. `broken`: violations in rules, formulas and
    templates that were accepted and count as false (R33). `omitted`: content not loaded (R29).
    `errors`: refusals, with `continue_on_error`.
    """

    created: dict[EntityKind, int] = field(default_factory=dict)
    changed: dict[EntityKind, int] = field(default_factory=dict)
    same: dict[EntityKind, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    broken: list[Finding] = field(default_factory=list)
    left_out: list[Finding] = field(default_factory=list)
    refused: list[ProfferError] = field(default_factory=list)

    def count(self, kind: EntityKind) -> int:
        return sum(made.get(kind, 0) for made in (self.created, self.changed, self.same))


def sections(content: Any) -> list[Entry]:
    """Return the objects of a library file, in loading order.

    Raises `Invalid` with all violations if the file is not a mapping of such lists.
    """
    return together([("$", content)])


def together(parts: Sequence[tuple[str, Any]]) -> list[Entry]:
    """Return the objects of several files of one library, in loading order.

    `parts`: (root of the JSON paths, file content). Raises `Invalid` as `library_entries` does.
    """
    found: list[Entry] = []
    for root, content in parts:
        try:
            found += [(kind, root + path[1:], one) for kind, path, one in _read(content)]
        except Invalid as error:
            raise error.under(root) from None
    twins = list(_twins(found))
    if twins:
        raise Invalid.of(twins)
    order = list(SECTIONS.values())
    return sorted(found, key=lambda entry: order.index(entry[0]))


def _read(content: Any) -> Iterator[Entry]:
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
    for name, kind in SECTIONS.items():
        for index, one in enumerate(content.get(name) or []):
            yield kind, f"$.{name}[{index}]", one


def _twins(found: Sequence[Entry]) -> Iterator[Finding]:
    """Yield a violation for each object whose `@id`, or name without `@id`s, is a duplicate."""
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
    access: AuthorizedContainer,
    content: Any,
) -> Report:
    """Write every object of a library file, in order; stop at the first refusal.

    Objects written before that remain: load the corrected file again. Two objects of one kind and
    name, in the file or in the library, are ambiguous without `@id`s and an error.
    """
    return await load_entries(catalog, access, sections(content))


async def load_entries(
    catalog: CatalogService,
    access: AuthorizedContainer,
    entries: Sequence[Entry],
    *,
    to_the_end: bool = False,
) -> Report:
    """Write these objects as `load` does; `continue_on_error` reports refusals and goes on."""
    report = Report()
    state = access.state
    named = _Names(state.catalog)

    async def write(kind: EntityKind, path: str, document: Mapping[str, Any]) -> None:
        before = _match(state.catalog, named, kind, document, path)
        if before is None:
            written = await catalog.create(access, kind, document, importing=True)
            named.add(written)
            made = report.created
        elif _same({**document, "@id": before.id}, before.document):
            written, made = before, report.same
        else:
            written = await catalog.revise(
                access, before.instance_id, _constant(document), importing=True
            )
            made = report.changed
        made[kind] = made.get(kind, 0) + 1
        if made is not report.same:
            report.steps.append(Step(before=before, after=written))
        broken = [*mistakes(written, schema_of(state.catalog)), *template_mistakes(written)]
        report.broken += Invalid.of(broken).under(path).findings if broken else ()

    for kind, path, given in entries:
        document, left_out = _first_of_each_placement(kind, path, given)
        report.left_out += left_out
        try:
            await write(kind, path, document)
        except ProfferError as error:
            refusal = _placed(error, path)
            if not to_the_end:
                raise refusal from None
            report.refused.append(refusal)
    return report


def _placed(error: ProfferError, path: str) -> ProfferError:
    if isinstance(error, Invalid):
        return error.under(path)
    return type(error)(f"{path}: {error.detail}", code=error.code, extra=error.extra)


def _first_of_each_placement(
    kind: EntityKind, path: str, document: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[Finding]]:
    """Return an offer with only the first representation per placement, and violations (R29)."""
    listed = document.get("xdm:representations")
    if kind not in {EntityKind.OFFER, EntityKind.FALLBACK} or not isinstance(listed, list):
        return document, []
    seen: dict[str, int] = {}
    kept: list[Any] = []
    left_out: list[Finding] = []
    for index, one in enumerate(listed):
        placement = one.get("xdm:placement") if isinstance(one, Mapping) else None
        first = (
            seen.setdefault(canonical(placement), index) if isinstance(placement, str) else index
        )
        if first == index:
            kept.append(one)
        else:
            left_out.append(
                Finding(
                    code="duplicate-representation",
                    message=f"representation {first} is for placement `{placement}` too and is used; "
                    "this one is left out",
                    path=f"{path}.xdm:representations[{index}]",
                )
            )
    return ({**document, "xdm:representations": kept} if left_out else document), left_out


def _constant(document: Mapping[str, Any]) -> Any:
    return lambda _: document


class _Names:
    """Instance ids by kind and name: of the catalog when loading began, and of new objects."""

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
    """Return whether both are the same JSON, regardless of member order; 1 is not `true`."""
    if left != right:
        return False
    return msgspec.json.encode(dict(left), order="sorted") == msgspec.json.encode(
        dict(right), order="sorted"
    )


def _finding(path: str, message: str, mend: str) -> Finding:
    return Finding(code="library-file", message=message, path=path, help=mend)
