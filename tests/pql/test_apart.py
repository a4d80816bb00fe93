"""Rules taken apart: the parts together say what the rule says, and tables what conditions say."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.pql import CompiledRule, Environment, compile_rule
from proffer.pql.apart import Apart, loader, take_apart, together
from proffer.pql.conditions import Line, constants, said_of, said_on
from proffer.pql.limits import MAX_VISITS
from proffer.testing import strategies
from proffer.testing.strategies import Dice, a_part, a_rule_text, some_profile

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROOTS = {"profile", "xEvent", "offer"}
VALUES = st.one_of(
    st.sampled_from(strategies.ODD_VALUES),
    st.sampled_from(
        ["17", "18", "FR", "F", "FRA", "-1", "1.5", "100", "1e2", "", "a", "z", "\x00"]
    ),
    st.integers(-3, 120),
    st.floats(-3, 120),
    st.text(max_size=3),
)


def rule(text: str) -> CompiledRule:
    compiled = compile_rule(text, roots=ROOTS)
    assert isinstance(compiled, CompiledRule), compiled
    return compiled


def apart(text: str) -> Apart:
    return take_apart(rule(text).checked)


def environment(profile: dict[str, Any], **more: Any) -> Environment:
    return Environment(profile, NOW, **more)


@settings(max_examples=500)
@given(strategies.SEEDS)
def test_the_parts_together_say_what_the_rule_says(seed: int) -> None:
    """Conditions by the values of their paths, other parts by being asked: all hold if and only if the rule does."""
    dice = Dice(seed)
    compiled = rule(a_rule_text(dice))
    env = environment(
        some_profile(dice),
        offer={"rank": {"priority": dice.number(0, 3)}, "characteristics": {"for": "FR"}},
        context=dice.one([{}, {"weather": {"celsius": dice.one(strategies.ODD_VALUES)}}]),
        events=dice.one([None, {"eventType": "click"}, [{"eventType": "click"}]]),
    )
    taken = take_apart(compiled.checked)
    values = loader([one.path for one in taken.conditions])(env)
    conditions = [
        said_of(tree, value)
        for one, value in zip(taken.conditions, values, strict=True)
        for tree in one.trees
    ]

    assert compiled.holds(env) == all([*conditions, *(part.holds(env) for part in taken.parts)])


@settings(max_examples=500)
@given(strategies.SEEDS, VALUES)
def test_a_table_says_what_the_condition_says(seed: int, value: Any) -> None:
    """Of every number and every text, by the segment it is in, whatever other constants divide the line."""
    dice = Dice(seed)
    found = [one for _ in range(4) for one in take_apart(rule(a_part(dice)).checked).conditions]
    trees = [tree for one in found for tree in one.trees]
    line = Line.TEXT if isinstance(value, str) else Line.NUMBER
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return
    ordered = sorted({one for tree in trees for one in constants(tree, line)})
    places = {one: at for at, one in enumerate(ordered)}
    segment = 2 * sum(one < value for one in ordered) + (value in places)

    for tree in trees:
        said = said_on(tree, line, places, 2 * len(ordered) + 1)
        assert bool(said >> segment & 1) == said_of(tree, value)


@pytest.mark.parametrize(
    ("text", "conditions", "parts"),
    [
        ("true", 0, 0),
        ("false", 0, 1),
        ("person.age >= 18", 1, 0),
        ("person.age >= 18 and person.age < 65", 1, 0),
        ('(person.age >= 18 and homeAddress.country = "FR") and loyalty.tier != "none"', 3, 0),
        ("person.age in [18, 19] and loyalty.points in [1, 2]", 2, 0),
        ('person.age > 64 or not (person.age >= 18 and person.age != 30)', 1, 0),
        ('person.age > 64 or homeAddress.country = "FR"', 0, 1),
        ("18 <= person.age", 0, 1),
        ("person.age > loyalty.points", 0, 1),
        ("person.birthDate < date(2000, 1, 1)", 0, 1),
        ("person.age >= 18 and offer.rank.priority > 1 and count(orders) > 1", 1, 2),
        ("person.age = null", 0, 1),
        ("person.age in [1, 2] and count(orders) > 1", 0, 1),
    ],
)  # fmt: skip
def test_what_is_a_condition(text: str, conditions: int, parts: int) -> None:
    """One path, and constants of kinds that are in profiles; all else has to be asked, each part by itself."""
    taken = apart(text)

    assert (conditions, parts) == (len(taken.conditions), len(taken.parts))


def test_only_parts_that_read_the_offer_are_asked_for_each() -> None:
    """The others say the same of all offers."""
    taken = apart("offer.rank.priority > 1 and person.age > loyalty.points")

    assert [part.per_offer for part in taken.parts] == [True, False]


def test_what_is_written_alike_is_one_part() -> None:
    """In different rules, and twice in one; numbers and Booleans are never taken for each other."""
    first = apart("person.age > loyalty.points and count(orders) > 1")
    second = apart('count(orders) > 1 and homeAddress.country = "FR"')
    one, true = apart("person.x = 1"), apart("person.x = true")

    assert first.parts[1] is second.parts[0]
    assert one.conditions[0].key != true.conditions[0].key
    assert len(together([first, second]).parts) == 2
    assert len(together([one, true, one]).conditions) == 1


def test_parts_share_one_allowance_of_work() -> None:
    """What takes too much work as a whole is false, although each of its parts would do."""
    text = "count(orders.filter($1.a > 1)) > -1 and count(events.filter($1.a > 1)) > -1"
    most = MAX_VISITS // 2 + 10
    compiled = rule(text)
    env = environment({"orders": [{"a": 1}] * most, "events": [{"a": 1}] * most})
    (part,) = take_apart(compiled.checked).parts

    assert compiled.holds(env) is part.holds(env) is False
    assert compiled.holds(environment({"orders": [{}], "events": [{}]})) is True
