"""Libraries of rules as plain tests, for Proffer and other engines.

A profile has five groups of five fields. With `plain=True`, rules have three tests, each of one field with
constants. Otherwise they have three to six, and one rule in five has a test of another form: an `or` over two
fields, a text function or a comparison of two fields (`MIXED`), or with `alone=True` a test that no other
rule has (`ALONE`). About one in five rules of three tests holds for a customer, of the longer ones about one
in ten. Priorities are from 0 to 99, so there are ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from proffer.model.parse import Entity
from proffer.testing.builders import (
    Document,
    a_collection,
    a_criterion,
    a_decision,
    a_fallback,
    a_placement,
    a_rule,
    an_offer,
    entities,
)

Profile = dict[str, Any]
Test = tuple[str, str, Any]
"""A path, `==`, `in`, `>=` or `<`, and a constant: one value, or a list for `in`."""

WORDS: dict[str, Sequence[str]] = {
    "person.gender": ["female", "male", "other"],
    "person.nationality": ["FR", "DE", "NL", "AT", "BE", "IE", "ES", "IT", "PT", "PL"],
    "homeAddress.countryCode": ["FR", "DE", "NL", "AT", "BE", "IE", "ES", "IT", "PT", "PL"],
    "homeAddress.city": [f"city {number}" for number in range(40)],
    "loyalty.tier": ["none", "bronze", "silver", "gold", "platinum"],
    "personalEmail.status": ["active", "bounced", "unknown"],
}
NUMBERS: dict[str, tuple[int, int]] = {
    "person.birthYear": (1940, 2005),
    "loyalty.points": (0, 5_000),
    "loyalty.lifetimePoints": (0, 50_000),
    "score.value": (0, 100),
    "score.churn": (0, 100),
    "score.visits": (0, 300),
}
MIXED = (
    'loyalty.tier.startsWith("{letter}", false)',
    '(score.value >= {number} or homeAddress.city = "city {city}")',
    "score.visits > score.churn",
    "loyalty.points + loyalty.lifetimePoints > {number}00",
)
"""Tests not on a single field, shared by many rules, so that a table can answer them."""
ALONE = (
    'homeAddress.street1.doesNotContain("{serial}")',
    "score.visits + {serial} > score.churn",
    "loyalty.lifetimePoints * {serial} >= loyalty.points",
)
"""Tests that occur in one rule only, so no table answers them. Most hold, so many are evaluated."""


@dataclass(frozen=True, slots=True)
class Library:
    """`rules` and `priorities` by offer number; an offer and its rule have the same name."""

    rules: list[list[Test]]
    extra: list[str]
    priorities: list[int]
    entities: dict[str, Entity]


def a_word_test(random: Random, path: str) -> Test:
    words = WORDS[path]
    if len(words) < 4:
        return (path, "==", random.choice(words))
    max_words = max(2, int(len(words) * 0.8))
    return (
        path,
        "in",
        sorted(random.sample(list(words), random.randint(len(words) // 2, max_words))),
    )


def a_number_test(random: Random, path: str) -> Test:
    low, high = NUMBERS[path]
    if random.random() < 0.5:
        return (path, ">=", random.randint(low, low + (high - low) * 6 // 10))
    return (path, "<", random.randint(low + (high - low) * 4 // 10, high))


def some_tests(random: Random, count: int) -> list[Test]:
    numbers = random.randint(max(1, count - 4), min(count - 1, 4))
    words = random.sample(sorted(WORDS), count - numbers)
    return [
        *(a_word_test(random, path) for path in words),
        *(a_number_test(random, path) for path in random.sample(sorted(NUMBERS), numbers)),
    ]


def as_pql(test: Test) -> str:
    path, sign, constant = test
    return f"{path} {'=' if sign == '==' else sign} {literal(constant)}"


def literal(constant: Any) -> str:
    """Return a constant as PQL and other rule languages write it."""
    if isinstance(constant, list):
        return f"[{', '.join(map(literal, constant))}]"
    return f'"{constant}"' if isinstance(constant, str) else str(constant)


def an_extra(random: Random) -> str:
    return random.choice(MIXED).format(
        letter=random.choice("sgbp"), number=random.randint(5, 60), city=random.randrange(40)
    )


def unique_test(number: int) -> str:
    return ALONE[number // 5 % len(ALONE)].format(serial=number + 2)


def a_library(
    offers: int,
    *,
    plain: bool,
    tests: int = 3,
    alone: bool = False,
    places: Sequence[str] = ("web",),
    decisions: int = 0,
) -> Library:
    """Build a library.

    Each of `decisions` further decisions has about a hundred offers.
    """
    random = Random(offers)
    documents: list[Document] = [a_placement(place) for place in places]
    documents += [a_fallback(content=places), a_collection("all", any_tags=["t"])]
    documents.append(a_decision("decision", a_criterion("all", placements=places)))
    for number in range(decisions):
        documents.append(a_collection(f"some {number}", any_tags=[f"t{number}"]))
        criterion = a_criterion(f"some {number}", placements=places)
        documents.append(a_decision(f"decision {number}", criterion))
    rules, extras, priorities = [], [], []
    for number in range(offers):
        rule = some_tests(random, tests if plain else random.randint(3, 6))
        extra = "" if plain or number % 5 else an_extra(random)
        if extra and alone:
            extra = unique_test(number)
        texts = [as_pql(test) for test in rule[: len(rule) - bool(extra)]]
        texts += [extra] if extra else []
        rules.append(rule)
        extras.append(extra)
        priorities.append(random.randrange(100))
        name = f"offer {number}"
        documents.append(a_rule(name, " and ".join(texts)))
        documents.append(
            an_offer(
                name,
                priority=priorities[-1],
                content=places,
                tags=["t", *some_tags(number, offers, decisions)],
                rule=name,
            )
        )
    return Library(rules, extras, priorities, entities(documents))


def some_tags(number: int, offers: int, decisions: int) -> list[str]:
    """Return tags of an offer, such that each tag has a hundred offers."""
    each = 100 * decisions // offers
    return [f"t{(number * 7 + 101 * at) % decisions}" for at in range(each)]


def profiles(count: int = 64) -> list[Profile]:
    random = Random(1)
    return [a_profile(random) for _ in range(count)]


def a_profile(random: Random) -> Profile:
    profile: Profile = {
        "person": {"name": {"firstName": "Ann", "lastName": "Lee"}, "maritalStatus": "single"},
        "homeAddress": {"postalCode": "89501", "street1": "1 Main Street", "stateProvince": "NV"},
        "loyalty": {"program": "stars", "joinDate": "2019-04-01"},
        "personalEmail": {
            "address": "ann@example.com",
            "type": "home",
            "primary": True,
            "label": "private",
        },
        "score": {"model": "m7", "computed": "2026-01-01T00:00:00Z"},
    }
    for path, words in WORDS.items():
        group, name = path.split(".")
        profile[group][name] = random.choice(list(words))
    for path, (low, high) in NUMBERS.items():
        group, name = path.split(".")
        profile[group][name] = random.randint(low, high)
    return profile


def passes(test: Test, value: Any) -> bool:
    """Evaluate a test on the value of its path, in plain Python."""
    _, sign, constant = test
    if sign == "==":
        return bool(value == constant)
    if sign == "in":
        return value in constant
    return bool(value >= constant) if sign == ">=" else bool(value < constant)
