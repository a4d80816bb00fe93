"""Rules taken apart: the parts together say what the rule says, and tables what conditions say."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.pql import CompiledRule, Environment, compile_rule
from proffer.pql.compile import RULE_NAMESPACE, load
from proffer.pql.index.conditions import OrderedDomain, constants, evaluate_on, holds_for
from proffer.pql.index.conjuncts import Conjunction, conjoin, conjuncts
from proffer.pql.index.predicates import Condition
from proffer.pql.run.to_python import values_to_python
from proffer.pql.syntax.limits import MAX_VISITS
from proffer.pql.syntax.nodes import Node
from proffer.pql.values.reading import reader_of
from proffer.testing import strategies
from proffer.testing.strategies import Dice, a_predicate, a_rule_text, some_profile

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROOTS = {"profile", "xEvent", "offer"}
VALUES = st.one_of(
    st.sampled_from(strategies.UNUSUAL_VALUES),
    st.sampled_from(["17", "18", "FR", "F", "FRA", "-1", "1.5", "100", "1e2", "", "a", "z", "\x00"]),
    st.integers(-3, 120),
    st.floats(-3, 120),
    st.text(max_size=3),
)


def rule(text: str) -> CompiledRule:
    compiled = compile_rule(text, roots=ROOTS)
    assert isinstance(compiled, CompiledRule), compiled
    return compiled


def apart(text: str) -> Conjunction:
    return conjuncts(rule(text).checked)


def environment(profile: dict[str, Any], **more: Any) -> Environment:
    return Environment(profile, NOW, **more)


def values(nodes: list[Node], env: Environment) -> list[Any]:
    """What these subjects are for this customer, all worked out in one go."""
    source = values_to_python(nodes, (), lambda names: [f"return [{', '.join(names)}]"])
    return list(load(source, "values", RULE_NAMESPACE)(env))


def said(condition: Condition, value: Any) -> bool:
    return all(holds_for(tree, value) for tree in condition.trees)


@settings(max_examples=500)
@given(strategies.SEEDS)
def test_the_parts_together_say_what_the_rule_says(seed: int) -> None:
    """Conditions by the values of their paths, other parts by being asked: all hold if and only if the rule does."""
    dice = Dice(seed)
    compiled = rule(a_rule_text(dice))
    env = environment(
        some_profile(dice),
        offer={"rank": {"priority": dice.number(0, 3)}, "characteristics": {"for": "FR"}},
        context=dice.choose([{}, {"weather": {"celsius": dice.choose(strategies.UNUSUAL_VALUES)}}]),
        events=dice.choose([None, {"eventType": "click"}, [{"eventType": "click"}]]),
    )
    taken = conjuncts(compiled.checked)
    found = values([one.subject for one in taken.conditions], env)
    conditions = list(map(said, taken.conditions, found))

    assert compiled.holds(env) == all([*conditions, *(part.holds(env) for part in taken.residuals)])


@settings(max_examples=500)
@given(strategies.SEEDS)
def test_the_tests_of_a_part_say_what_the_part_says(seed: int) -> None:
    """By the values of their subjects, expressions among them, with and and or between, as their shape has it."""
    dice = Dice(seed)
    env = environment(some_profile(dice), context={"weather": {"celsius": dice.choose([3, "x"])}})
    for part in apart(" and ".join(a_predicate(dice) for _ in range(3))).residuals:
        if part.predicate_tree is not None:
            conditions = part.predicate_tree.conditions
            found = values([one.subject for one in conditions], env)
            known = {f"c{at}": said(*one) for at, one in enumerate(zip(conditions, found, strict=True))}

            shape = re.sub(r"(\d+)", r"c\1", part.predicate_tree.shape)
            assert eval(shape, known) == part.holds(env)  # noqa: S307


@settings(max_examples=500)
@given(strategies.SEEDS, VALUES)
def test_a_table_says_what_the_condition_says(seed: int, value: Any) -> None:
    """Of every number and every text, by the segment it is in, whatever other constants divide the line."""
    dice = Dice(seed)
    found = [one for _ in range(4) for one in conjuncts(rule(a_predicate(dice)).checked).conditions]
    reading = getattr(found[0].subject, "reading", None) if found else None
    trees = [tree for one in found if getattr(one.subject, "reading", None) is reading for tree in one.trees]
    value = value if reading is None else reader_of(reading)(value)
    line = OrderedDomain.TEXT if isinstance(value, str) else OrderedDomain.NUMBER
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return
    ordered = sorted({one for tree in trees for one in constants(tree, line)})
    places = {one: at for at, one in enumerate(ordered)}
    segment = 2 * sum(one < value for one in ordered) + (value in places)

    for tree in trees:
        said = evaluate_on(tree, line, places, 2 * len(ordered) + 1)
        assert bool(said >> segment & 1) == holds_for(tree, value)


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
        ("18 <= person.age", 1, 0),
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

    assert (conditions, parts) == (len(taken.conditions), len(taken.residuals))


@pytest.mark.parametrize(
    ("text", "shape", "subjects"),
    [
        ("person.age + 1 > 18", "0", 1),
        ("not (person.age > loyalty.points)", "0", 1),
        ('person.age > 64 or homeAddress.country = "FR" or person.age < 18', "(0 | 1)", 2),
        ('not (person.age > 64 and homeAddress.country = "FR")', "(0 | 1)", 2),
        ('loyalty.tier.startsWith("g", false)', "0", 1),
        ('person.age > 64 or (homeAddress.country = "FR" and person.age > 30)', "((0 & 1) | 2)", 3),
        ("person.birthDate.getMonth() = 5", "0", 1),
        ('loyalty.tier = "x" or person.age in [1, 2]', "(0 | 1)", 2),
    ],
)
def test_parts_are_tests_where_they_ask_nothing_of_the_offer(text: str, shape: str, subjects: int) -> None:
    """With expressions as subjects, and with and and or between them; not is moved inwards."""
    (part,) = apart(text).residuals

    assert part.predicate_tree is not None
    assert (part.predicate_tree.shape, len(part.predicate_tree.subject_names)) == (shape, subjects)


@pytest.mark.parametrize(
    "text",
    [
        "offer.rank.priority > person.age",
        "count(orders) > 1",
        "person.age in [homeAddress.country, 18]",
        "person.age > 3 or offer.rank.priority > 1",
        "person.age in [1, 2] or count(orders) > 1",
    ],
)
def test_parts_that_read_the_offer_or_spend_work_are_asked(text: str) -> None:
    """What they say or what they spend is not theirs alone."""
    (part,) = apart(text).residuals

    assert part.predicate_tree is None


def test_subjects_that_python_takes_for_equal_are_two() -> None:
    """As 1 and 1.0 are."""
    (part,) = apart("person.age * 1 > 3 or person.age * 1.0 > 3").residuals

    assert part.predicate_tree is not None
    assert len(set(part.predicate_tree.subject_names)) == 2


def test_only_parts_that_read_the_offer_are_asked_for_each() -> None:
    """The others say the same of all offers."""
    taken = apart("offer.rank.priority > 1 and person.age > loyalty.points")

    assert [part.reads_offer for part in taken.residuals] == [True, False]


def test_what_is_written_alike_is_one_part() -> None:
    """In different rules, and twice in one; numbers and Booleans are never taken for each other."""
    first = apart("person.age > loyalty.points and count(orders) > 1")
    second = apart('count(orders) > 1 and homeAddress.country = "FR"')
    one, true = apart("person.x = 1"), apart("person.x = true")

    assert first.residuals[1] is second.residuals[0]
    assert one.conditions[0].key != true.conditions[0].key
    assert len(conjoin([first, second]).residuals) == 2
    assert len(conjoin([one, true, one]).conditions) == 2


def test_parts_share_one_allowance_of_work() -> None:
    """What takes too much work as a whole is false, although each of its parts would do."""
    text = "count(orders.filter($1.a > 1)) > -1 and count(events.filter($1.a > 1)) > -1"
    most = MAX_VISITS // 2 + 10
    compiled = rule(text)
    env = environment({"orders": [{"a": 1}] * most, "events": [{"a": 1}] * most})
    (part,) = conjuncts(compiled.checked).residuals

    assert compiled.holds(env) is part.holds(env) is False
    assert compiled.holds(environment({"orders": [{}], "events": [{}]})) is True


@pytest.mark.parametrize("function", ["inSegment", "inAudience"])
def test_membership_is_a_predicate_of_the_index(function: str) -> None:
    """It is found out once for all rules, not by evaluating each; so is its negation."""
    for text in (f'{function}("a")', f'not {function}("a") or {function}("b")'):
        (residual,) = apart(f"person.age > 3 and ({text})").residuals
        assert residual.predicate_tree is not None
