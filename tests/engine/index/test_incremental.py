"""A pool of which few offers have changed is patched, and says what one made anew would say."""

from collections.abc import Generator, Sequence
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.engine.compiled import BoundOffer
from proffer.engine.decide import decide
from proffer.engine.index.arrays import PoolArrays
from proffer.engine.index.bitset import bits_of, positions_of
from proffer.engine.index.incremental import MAX_CHANGES
from proffer.engine.index.index import PredicateIndex, build_index
from proffer.engine.index.position_map import PositionChanges
from proffer.engine.snapshot import Snapshot
from proffer.engine.steps import run_to_completion
from proffer.model.ids import EntityKind
from proffer.testing.builders import (
    ALWAYS_INDEXED,
    NOON,
    SECOND,
    Document,
    a_cap,
    a_collection,
    a_constraint,
    a_criterion,
    a_decision,
    a_formula,
    a_library,
    a_rule,
    a_scope,
    a_snapshot,
    an_entity,
    an_offer,
    by_formula,
    entities,
    id_of,
    some_inputs,
)
from support.values import values_of

MANY = 40
WINDOWS = [(NOON - 5 * SECOND, NOON + 5 * SECOND), (NOON, NOON), (NOON + SECOND, NOON + 9 * SECOND)]
CONSTRAINTS = [
    a_constraint(),
    *(a_constraint(rule=name) for name in ("young", "old", "French", "long", "bad", "absent")),
    a_constraint(rules=["young", "French"]),
    a_constraint(any_audience=["vip"]),
    a_constraint(all_audiences=["vip", "new"]),
]
RULES = [
    a_rule("young", "person.age < 30"),
    a_rule("old", "person.age >= 60"),
    a_rule("French", 'homeAddress.countryCode = "FR"'),
    a_rule("long", "person.name.count() > offer.characteristics.weight.toInteger()"),
    a_rule("bad", "person.age >="),
]
MEMBERSHIPS: list[dict[str, Any]] = [{}, {"ups": {"vip": {}}}, {"ups": {"vip": {}, "new": {}}}]
PROFILES: list[dict[str, Any]] = [
    {"person": {"age": age}, "homeAddress": {"countryCode": country}, "segmentMembership": member}
    for age in (20, 40, 70)
    for country in ("FR", "DE")
    for member in MEMBERSHIPS
]
SHAPES = st.fixed_dictionaries(
    {
        "priority": st.integers(0, 3),
        "window": st.sampled_from(WINDOWS),
        "constraint": st.sampled_from(CONSTRAINTS),
        "status": st.sampled_from(["approved", "approved", "draft"]),
        "tags": st.sampled_from([["a"], ["b"], ["a", "b"], []]),
        "content": st.sampled_from([["web"], ["web"], []]),
        "caps": st.sampled_from([[], [], [a_cap(3)]]),
        "formula": st.sampled_from([None, None, "by age", "by rank"]),
    }
)
OFFERS = st.lists(SHAPES, min_size=1, max_size=MANY)
CHANGES = st.lists(
    st.lists(st.tuples(st.integers(0, MANY), st.none() | SHAPES), min_size=1, max_size=3),
    max_size=6,
)


def numbered(number: int, shape: dict[str, Any]) -> Document:
    known = dict(shape)
    formula = known.pop("formula", None)
    offer = an_offer(f"offer {number}", **known)
    if formula is not None:
        offer["xdm:rank"]["xdm:order"] = by_formula(formula)
    return offer


def two_collections(offers: list[Document]) -> list[Document]:
    return a_library(
        *offers,
        *RULES,
        a_collection("a", any_tags=["a"]),
        a_collection("b", any_tags=["b"]),
        a_decision("decision", a_criterion("a"), a_criterion("b", priority=2)),
        a_decision("a alone", a_criterion("a")),
        a_formula("by age", "person.age - 10 * offer.rank.priority"),
        a_formula("by rank", "offer.rank.priority"),
        a_decision("scored", a_criterion("a", formula="by age")),
    )


def asked(snapshot: Snapshot) -> Any:
    """What it decides for all sorts of customers at all sorts of moments."""
    return values_of(
        [
            decide(
                snapshot,
                some_inputs(
                    a_scope("decision", item_count=wanted),
                    a_scope("a alone", item_count=wanted),
                    a_scope("scored", item_count=wanted),
                    profile=profile,
                    now_us=NOON + seconds * SECOND,
                    seed=str(seconds),
                ),
            )
            for seconds in (-6, -1, 0, 1, 6, 10)
            for wanted, profile in zip((1, 3, 50) * 6, PROFILES, strict=True)
        ]
    )


