"""The pieces of the index, each beside the plain way of saying the same."""

from itertools import accumulate
from operator import xor
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proffer.engine.index.arrays import PoolArrays
from proffer.engine.index.audiences import AudienceIndex, qualifies
from proffer.engine.index.bitset import bits_of, positions_of
from proffer.engine.index.date_windows import build_calendar
from proffer.engine.index.delta_bitmaps import DeltaBitmaps, DeltaBuilder
from proffer.engine.index.predicate_table import UnindexableValue, build_field_index
from proffer.engine.index.tie_break import GOLDEN_GAMMA, MIX_1, MIX_2, tie_key
from proffer.engine.steps import run_to_completion
from proffer.model.constraint import AudienceRef, Constraint, ConstraintType
from proffer.model.window import TimeWindow
from proffer.pql import CompiledRule, compile_rule
from proffer.pql.index.conditions import holds_for
from proffer.pql.index.conjuncts import conjuncts
from proffer.pql.index.predicates import Condition
from proffer.pql.syntax.nodes import ReadAs
from proffer.pql.values.reading import reader_of
from proffer.pql.values.values import UNREADABLE

POSITIONS = st.sets(st.integers(0, 300))


@given(POSITIONS)
@example(set(range(7, 900)))
def test_a_set_is_its_positions(positions: set[int]) -> None:
    """There and back again."""
    assert positions_of(bits_of(positions)) == sorted(positions)


@given(st.integers(1, 200), st.data())
def test_arrays_say_what_bits_say(size: int, data: st.DataObject) -> None:
    """Positions, what is left without some, and the order by level and lot: the same by either way."""
    random = Random(size)  # noqa: S311 - nothing here is a secret
    draws = [random.getrandbits(64) for _ in range(size)]
    levels = sorted(random.sample(range(1, size), random.randrange(size))) if size > 1 else []
    chosen = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    gone = data.draw(st.sets(st.sampled_from(sorted(chosen))))
    offers, bulk, seed = bits_of(chosen), PoolArrays(draws, levels), random.getrandbits(64)

    def place(position: int) -> tuple[int, int]:
        return (sum(at <= position for at in levels), tie_key(seed, draws[position]))

    assert bulk.positions(offers) == sorted(chosen)
    assert bulk.without(offers, sorted(gone)) == bits_of(chosen - gone)
    assert bulk.order_by_level(offers, seed) == sorted(chosen, key=place)
    assert bulk.order_ties(offers, 0, seed) == sorted(chosen, key=lambda at: tie_key(seed, draws[at]))


def test_equal_lots_keep_the_order_of_ids() -> None:
    """As the plain way does: offers of equal numbers stand as they stood, in any order of levels."""
    bulk = PoolArrays([7, 7, 3, 7, 7], [2])

    assert bulk.order_by_level(0b11111, 99)[:2] == [0, 1]
    assert bulk.order_ties(0b11011, 0, 99) == [0, 1, 3, 4]
    assert bulk.order_ties(0b11, 3, 99) == [3, 4]


def an_offer_whose_lot_is(lot: int, seed: int) -> int:
    """The number from which this lot is drawn: the draw backwards."""
    x = lot
    for shift, factor in ((31, MIX_2), (27, MIX_1), (30, GOLDEN_GAMMA)):
        x = (x ^ x >> shift ^ x >> 2 * shift) * pow(factor, -1, 1 << 64) % (1 << 64)
    return x ^ seed


def test_lots_that_differ_in_their_last_bits_only_are_told_apart() -> None:
    """Where a key has no room for those."""
    lots = [5, 4, 1 << 63, 3, 0]
    draws = [an_offer_whose_lot_is(lot, 99) for lot in lots]

    assert [tie_key(99, one) for one in draws] == lots
    assert PoolArrays(draws, []).order_by_level(0b11111, 99) == [4, 3, 1, 0, 2]
    assert PoolArrays(draws, [3]).order_by_level(0b11111, 99) == [1, 0, 2, 4, 3]


