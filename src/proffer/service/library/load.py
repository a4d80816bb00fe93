"""Load a library from a file: objects by kind, each matched by `@id`, else by kind and name, or new.

Unchanged objects are not written, so loading a file twice changes nothing the second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from proffer.errors import Invalid, ProfferError, Violation
from proffer.model.catalog import Catalog
from proffer.model.ids import KIND_LABELS, EntityKind, canonical
from proffer.model.instance import Instance
from proffer.model.limit_index import is_same_document
from proffer.model.long_names import with_short_names
from proffer.service.library.check_content import content_violations
from proffer.service.library.objects import CatalogService, WriteReceipt
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.rules.check import broken_expressions

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
class LoadStep:
    """One written object: its previous version, if any, and the new one."""

    before: Instance | None
    after: Instance


@dataclass(slots=True)
class LoadReport:
    """Result of loading: how many objects were created, changed and unchanged, by kind.

    `steps`: created and changed objects, in order. `broken`: violations in rules, formulas and
    templates that were accepted and count as false (R33). `warnings`: about the
    written objects. `omitted`: content not loaded (R29).
    `errors`: refusals, with `continue_on_error`.
    """

    created: dict[EntityKind, int] = field(default_factory=dict)
    changed: dict[EntityKind, int] = field(default_factory=dict)
    unchanged: dict[EntityKind, int] = field(default_factory=dict)
    steps: list[LoadStep] = field(default_factory=list)
    broken: list[Violation] = field(default_factory=list)
    warnings: list[Violation] = field(default_factory=list)
    omitted: list[Violation] = field(default_factory=list)
    errors: list[ProfferError] = field(default_factory=list)

    def count(self, kind: EntityKind) -> int:
        return sum(counts.get(kind, 0) for counts in (self.created, self.changed, self.unchanged))


def library_entries(content: Any) -> list[Entry]:
    """Return the objects of a library file, in loading order.

    Raises `Invalid` with all violations if the file is not a mapping of such lists.
    """
    return sort_by_dependency([("$", content)])


def sort_by_dependency(parts: Sequence[tuple[str, Any]]) -> list[Entry]:
    """Return the objects of several files of one library, in loading order.

    `parts`: (root of the JSON paths, file content). Raises `Invalid` as `library_entries` does.
    """
    entries: list[Entry] = []
    for root, content in parts:
        try:
            entries += [(kind, root + path[1:], document) for kind, path, document in _read_entries(content)]
        except Invalid as error:
            raise error.with_root(root) from None
    duplicates = list(_duplicates(entries))
    if duplicates:
        raise Invalid.of(duplicates)
    order = list(SECTIONS.values())
    return sorted(entries, key=lambda entry: order.index(entry[0]))


def _read_entries(content: Any) -> Iterator[Entry]:
    if not isinstance(content, Mapping):
        raise Invalid.of([_file_violation("$", "the file is not a mapping", "see the sample library")])
    violations = [
        _file_violation(
            f"$.{name}",
            f"`{name}` is not a list of a library file",
            f"lists are {', '.join(SECTIONS)}",
        )
        for name in content
        if name not in SECTIONS and name != "comment"
    ]
    for name in SECTIONS:
        objects = content.get(name) or []
        if not isinstance(objects, Sequence) or isinstance(objects, str):
            violations.append(_file_violation(f"$.{name}", f"`{name}` is not a list", "write a list of objects"))
            continue
        violations += [
            _file_violation(f"$.{name}[{index}]", "this is not an object", "write one object per entry")
            for index, document in enumerate(objects)
            if not isinstance(document, Mapping)
        ]
    if violations:
        raise Invalid.of(violations)
    for name, kind in SECTIONS.items():
        for index, document in enumerate(content.get(name) or []):
            yield kind, f"$.{name}[{index}]", with_short_names(document)


def _duplicates(entries: Sequence[Entry]) -> Iterator[Violation]:
    """Yield a violation for each object with a duplicate `@id` or name. Objects with `@id`s may share a name."""
    ids: dict[str, str] = {}
    names: dict[tuple[EntityKind, str], list[tuple[str, bool]]] = {}
    for kind, path, document in entries:
        entity_id, name = document.get("@id"), document.get("xdm:name")
        if isinstance(entity_id, str):
            first_path = ids.setdefault(canonical(entity_id), path)
            if first_path != path:
                message = f"`{entity_id}` is also the `@id` of the object at {first_path}"
                yield _file_violation(f"{path}.@id", message, "give each object its own `@id`")
        if isinstance(name, str):
            occurrences = names.setdefault((kind, name), [])
            has_id = isinstance(entity_id, str)
            if occurrences and not (has_id and all(other_has_id for _, other_has_id in occurrences)):
                message = f"the object at {occurrences[0][0]} has the same kind and the name `{name}` too"
                yield _file_violation(f"{path}.xdm:name", message, "give both an `@id`, or rename one")
            occurrences.append((path, has_id))


async def load(
    catalog: CatalogService,
    access: AuthorizedContainer,
    content: Any,
) -> LoadReport:
    """Write every object of a library file, in order; stop at the first refusal.

    Objects written before that remain: load the corrected file again. Two objects of one kind and
    name, in the file or in the library, are ambiguous without `@id`s and an error.
    """
    return await load_entries(catalog, access, library_entries(content))


async def load_entries(
    catalog: CatalogService,
    access: AuthorizedContainer,
    entries: Sequence[Entry],
    *,
    continue_on_error: bool = False,
) -> LoadReport:
    """Write these objects as `load` does; `continue_on_error` reports refusals and goes on."""
    report = LoadReport()
    state = access.state
    name_index = _NameIndex(state.catalog)

    async def write(kind: EntityKind, path: str, document: Mapping[str, Any]) -> None:
        receipt: WriteReceipt | None
        before = _match(state.catalog, name_index, kind, document, path)
        if before is None:
            receipt = await catalog.create(access, kind, document, importing=True)
            written = receipt.instance
            name_index.add(written)
            counts = report.created
        elif is_same_document(kind, {**document, "@id": before.id}, before.document):
            receipt, written, counts = None, before, report.unchanged
        else:
            receipt = await catalog.revise(access, before.instance_id, _constant(document), importing=True)
            written = receipt.instance
            counts = report.changed
        counts[kind] = counts.get(kind, 0) + 1
        if counts is not report.unchanged:
            report.steps.append(LoadStep(before=before, after=written))
        if receipt is not None and receipt.warnings:
            report.warnings += Invalid.of(receipt.warnings).with_root(path).violations
        broken = [
            *broken_expressions(written, state.catalog),
            *content_violations(written),
        ]
        report.broken += Invalid.of(broken).with_root(path).violations if broken else ()

    for kind, path, original in entries:
        document, omitted = _without_duplicate_placements(kind, path, original)
        report.omitted += omitted
        try:
            await write(kind, path, document)
        except ProfferError as error:
            path_error = _with_path(error, path)
            if not continue_on_error:
                raise path_error from None
            report.errors.append(path_error)
    return report


def _with_path(error: ProfferError, path: str) -> ProfferError:
    if isinstance(error, Invalid):
        return error.with_root(path)
    return type(error)(f"{path}: {error.detail}", code=error.code, extra=error.extra)


def _without_duplicate_placements(
    kind: EntityKind, path: str, document: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[Violation]]:
    """Return an offer with only each placement's first representation, and violations (R29)."""
    representations = document.get("xdm:representations")
    if kind not in {EntityKind.OFFER, EntityKind.FALLBACK} or not isinstance(representations, list):
        return document, []
    seen: dict[str, int] = {}
    unique: list[Any] = []
    omitted: list[Violation] = []
    for index, representation in enumerate(representations):
        placement = representation.get("xdm:placement") if isinstance(representation, Mapping) else None
        first = seen.setdefault(canonical(placement), index) if isinstance(placement, str) else index
        if first == index:
            unique.append(representation)
        else:
            omitted.append(
                Violation(
                    code="duplicate-representation",
                    message=f"representation {first} is also for placement `{placement}` and is used; "
                    "this one is ignored",
                    path=f"{path}.xdm:representations[{index}]",
                )
            )
    return ({**document, "xdm:representations": unique} if omitted else document), omitted