@given(OFFERS, CHANGES, st.lists(st.integers(0, 20), min_size=6, max_size=6))
def test_a_patched_library_decides_as_one_made_anew(
    shapes: list[dict[str, Any]],
    changes: list[list[tuple[int, dict[str, Any] | None]]],
    in_between: list[int],
) -> None:
    """incremental-is-scratch: whatever of an offer has changed, few at a time and many in the end.

    And however far an index has come meanwhile that is made anew.
    """
    offers = {number: numbered(number, shape) for number, shape in enumerate(shapes)}
    builder = SnapshotBuilder("c1", tuning=ALWAYS_INDEXED)
    builder.apply(entities(two_collections(list(offers.values()))).items(), 1)
    renewal = builder.reindex_in_background()
    for revision, together in enumerate(changes, 2):
        batch = []
        for number, shape in together:
            offers.pop(number, None)
            if shape is not None:
                offers[number] = numbered(number, shape)
            key = id_of(EntityKind.OFFER, f"offer {number}")
            batch.append((key, None if shape is None else an_entity(offers[number])))
        snapshot = builder.apply(batch, revision)
        if next(islice(renewal, in_between[revision - 2], None), renewal) is renewal:
            renewal = builder.reindex_in_background()

        anew = a_snapshot(two_collections(list(offers.values())), ALWAYS_INDEXED)
        assert asked(anew) == asked(snapshot)
        if revision == len(changes) + 1:
            run_to_completion(builder.reindex_in_background())
            assert builder.changed_offer_count == 0
            assert asked(anew) == asked(snapshot)


def test_no_index_is_made_for_a_few_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank, dates, rule, limits, approval: an offer may change in any way, and so may some others, one by one."""
    shapes: list[dict[str, Any]] = [
        {"priority": 9},
        {"priority": 0, "rule": "old"},
        {"window": WINDOWS[1]},
        {"constraint": CONSTRAINTS[8]},
        {"cap": 2},
        {"status": "draft"},
        {},
        {"xdm:name": "another name"},
    ]
    builder = SnapshotBuilder("c1")
    offers = [an_offer(f"offer {number}", priority=number % 7) for number in range(80)]
    builder.apply(entities(a_library(*offers, *RULES)).items(), 1)
    made: list[int] = []

    def noted(offers: Sequence[BoundOffer], **how: Any) -> Generator[None, None, PredicateIndex]:
        made.append(len(offers))
        return build_index(offers, **how)

    monkeypatch.setattr("proffer.engine.index.pool.build_index", noted)

    def change(revision: int, number: int, **shape: Any) -> None:
        offer = an_entity(an_offer(f"offer {number}", **{"priority": number % 7} | shape))
        builder.apply([(offer.id, offer)], revision)

    for revision, shape in enumerate(shapes, 2):
        change(revision, 5, **shape)
    assert made == []
    for number in range(MAX_CHANGES + 1):
        change(20 + number, number, priority=50 + number)
    assert len(made) == 1


@given(st.data(), st.integers(1, 60))
def test_sets_and_lists_follow_moves(data: st.DataObject, size: int) -> None:
    """Who has gone is in none of them, who has come is where it is said, all others keep their order."""
    gone = data.draw(st.sets(st.integers(0, size - 1), max_size=5))
    come = data.draw(st.lists(st.integers(0, size - len(gone)), max_size=5).map(sorted))
    moves = PositionChanges(tuple(sorted(gone)), tuple(place + number for number, place in enumerate(come)))
    before = list(range(size))
    chosen = data.draw(st.sets(st.sampled_from(before)))
    draws = [at * 3 for at in before]
    after = moves.remap_list(before, [-1 - number for number in range(len(come))])

    staying = [one for one in before if one not in gone]
    assert [one for one in after if one >= 0] == staying
    assert [after[position] for position in moves.inserted] == [-1 - at for at in range(len(come))]
    assert [after[moves.remap_position(one)] for one in staying] == staying
    assert {after[at] for at in positions_of(moves.remap_bits(bits_of(chosen)))} == chosen - gone
    moved = PoolArrays(draws, []).with_changes(moves, [-3 * one for one in after if one < 0], [])
    plain = PoolArrays([abs(one * 3) for one in after], [])
    everybody = (1 << len(after)) - 1
    assert moved.order_by_level(everybody, 7) == plain.order_by_level(everybody, 7)


def test_what_a_formula_lets_go_of_does_not_keep_what_moves_meanwhile() -> None:
    """A formula changes, and with it an offer that lacks content leaves its collections: no trace says it is there."""
    rank: Any = {"xdm:priority": 0, "xdm:order": by_formula("elder")}
    ranked = an_offer("ranked", tags=["a", "b"], **{"xdm:rank": rank})
    library = [
        a_formula("elder", "person.age"),
        ranked,
        *(numbered(number, {"tags": ["a", "b"], "content": []}) for number in range(2)),
    ]
    builder = SnapshotBuilder("c1", tuning=ALWAYS_INDEXED)
    builder.apply(entities(two_collections(library)).items(), 1)
    library[0] = a_formula("elder", "person.age + 1")
    library[2] = numbered(0, {"tags": [], "content": []})
    batch = [an_entity(library[place]) for place in (0, 2)]
    snapshot = builder.apply([(one.id, one) for one in batch], 2)

    inputs = some_inputs(a_scope("decision"), profile=PROFILES[0])
    anew = a_snapshot(two_collections(library), ALWAYS_INDEXED)
    assert values_of(decide(anew, inputs, explain=True)) == values_of(decide(snapshot, inputs, explain=True))
