"""The catalogue and drafts over it: what is found, in either spelling, after any writes."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given

from proffer.model.catalog import Catalog, CatalogOverlay
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.testing import strategies
from proffer.testing.builders import a_tag, an_instance, an_offer, id_of

Change = tuple[EntityKind, str, Mapping[str, Any] | None]


def test_an_object_is_found_by_both_spellings_of_its_id() -> None:
    """And by its instance id; not once it is deleted."""
    catalog = Catalog("c1")
    offer = an_instance(an_offer("gold"))
    catalog.apply(offer)

    assert offer is catalog.by_id(offer.id.replace("xcore", "dps"))
    assert offer is catalog.by_instance(offer.instance_id)
    catalog.apply(an_instance(an_offer("gold"), revision=2, deleted=True))
    assert catalog.by_id(offer.id) is None
    assert catalog.revision == 2


def test_a_renamed_tag_frees_its_name() -> None:
    """The name leads to the tag that has it now."""
    catalog = Catalog("c1")
    catalog.apply(an_instance(a_tag("red")))
    catalog.apply(an_instance(a_tag("red") | {"xdm:name": "crimson"}))

    assert catalog.tag_by_name("red") is None
    assert catalog.tag_by_name("crimson") is not None


def versions(changes: list[Change], start: int) -> list[Instance]:
    """The changes as versions; tags of different names, as the rules between objects demand."""
    made = []
    for revision, (kind, name, document) in enumerate(changes, start):
        given = {"@id": id_of(kind, name)} if document is None else document
        made.append(an_instance(given, revision=revision, deleted=document is None))
    return made


def said(library: Catalog | CatalogOverlay) -> dict[str, Any]:
    """All that can be asked, in one value."""
    keys = [id_of(kind, name) for name in strategies.NAMES for kind in EntityKind]
    keys += [id_of(kind, strategies.MISSING) for kind in EntityKind]

    def listed(kind: EntityKind) -> list[str]:
        found = library.of_kind(kind)
        return sorted(one if isinstance(one, str) else one.instance_id for one in found)

    return {
        "by id": [library.by_id(key) for key in keys],
        "by instance": [library.by_instance(f"instance of {key}") for key in keys],
        "referrers": [sorted(one.id for one in library.referrers(key)) for key in keys],
        "tags": [library.tag_by_name(name) for name in strategies.TAGS],
        "kinds": [listed(kind) for kind in EntityKind],
        "counts": [library.count(kind) for kind in EntityKind],
    }


@given(strategies.libraries, strategies.changes, strategies.changes)
def test_a_draft_says_what_the_catalogue_will_say(
    library: list[dict[str, Any]], before: list[Change], over: list[Change]
) -> None:
    """draft-foretells: a catalogue with a draft over it answers as it does once the draft is applied."""
    catalog = Catalog.of("c1", 0, [an_instance(document) for document in library])
    for version in versions(before, 1):
        catalog.apply(version)
    draft = CatalogOverlay(catalog)
    for version in versions(over, catalog.revision + 1):
        assert version.revision == draft.next_revision
        draft.add(version)
    foretold = said(draft)
    for version in draft.versions:
        catalog.apply(version)

    assert said(catalog) == foretold


@given(strategies.changes)
def test_deleting_everything_leaves_nothing(changes: list[Change]) -> None:
    """No index keeps what is gone; that ids are not used again is for the store to see to."""
    catalog = Catalog("c1")
    for version in versions(changes, 1):
        catalog.apply(version)
    for instance in list(catalog):
        catalog.apply(an_instance(instance.document, deleted=True))

    assert vars(Catalog("c1")) | {"revision": catalog.revision} == vars(catalog)
