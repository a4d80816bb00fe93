"""The law of the two spellings: what is stored can be shown and stored again, and nothing is lost."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proffer.model.documents import SHAPES
from proffer.model.ids import SERVED_KINDS, EntityKind, kind_of
from proffer.testing.strategies import ODDNESS, SEEDS, a_random_library
from proffer.validation import validate
from proffer.wire.dps import RENAMING_BY_KIND
from proffer.wire.renaming import (
    ListRenaming,
    MapRenaming,
    NoRenaming,
    ObjectRenaming,
    Renaming,
    ValueRenaming,
    public_path,
    public_shape,
    to_public,
    to_stored,
)

PLAIN = st.none() | st.booleans() | st.integers(0, 9) | st.text("ab:", max_size=3)
ODD_NAMES = st.sampled_from(["foo", "_acme", "a.b", "xdm:nobody", "", 'x"y'])


def names_of(node: ObjectRenaming) -> st.SearchStrategy[str]:
    known = [
        name for shown_name, member in node.members.items() for name in (shown_name, member.stored, *member.aliases)
    ]
    return st.sampled_from(known) | ODD_NAMES


def anything_stored(node: Renaming) -> st.SearchStrategy[Any]:
    """Stored documents, odd ones among them: any member under any of its names, and under those of others."""
    match node:
        case ValueRenaming():
            words = [
                *node.public_by_stored,
                *node.public_by_stored.values(),
                *node.stored_by_accepted,
                "other",
            ]
            return st.sampled_from(words) | PLAIN
        case ListRenaming():
            return st.lists(anything_stored(node.of), max_size=3) | PLAIN
        case MapRenaming():
            return st.dictionaries(ODD_NAMES, anything_stored(node.of), max_size=2) | PLAIN
        case ObjectRenaming():
            return st.lists(names_of(node), max_size=4, unique=True).flatmap(
                lambda names: st.fixed_dictionaries({name: anything_stored(inside(node, name)) for name in names})
            )
        case _:
            return PLAIN


def inside(node: ObjectRenaming, name: str) -> Renaming:
    public_by_stored_name = {member.stored: public for public, member in node.members.items()}
    known = node.public_by_alias.get(name) or public_by_stored_name.get(name)
    return node.members[known].of if known is not None else NoRenaming()


@pytest.mark.parametrize("kind", SERVED_KINDS)
@given(data=st.data())
def test_what_is_shown_and_not_changed_is_stored_as_it_was(kind: EntityKind, data: st.DataObject) -> None:
    """To the letter and in order of members, whatever names and values it had, unknown ones included."""
    document = data.draw(anything_stored(RENAMING_BY_KIND[kind]))

    assert to_stored(RENAMING_BY_KIND[kind], to_public(RENAMING_BY_KIND[kind], document), document) == document


@pytest.mark.parametrize("kind", SERVED_KINDS)
@given(data=st.data())
def test_nothing_is_shadowed(kind: EntityKind, data: st.DataObject) -> None:
    """A shown document has as many members as the stored one, and what is stored anew shows the same."""
    document = data.draw(anything_stored(RENAMING_BY_KIND[kind]))
    once = to_public(RENAMING_BY_KIND[kind], document)

    assert len(once) == len(document)
    assert to_public(RENAMING_BY_KIND[kind], to_stored(RENAMING_BY_KIND[kind], once, document)) == once


@pytest.mark.parametrize("kind", SERVED_KINDS)
@given(data=st.data())
def test_a_change_leaves_all_else_as_it_was(kind: EntityKind, data: st.DataObject) -> None:
    """One member removed where it is shown is one fewer where it is stored; the others keep their spelling."""
    table = RENAMING_BY_KIND[kind]
    document = data.draw(anything_stored(table).filter(bool))
    for member in table.members.values():  # of two spellings of one member, the other would come forward
        assume(sum(name in document for name in (member.stored, *member.aliases)) < 2)
    once = dict(to_public(table, document))
    gone = data.draw(st.sampled_from(sorted(once)))
    del once[gone]
    after = to_stored(table, once, document)

    assert len(after) == len(document) - 1
    assert to_public(table, after).keys() == once.keys()
    for name, value in after.items():
        if name in document:
            assert value == document[name]


@settings(max_examples=30)
@given(seed=SEEDS, odd=ODDNESS)
def test_the_shape_is_renamed_as_the_documents_are(seed: int, odd: int) -> None:
    """Whatever the shape of the stored document finds, that of the shown one finds at the same places."""
    for document in a_random_library(seed, odd, 8, 3):
        kind = kind_of(document["@id"])
        assert kind is not None
        if kind is EntityKind.AUDIENCE:  # it has one surface
            continue
        table = RENAMING_BY_KIND[kind]
        found = {public_path(table, one.path or "$") for one in validate(SHAPES[kind], document)}
        again = validate(public_shape(table, SHAPES[kind]), to_public(table, document))
        assert {one.path for one in again} == found


@pytest.mark.parametrize("kind", SERVED_KINDS)
def test_no_name_is_taken_twice(kind: EntityKind) -> None:
    """In every table, shown names, stored names and aliases lead to one member each."""
    for node in tables_in(RENAMING_BY_KIND[kind]):
        stored_names = [member.stored for member in node.members.values()]
        assert len(stored_names) == len(set(stored_names))
        for name, member in node.members.items():
            others: Mapping[str, Any] = {k: v for k, v in node.members.items() if k != name}
            assert member.stored not in others
            for alias in member.aliases:
                assert alias not in others
                assert alias not in stored_names


def tables_in(node: Renaming) -> list[ObjectRenaming]:
    match node:
        case ListRenaming() | MapRenaming():
            return tables_in(node.of)
        case ObjectRenaming():
            return [node, *(one for m in node.members.values() for one in tables_in(m.of))]
        case _:
            return []


def test_words_of_the_documented_pages() -> None:
    """The samples of both generations are each other's translation (spec 1.0, 3.4)."""
    table = RENAMING_BY_KIND[EntityKind.DECISION]
    dps = {
        "name": "Home page NBO",
        "status": "live",
        "fallback": "dps:fallback-offer:1c2f",
        "criteria": [
            {
                "placements": ["dps:offer-placement:1c2f"],
                "rank": {
                    "priority": 1,
                    "order": {
                        "orderEvaluationType": "scoring-function",
                        "function": "dps:ranking-function:1c2f",
                    },
                },
                "profileConstraint": {"profileConstraintType": "none"},
                "optionSelection": {"filter": "dps:offer-filter:1c2f"},
            }
        ],
    }
    xcore = {
        "xdm:name": "Home page NBO",
        "xdm:status": "live",
        "xdm:fallback": "dps:fallback-offer:1c2f",
        "xdm:criteria": [
            {
                "xdm:placements": ["dps:offer-placement:1c2f"],
                "xdm:rank": {
                    "xdm:priority": 1,
                    "xdm:order": {
                        "xdm:orderEvaluationType": "scoringFunction",
                        "xdm:function": "dps:ranking-function:1c2f",
                    },
                },
                "xdm:profileConstraint": {"xdm:profileConstraintType": "none"},
                "xdm:optionSelection": {"xdm:filter": "dps:offer-filter:1c2f"},
            }
        ],
    }

    assert xcore == to_stored(table, dps)
    assert dps == to_public(table, xcore)