@given(st.dictionaries(st.integers(1, 40), st.integers(0, 2**80)), st.integers(0, 2**80))
def test_a_row_that_is_too_long_to_write_out_says_the_same(changes: dict[int, int], first: int) -> None:
    """Whatever room it has: every set, or every so many and the changes between them."""
    row = list(accumulate((changes.get(at, 0) for at in range(1, 41)), xor, initial=first))

    for most in (1 << 20, 400, 40):
        steps = DeltaBitmaps(first, changes, 41, 80, most)
        assert [steps[at] for at in range(41)] == row
        assert steps.is_expanded == (most > 41 * (80 // 8 + 28))
        if not steps.is_expanded:
            assert [steps.delta(at) for at in range(1, 41)] == [changes.get(at, 0) for at in range(1, 41)]


def test_changes_are_where_segments_begin_and_end() -> None:
    """Of one offer that passes in segments 1 and 2, and of two that pass from 0 to 1."""
    changes = DeltaBuilder()
    changes.add(0b0110, [0])
    changes.add(0b0011, [1, 2])

    assert changes.first == 0b110
    assert dict(changes.deltas()) == {1: 0b1, 3: 0b1, 2: 0b110}


def a_condition(text: str) -> Condition:
    rule = compile_rule(text)
    assert isinstance(rule, CompiledRule)
    (condition,) = conjuncts(rule.checked).conditions
    return condition


LETTERS = [f'person.x = "{letter}"' for letter in "abcdefgh"]
NUMBERS = [f"person.x >= {number}" for number in range(8)]
OF_TEXTS = [*LETTERS, 'person.x in ["a", "b", "3"] and person.x != "b"', 'person.x < "3" and person.x notIn ["q"]']
OF_NUMBERS = [*NUMBERS, "not (person.x < 5) or isNull(person.x)", "person.x notIn [7, 9]"]


@pytest.mark.parametrize("most", [1 << 21, 64])
@pytest.mark.parametrize("texts", [LETTERS, NUMBERS, OF_TEXTS, OF_NUMBERS, ["person.x = true", "person.x != false"]])
def test_a_slot_lets_pass_whose_conditions_hold(texts: list[str], most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For values of every kind, with tables written out or not; who has no condition here always passes."""
    monkeypatch.setattr(DeltaBitmaps.__init__, "__defaults__", (most,))
    conditions = [(a_condition(text), [at]) for at, text in enumerate(texts)]
    free = 1 << len(texts)
    slot = run_to_completion(build_field_index(len(texts) + 1, conditions, lambda: conditions))
    values: list[Any] = [None, True, False, [], ["a"], {}, {"a": 1}, "", "a", "aa", "b", "3", "z", "TRUE", UNREADABLE]
    assert len({condition.name for condition, _ in conditions}) == 1

    for value in [*values, -1, 0, 3, 3.0, 3.5, 7, 99, 10**40]:
        expected = free
        subject = conditions[0][0].subject
        value = reader_of(subject.reading)(value) if isinstance(subject, ReadAs) else value  # noqa: PLW2901
        for at, (condition, _) in enumerate(conditions):
            if all(holds_for(tree, value) for tree in condition.trees):
                expected |= 1 << at
        assert slot.lookup(value) == expected, value


@pytest.mark.parametrize("value", [float("nan"), object(), (1, 2)])
def test_a_slot_says_when_it_has_no_table(value: Any) -> None:
    """Of what no JSON has: the rules are asked themselves then."""
    with pytest.raises(UnindexableValue):
        run_to_completion(build_field_index(1, [(a_condition("person.x > 1"), [0])], list)).lookup(value)


EDGES = st.none() | st.integers(0, 9)


@given(st.lists(st.tuples(EDGES, EDGES), max_size=20), st.lists(st.integers(-1, 10)))
def test_a_calendar_knows_whose_dates_include_a_moment(
    windows: list[tuple[int | None, int | None]], moments: list[int]
) -> None:
    """Both ends included, in whatever order moments are asked; one that ends before it begins is never."""
    calendar = run_to_completion(build_calendar(TimeWindow(start, end) for start, end in windows))

    for moment in moments:
        inside = [at for at, one in enumerate(windows) if moment in TimeWindow(*one)]
        assert calendar.open_at(moment) == bits_of(inside)


NAMED = st.lists(st.builds(AudienceRef, st.sampled_from(["ups", "crm"]), st.sampled_from("abc")), max_size=3).map(tuple)
KINDS = st.sampled_from([ConstraintType.ANY_AUDIENCE, ConstraintType.ALL_AUDIENCES])
STANDINGS = st.sampled_from(
    [{"status": "realized"}, {"status": "existing"}, {"status": "exited"}, {}, None, {"status": 3}]
)
MEMBERSHIPS = st.dictionaries(st.sampled_from("abc"), STANDINGS)


@given(
    st.lists(st.builds(lambda kind, named: Constraint(type=kind, audiences=named), KINDS, NAMED)),
    st.dictionaries(st.sampled_from(["ups", "crm"]), MEMBERSHIPS | st.just([])),
)
def test_audiences_lead_to_the_offers_for_their_members(
    constraints: list[Constraint], memberships: dict[str, Any]
) -> None:
    """Any of several, or all; an offer without such a constraint always passes."""
    profile = {"segmentMembership": memberships}
    audiences = AudienceIndex(len(constraints) + 1, [(one, 1 << at) for at, one in enumerate(constraints)])
    expected = [at for at, one in enumerate(constraints) if qualifies(profile, one)]

    assert audiences.lookup(profile) == bits_of([*expected, len(constraints)])
    assert AudienceIndex(1, []).lookup({"segmentMembership": "x"}) == 1
