"""Hypothesis strategies for small, partly faulty libraries, and requests to them.

There are few names, so objects refer to one another, and some references dangle. Times are within a
microsecond of the limits of windows. Hypothesis chooses a seed, the number of objects and the rate of
unusual values, and shrinks the last two. (Drawing every member through Hypothesis takes fifty times as
long and finds less in the same time.)
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

from proffer.engine.inputs import Inputs
from proffer.model.capping import CapUsage
from proffer.model.ids import EntityKind
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.testing.builders import (
    NOON,
    Document,
    a_cap,
    a_collection,
    a_component,
    a_constraint,
    a_criterion,
    a_decision,
    a_fallback,
    a_formula,
    a_placement,
    a_rule,
    a_tag,
    an_offer,
    by_formula,
    moment,
    the,
)

PLACEMENTS = ("web", "app", "mail")
TAGS = ("red", "blue", "green")
RULES = ("adult", "french", "gold", "hot", "long", "broken")
FORMULAS = ("boost", "elder", "wrong")
OFFERS = ("o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8")
COLLECTIONS = ("c1", "c2", "c3")
FALLBACKS = ("f1", "f2")
DECISIONS = ("d1", "d2", "d3")
AUDIENCES = ("vip", "new", "crm/old")
LANGUAGES = ("en", "en-us", "de", "de-AT", "fr")
MISSING = "missing"

TEXTS = (
    "person.age >= 18",
    'homeAddress.country = "FR"',
    'loyalty.tier in ["gold", "silver"] and person.age < 65',
    "@{weather}.celsius > 20",
    'not (homeAddress.country = "FR") or person.age >= 30',
    "orders.total > 5",
    "true",
    "false",
    "offer.rank.priority >= 2",
    'person.age >= 18 and offer.characteristics.get("for") = homeAddress.country',
    "person.birthDate < date(2000, 1, 1) or person.birthDate occurs before now",
    "select X from orders where X.total > 5",
    'xEvent.eventType = "click" and person.age >= 18',
    'homeAddress.country.startsWith("F", false) and count(orders) < 2',
)
PATHS = (
    "person.age",
    "person.age",
    "homeAddress.country",
    "loyalty.tier",
    "loyalty.member",
    "loyalty",
    "orders.total",
    "@{weather}.celsius",
    "xEvent.eventType",
)
EXPRESSIONS = (
    "(person.age + loyalty.points)",
    "(loyalty.points * 1.5 - person.age)",
    "(person.age / loyalty.points)",
    "(-person.age)",
    "upperCase(homeAddress.country)",
    "person.birthDate.getMonth()",
    "(person.age > loyalty.points)",
    'loyalty.tier.startsWith("g", false)',
)
CONSTANTS = (
    *("17", "18", "18.0", "30", "-1", "1.5", "100", "true", "false"),
    *('"18"', '"x"', '"FR"', '"F"', '"true"', '""', '"1e2"'),
)
OTHER_PARTS = (
    'inSegment("vip")',
    "person.age + 1 > 18",
    "count(orders) > 1",
    "18 <= person.age",
    'loyalty.tier.equals("GOLD", false)',
    "person.birthDate occurs > 20 years before now",
    "offer.rank.priority >= 2",
    'offer.characteristics.get("for") = homeAddress.country',
    "person.age in [homeAddress.country, 18]",
    "person.age = null",
)
FORMULA_TEXTS = (
    "offer.rank.priority * 2",
    "person.age - offer.rank.priority",
    'if(offer.characteristics.get("for") = homeAddress.country, 5, offer.rank.priority)',
    "offer.characteristics.boost",
    "@{weather}.celsius / offer.rank.priority",
    "if(person.age >= 18, offer.rank.priority * person.age, offer.characteristics.boost + 0.5)",
    'offer.rank.priority + if(offer.characteristics.get("for") in ["FR", loyalty.tier], 1, 0)',
    "1",
)
BROKEN = ("person.age >=", "nonsense(", "((((")

_T = TypeVar("_T")


class Dice:
    """Seeded random choices; `odd` of ten choices are unusual values."""

    def __init__(self, seed: int, odd: int = 3) -> None:
        self._random = Random(seed)  # noqa: S311 - nothing here is a secret
        self._odd = odd / 10

    def number(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    def one(self, of: Sequence[_T]) -> _T:
        return self._random.choice(of)

    def some(self, of: Sequence[_T], least: int = 0) -> list[_T]:
        return self._random.sample(of, self.number(min(least, len(of)), len(of)))

    def is_odd(self) -> bool:
        return self._random.random() < self._odd

    def mostly(self, usual: _T, *others: _T) -> _T:
        return self.one(others) if self.is_odd() else usual


def a_part(dice: Dice, depth: int = 0) -> str:
    """Return a random predicate, usual or unusual: nested, negated, on one or several paths."""
    if depth < 3 and dice.number(0, 2) == 0:
        inner = [a_part(dice, depth + 1) for _ in range(dice.number(2, 3))]
        return dice.one(
            [f"({' or '.join(inner)})", f"({' and '.join(inner)})", f"not ({inner[0]})"]
        )
    path, constant = dice.mostly(dice.one(PATHS), *EXPRESSIONS), dice.one(CONSTANTS)
    listed = ", ".join(dice.some(CONSTANTS, 1)[:4])
    return dice.mostly(
        f"{path} {dice.one(['=', '!=', '<', '<=', '>', '>='])} {constant}",
        f"{path} {dice.one(['in', 'notIn'])} [{listed}]",
        f"{path} in [{listed}]",
        f"isNull({path})",
        f"isNotNull({path})",
        path,
        dice.one(OTHER_PARTS),
        dice.one(OTHER_PARTS),
    )


def a_rule_text(dice: Dice) -> str:
    """Return one of TEXTS, or a conjunction of random predicates."""
    if dice.number(0, 1):
        return dice.one(TEXTS)
    return " and ".join(a_part(dice) for _ in range(dice.number(1, 4)))


def a_window(dice: Dice) -> dict[str, str]:
    """Return start and end: a day from noon, within a microsecond of it, or missing."""
    near = (NOON - 1, NOON, NOON + 1, None)
    start = dice.mostly(NOON - 86_400_000_000, *near)
    end = dice.mostly(NOON + 86_400_000_000, *near)
    found = {"xdm:startDate": start, "xdm:endDate": end}
    return {name: moment(at) for name, at in found.items() if at is not None}


def some_constraint(dice: Dice) -> Document:
    """Return a constraint of any type or untyped (R14), possibly dangling."""

    def rule() -> str:
        return dice.mostly(dice.one(RULES), MISSING, "broken")

    match dice.mostly("none", "rule", "rule", "rules", "any", "all", "untyped"):
        case "rule":
            return a_constraint(rule=rule())
        case "rules":
            return a_constraint(rules=[rule() for _ in range(dice.number(0, 3))])
        case "any":
            return a_constraint(any_audience=dice.some(AUDIENCES))
        case "all":
            return a_constraint(all_audiences=dice.some(AUDIENCES))
        case "untyped":
            return {"xdm:eligibilityRule": the(EntityKind.RULE, rule())}
        case _:
            return dice.one([{}, a_constraint()])


def some_content(dice: Dice) -> dict[str, list[Document]]:
    """Return components for most placements; some lists are empty or of a wrong kind."""
    return {
        placement: [
            a_component(
                dice.mostly("html", "json", "html-template"),
                dice.one(["one", "two", "three"]),
                *dice.some(LANGUAGES)[:2],
            )
            for _ in range(dice.mostly(1, 0, 2, 3))
        ]
        for placement in PLACEMENTS
        if not (dice.is_odd() and dice.is_odd())
    }


def some_cap(dice: Dice) -> Document:
    optional: dict[str, Any] = {
        "xdm:enabled": dice.mostly(None, True, False),
        "xdm:index": dice.mostly(None, 0, 1, 2),
        "xdm:events": dice.mostly(None, ["decisioning"], ["click"], ["click", "decisioning"]),
        "xdm:placement": dice.mostly(None, *(the(EntityKind.PLACEMENT, p) for p in PLACEMENTS)),
    }
    return a_cap(
        dice.number(1, 3),
        scope=dice.one(["global", "profile"]),
        entity=dice.one(["offer", "placement"]),
        **{name: value for name, value in optional.items() if value is not None},
    )


def some_offer(dice: Dice, name: str) -> Document:
    made = an_offer(
        name,
        priority=dice.number(0, 3),
        content=some_content(dice),
        status=dice.mostly("approved", *OfferStatus),
        tags=dice.some(TAGS),
        cap=dice.mostly(None, 1, 2),
        profile_cap=dice.mostly(None, 1, 2),
        caps=[some_cap(dice) for _ in range(dice.mostly(0, 1, 2))],
    )
    if dice.is_odd():
        made["xdm:rank"]["xdm:order"] = by_formula(dice.mostly(dice.one(FORMULAS), MISSING))
    if dice.is_odd():
        made["xdm:characteristics"] = {"for": dice.one(["FR", "DE"]), "boost": dice.one(["3", "x"])}
    return made | {"xdm:selectionConstraint": a_window(dice) | some_constraint(dice)}


def some_collection(dice: Dice, name: str) -> Document:
    kind = dice.one(["offers", "any", "all"])
    if kind == "offers":
        return a_collection(name, dice.some((*OFFERS, MISSING), 3))
    tags = dice.some(TAGS, dice.mostly(1, 0))
    return a_collection(name, any_tags=tags) if kind == "any" else a_collection(name, all_tags=tags)


def some_criterion(dice: Dice) -> Document:
    """Return a criterion of a collection, or of a list with duplicates."""
    listed = dice.is_odd()
    return a_criterion(
        None if listed else dice.mostly(dice.one(COLLECTIONS), MISSING),
        options=[dice.one(OFFERS) for _ in range(dice.number(2, 7))],
        placements=dice.some(PLACEMENTS, 2),
        priority=dice.number(0, 2),
        constraint=some_constraint(dice) if dice.is_odd() else None,
        formula=dice.mostly(dice.one(FORMULAS), MISSING) if dice.is_odd() else None,
    )


def some_decision(dice: Dice, name: str) -> Document:
    made = a_decision(
        name,
        *[some_criterion(dice) for _ in range(dice.number(1, 4))],
        fallback=dice.mostly("f1", "f2", "f2", MISSING),
        status=dice.mostly("live", "live", "live", *DecisionStatus),
    )
    return made | (a_window(dice) if dice.is_odd() else {})


def some_document(dice: Dice, name: str) -> Document:
    """Return a random object of this name; the name determines its kind."""
    if name in PLACEMENTS:
        return a_placement(name, dice.mostly("html", "json", "html-template"))
    if name in TAGS:
        return a_tag(name)
    if name in RULES:
        return a_rule(name, dice.one(BROKEN) if name == "broken" else a_rule_text(dice))
    if name in FORMULAS:
        return a_formula(name, dice.one(BROKEN if name == "wrong" else FORMULA_TEXTS))
    if name in OFFERS:
        return some_offer(dice, name)
    if name in COLLECTIONS:
        return some_collection(dice, name)
    if name in FALLBACKS:
        return a_fallback(name, some_content(dice), dice.mostly("approved", "draft"))
    return some_decision(dice, name)


def a_random_library(seed: int, odd: int, offers: int, decisions: int) -> list[Document]:
    """Return documents in random order, sometimes without some that others refer to."""
    dice = Dice(seed, odd)
    rest = (*PLACEMENTS, *TAGS, *RULES, *FORMULAS, *COLLECTIONS, *FALLBACKS)
    names = dice.some([*rest, *OFFERS[:offers], *DECISIONS[:decisions]], 99)
    absent = dice.some(names)[:2] if dice.is_odd() else []
    return [some_document(dice, name) for name in names if name not in absent]


def a_large_library(seed: int, offers: int) -> list[Document]:
    """Return a library of many offers under one tag that share rules; `d2` ranks by a formula."""
    dice = Dice(seed, odd=1)
    rules = [f"rule {number}" for number in range(min(offers, 300))]
    documents = [some_document(dice, name) for name in (*PLACEMENTS, *TAGS, *FORMULAS, *RULES)]
    documents += [a_fallback(name, PLACEMENTS) for name in FALLBACKS]
    documents += [a_rule(name, a_rule_text(dice)) for name in rules]
    documents += [a_collection("all", any_tags=["red"]), a_collection("some", any_tags=["blue"])]
    for number in range(offers):
        offer = some_offer(dice, f"offer {number}")
        offer["xdm:tags"].append(the(EntityKind.TAG, "red"))
        if dice.number(0, 3):
            offer["xdm:selectionConstraint"] |= a_constraint(rule=dice.one(rules))
        documents.append(offer)
    all_of_them = a_criterion("all", placements=PLACEMENTS)
    scored = a_criterion("all", placements=PLACEMENTS, formula="boost")
    grouped = (a_criterion("some", placements=PLACEMENTS, priority=2), all_of_them)
    for name, criteria in (("d1", (all_of_them,)), ("d2", (scored,)), ("d3", grouped)):
        documents.append(a_decision(name, *criteria, fallback="f1"))
    return documents


ODD_VALUES: tuple[Any, ...] = (
    "x",
    "18",
    "true",
    "",
    "1e2",
    18.0,
    17.5,
    True,
    False,
    None,
    [],
    [18],
    ["FR"],
    {},
    {"a": 1},
    10**30,
)


def some_profile(dice: Dice) -> dict[str, Any]:
    found: dict[str, Any] = {
        "person": {
            "age": dice.mostly(dice.one([17, 18, 30, 70]), *ODD_VALUES),
            "birthDate": dice.one(
                ["1999-12-31", "2000-01-01T00:00:00Z", "2030-01-01", "x", 3, None]
            ),
        },
        "homeAddress": {"country": dice.mostly(dice.one(["FR", "DE"]), *ODD_VALUES)},
        "loyalty": dice.one(
            [
                {"tier": "gold"},
                {"tier": None, "member": True},
                {"tier": dice.one(ODD_VALUES), "member": dice.one(ODD_VALUES)},
                {"xdm:tier": "silver"},
                [{"tier": "gold"}, {"tier": "x"}],
                {},
            ]
        ),
        "orders": dice.one([[], [{"total": 9}], {"total": 9}, {"total": 1.5}, {"total": True}]),
        "segmentMembership": {
            "ups": {
                name: dice.one(
                    [{"status": "realized"}, {"status": "existing"}, {"status": "exited"}, {}]
                )
                for name in dice.some(["vip", "new"])
            },
            "crm": dice.one([{"old": {"status": "realized"}}, {"old": None}, []]),
        },
    }
    return {name: found[name] for name in dice.some([*found], 3)}


def a_random_request(seed: int, odd: int, scopes: int) -> Inputs:
    """Return a request, possibly with repeated or unknown scopes."""
    dice = Dice(seed, odd)
    offers = [the(EntityKind.OFFER, name) for name in OFFERS]
    places = ["", *(the(EntityKind.PLACEMENT, name) for name in PLACEMENTS)]
    return Inputs(
        request=DecisionRequest(
            scopes=tuple(
                ScopeRequest(
                    the(EntityKind.DECISION, dice.mostly("d1", "d2", "d3", "d3", MISSING)),
                    the(EntityKind.PLACEMENT, dice.mostly("web", "app", "app", "mail", MISSING)),
                    dice.number(1, 5),
                )
                for _ in range(scopes)
            ),
            across_decisions=dice.one([True, False]),
            across_placements=dice.one([True, False]),
            languages=tuple(dice.some(LANGUAGES)[:2]),
            context=dice.one(
                [
                    {},
                    {"weather": {"celsius": 10}},
                    {"weather": {"celsius": 30}},
                    {"weather": {"celsius": dice.one(ODD_VALUES)}},
                ]
            ),
            event=dice.mostly(None, {"eventType": "click"}, {"eventType": 3}, {}),
        ),
        profile=Profile(attributes=some_profile(dice), found=True),
        usage=CapUsage(
            {
                (
                    dice.one(offers),
                    dice.one(["globalCap", "profileCap", "1", "2"]),
                    dice.one(places),
                ): (dice.number(0, 3))
                for _ in range(dice.mostly(0, 5, 20))
            }
        ),
        now_us=dice.mostly(NOON, NOON - 1, NOON + 1),
        seed=str(dice.number(0, 99)),
    )


NAMES = (*PLACEMENTS, *TAGS, *RULES, *FORMULAS, *OFFERS, *COLLECTIONS, *FALLBACKS, *DECISIONS)


def some_changes(
    seed: int, odd: int, count: int
) -> list[tuple[EntityKind, str, Mapping[str, Any] | None]]:
    """Return a sequence of changes: (kind, name, new document or None if deleted)."""
    dice = Dice(seed, odd)
    return [
        (_kind(name), name, None if dice.is_odd() else some_document(dice, name))
        for name in (dice.one(NAMES) for _ in range(count))
    ]


def _kind(name: str) -> EntityKind:
    kinds = {
        EntityKind.PLACEMENT: PLACEMENTS,
        EntityKind.TAG: TAGS,
        EntityKind.RULE: RULES,
        EntityKind.FORMULA: FORMULAS,
        EntityKind.OFFER: OFFERS,
        EntityKind.COLLECTION: COLLECTIONS,
        EntityKind.FALLBACK: FALLBACKS,
        EntityKind.DECISION: DECISIONS,
    }
    return next(kind for kind, names in kinds.items() if name in names)


SEEDS = st.integers(0, 2**32)
ODDNESS = st.sampled_from([3, 0, 1, 5])

libraries = st.builds(a_random_library, SEEDS, ODDNESS, st.integers(1, 8), st.integers(1, 3))
requests = st.builds(a_random_request, SEEDS, ODDNESS, st.integers(1, 5))
changes = st.builds(some_changes, SEEDS, ODDNESS, st.integers(1, 8))
