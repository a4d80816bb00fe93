"""The law of the two spellings: what is stored can be shown and stored again, and nothing is lost."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proffer.model.documents import SHAPES
from proffer.model.ids import SERVED, EntityKind, kind_of
from proffer.testing.strategies import ODDNESS, SEEDS, a_random_library
from proffer.validation import walk
from proffer.wire.dps import TABLES
from proffer.wire.renaming import (
    AsItIs,
    Each,
    Entries,
    Names,
    Node,
    Words,
    shown,
    shown_path,
    shown_shape,
    stored,
)

PLAIN = st.none() | st.booleans() | st.integers(0, 9) | st.text("ab:", max_size=3)
ODD_NAMES = st.sampled_from(["foo", "_acme", "a.b", "xdm:nobody", "", 'x"y'])


def names_of(node: Names) -> st.SearchStrategy[str]:
    known = [
        name
        for shown_name, member in node.members.items()
        for name in (shown_name, member.stored, *member.aliases)
    ]
    return st.sampled_from(known) | ODD_NAMES


def anything_stored(node: Node) -> st.SearchStrategy[Any]:
    """Stored documents, odd ones among them: any member under any of its names, and under those of others."""
    match node:
        case Words():
            words = [*node.shown, *node.shown.values(), *node.accepted, "other"]
            return st.sampled_from(words) | PLAIN
        case Each():
            return st.lists(anything_stored(node.of), max_size=3) | PLAIN
        case Entries():
            return st.dictionaries(ODD_NAMES, anything_stored(node.of), max_size=2) | PLAIN
        case Names():
            return st.lists(names_of(node), max_size=4, unique=True).flatmap(
                lambda names: st.fixed_dictionaries(
                    {name: anything_stored(inside(node, name)) for name in names}
                )
            )
        case _:
            return PLAIN


def inside(node: Names, name: str) -> Node:
    known = node.by_alias.get(name) or node.by_stored.get(name)
    return node.members[known].of if known is not None else AsItIs()


@pytest.mark.parametrize("kind", SERVED)
@given(data=st.data())
def test_what_is_shown_and_not_changed_is_stored_as_it_was(
    kind: EntityKind, data: st.DataObject
) -> None:
    """To the letter and in order of members, whatever names and values it had, unknown ones included."""
    document = data.draw(anything_stored(TABLES[kind]))

    assert stored(TABLES[kind], shown(TABLES[kind], document), document) == document


@pytest.mark.parametrize("kind", SERVED)
@given(data=st.data())
def test_nothing_is_shadowed(kind: EntityKind, data: st.DataObject) -> None:
    """A shown document has as many members as the stored one, and what is stored anew shows the same."""
    document = data.draw(anything_stored(TABLES[kind]))
    once = shown(TABLES[kind], document)

    assert len(once) == len(document)
    assert shown(TABLES[kind], stored(TABLES[kind], once, document)) == once


@pytest.mark.parametrize("kind", SERVED)
@given(data=st.data())
def test_a_change_leaves_all_else_as_it_was(kind: EntityKind, data: st.DataObject) -> None:
    """One member removed where it is shown is one fewer where it is stored; the others keep their spelling."""
    table = TABLES[kind]
    document = data.draw(anything_stored(table).filter(bool))
    for (
        member
    ) in table.members.values():  # of two spellings of one member, the other would come forward
        assume(sum(name in document for name in (member.stored, *member.aliases)) < 2)
    once = dict(shown(table, document))
    gone = data.draw(st.sampled_from(sorted(once)))
    del once[gone]
    after = stored(table, once, document)

    assert len(after) == len(document) - 1
    assert shown(table, after).keys() == once.keys()
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
        table = TABLES[kind]
        found = {shown_path(table, one.path or "$") for one in walk(SHAPES[kind], document)}
        again = walk(shown_shape(table, SHAPES[kind]), shown(table, document))
        assert {one.path for one in again} == found


@pytest.mark.parametrize("kind", SERVED)
def test_no_name_is_taken_twice(kind: EntityKind) -> None:
    """In every table, shown names, stored names and aliases lead to one member each."""
    for node in tables_in(TABLES[kind]):
        stored_names = [member.stored for member in node.members.values()]
        assert len(stored_names) == len(set(stored_names))
        for name, member in node.members.items():
            others: Mapping[str, Any] = {k: v for k, v in node.members.items() if k != name}
            assert member.stored not in others
            for alias in member.aliases:
                assert alias not in others
                assert alias not in node.by_stored


def tables_in(node: Node) -> list[Names]:
    match node:
        case Each() | Entries():
            return tables_in(node.of)
        case Names():
            return [node, *(one for m in node.members.values() for one in tables_in(m.of))]
        case _:
            return []


def test_words_of_the_documented_pages() -> None:
    """The samples of both generations are each other's translation (spec 1.0, 3.4)."""
    table = TABLES[EntityKind.DECISION]
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

    assert xcore == stored(table, dps)
    assert dps == shown(table, xcore)