def _constant(document: Mapping[str, Any]) -> Any:
    return lambda _: document


class _NameIndex:
    """Instance ids by kind and name: of the catalog when loading began, and of new objects."""

    def __init__(self, catalog: Catalog) -> None:
        self._ids_by_name: dict[tuple[EntityKind, str], list[str]] = {}
        for instance in catalog:
            self.add(instance)

    def add(self, instance: Instance) -> None:
        self._ids_by_name.setdefault((instance.kind, instance.name), []).append(instance.instance_id)

    def get(self, kind: EntityKind, name: str) -> list[str]:
        return self._ids_by_name.get((kind, name), [])


def _match(
    catalog: Catalog,
    name_index: _NameIndex,
    kind: EntityKind,
    document: Mapping[str, Any],
    path: str,
) -> Instance | None:
    entity_id, name = document.get("@id"), document.get("xdm:name")
    if isinstance(entity_id, str):
        holder = catalog.by_id(entity_id)
        return holder if holder is not None and holder.kind is kind else None
    if not isinstance(name, str):
        return None
    instances = (catalog.by_instance(instance_id) for instance_id in name_index.get(kind, name))
    matches = [instance for instance in instances if instance is not None and instance.name == name]
    if len(matches) > 1:
        word = KIND_LABELS[kind]
        raise Invalid.of(
            [
                _file_violation(
                    "$.xdm:name",
                    f"the library has {len(matches)} objects of kind {word} named `{name}`",
                    f"give the `@id` of the object at {path}",
                )
            ]
        )
    return matches[0] if matches else None


def _file_violation(path: str, message: str, remedy: str) -> Violation:
    return Violation(code="library-file", message=message, path=path, help=remedy)
