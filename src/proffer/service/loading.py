"""Load a library from a file: objects by kind, each matched by `@id`, else by kind and name, or new.

What exists and says the same is left alone, so loading a file twice changes nothing the second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proffer.auth.principal import Principal
from proffer.errors import Finding, Invalid, ProfferError
from proffer.model.ids import WORDS, EntityKind
from proffer.model.instance import Instance
from proffer.service.catalog import CatalogService
from proffer.service.libraries import Libraries

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
    """What loading did, by kind: how many were created, changed, and already as the file says."""

    created: dict[EntityKind, int] = field(default_factory=dict)
    changed: dict[EntityKind, int] = field(default_factory=dict)
    same: dict[EntityKind, int] = field(default_factory=dict)

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
    for name, kind in SECTIONS.items():
        for index, one in enumerate(content.get(name) or []):
            yield kind, f"$.{name}[{index}]", one


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
    for kind, path, document in sections(content):
        library = libraries.find(by, container)
        try:
            before = _match(list(library.catalog.of_kind(kind).values()), document, path)
            if before is None:
                await catalog.create(by, container, kind, document)
                made = report.created
            elif {**document, "@id": before.id} == dict(before.document):
                made = report.same
            else:
                await catalog.revise(by, container, before.instance_id, _constant(document))
                made = report.changed
        except Invalid as error:
            raise error.under(path) from None
        except ProfferError as error:
            raise type(error)(
                f"{path}: {error.detail}", code=error.code, extra=error.extra
            ) from None
        made[kind] = made.get(kind, 0) + 1
    return report


def _constant(document: Mapping[str, Any]) -> Any:
    return lambda _: document


def _match(
    instances: Sequence[Instance], document: Mapping[str, Any], path: str
) -> Instance | None:
    entity_id = document.get("@id")
    if isinstance(entity_id, str):
        return next((one for one in instances if one.id == entity_id), None)
    name = document.get("xdm:name")
    same = [one for one in instances if one.document.get("xdm:name") == name]
    if len(same) > 1:
        word = WORDS[same[0].kind]
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


def _finding(path: str, message: str, mend: str) -> Finding:
    return Finding(code="library-file", message=message, path=path, help=mend)
