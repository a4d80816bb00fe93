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
    an_audience,
    an_offer,
    audience_id,
    by_formula,
    id_of,
    moment,
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
LISTS = {"loyal 1": "Loyal", "loyal 2": "Loyal", "lapsed": "Lapsed"}
"""Audiences of the library: their keys and names."""
LANGUAGES = ("en", "en-us", "de", "de-AT", "fr", "zh-TW", "zh-Hant", "zh")
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
OTHER_PREDICATES = (
    'inSegment("vip")',
    'inAudience("vip")',
    'inAudience("Loyal")',
    'not inAudience("Lapsed")',
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
        self._odds = odd / 10

    def number(self, minimum: int, maximum: int) -> int:
        return self._random.randint(minimum, maximum)

    def choose(self, options: Sequence[_T]) -> _T:
        return self._random.choice(options)

    def sample(self, options: Sequence[_T], minimum: int = 0) -> list[_T]:
        return self._random.sample(options, self.number(min(minimum, len(options)), len(options)))

    def is_unusual(self) -> bool:
        return self._random.random() < self._odds

    def usually(self, usual: _T, *alternatives: _T) -> _T:
        return self.choose(alternatives) if self.is_unusual() else usual


def a_predicate(dice: Dice, depth: int = 0) -> str:
    """Return a random predicate, usual or unusual: nested, negated, on one or several paths."""
    if depth < 3 and dice.number(0, 2) == 0:
        inner = [a_predicate(dice, depth + 1) for _ in range(dice.number(2, 3))]
        return dice.choose([f"({' or '.join(inner)})", f"({' and '.join(inner)})", f"not ({inner[0]})"])
    path, constant = dice.usually(dice.choose(PATHS), *EXPRESSIONS), dice.choose(CONSTANTS)
    constants = ", ".join(dice.sample(CONSTANTS, 1)[:4])
    return dice.usually(
        f"{path} {dice.choose(['=', '!=', '<', '<=', '>', '>='])} {constant}",
        f"{path} {dice.choose(['in', 'notIn'])} [{constants}]",
        f"{path} in [{constants}]",
        f"isNull({path})",
        f"isNotNull({path})",
        path,
        dice.choose(OTHER_PREDICATES),
        dice.choose(OTHER_PREDICATES),
    )


def a_rule_text(dice: Dice) -> str:
    """Return one of TEXTS, or a conjunction of random predicates."""
    if dice.number(0, 1):
        return dice.choose(TEXTS)
    return " and ".join(a_predicate(dice) for _ in range(dice.number(1, 4)))


def a_window(dice: Dice) -> dict[str, str]:
    """Return start and end: a day from noon, within a microsecond of it, or missing."""
    near = (NOON - 1, NOON, NOON + 1, None)
    start = dice.usually(NOON - 86_400_000_000, *near)
    end = dice.usually(NOON + 86_400_000_000, *near)
    dates = {"xdm:startDate": start, "xdm:endDate": end}
    return {name: moment(moment_us) for name, moment_us in dates.items() if moment_us is not None}


def some_constraint(dice: Dice) -> Document:
    """Return a constraint of any type or untyped (R14), possibly dangling."""

    def rule() -> str:
        return dice.usually(dice.choose(RULES), MISSING, "broken")

    match dice.usually("none", "rule", "rule", "rules", "any", "all", "untyped"):
        case "rule":
            return a_constraint(rule=rule())
        case "rules":
            return a_constraint(rules=[rule() for _ in range(dice.number(0, 3))])
        case "any":
            return a_constraint(any_audience=dice.sample(AUDIENCES))
        case "all":
            return a_constraint(all_audiences=dice.sample(AUDIENCES))
        case "untyped":
            return {"xdm:eligibilityRule": id_of(EntityKind.RULE, rule())}
        case _:
            return dice.choose([{}, a_constraint()])


def some_content(dice: Dice) -> dict[str, list[Document]]:
    """Return components for most placements; some lists are empty or of a wrong kind."""
    return {
        placement: [
            a_component(
                dice.usually("html", "json", "html-template"),
                dice.choose(["1", "2", "3"]),  # JSON, whatever the kind
                *dice.sample(LANGUAGES)[:2],
            )
            for _ in range(dice.usually(1, 0, 2, 3))
        ]
        for placement in PLACEMENTS
        if not (dice.is_unusual() and dice.is_unusual())
    }


THRESHOLDS = ("2", "offer.rank.priority", "person.age - 30", "offer.characteristics.boost", "0.5", "person.")


def some_cap(dice: Dice) -> Document:
    optional: dict[str, Any] = {
        "xdm:enabled": dice.usually(None, True, False),
        "xdm:index": dice.usually(None, 0, 1, 2),
        "xdm:events": dice.usually(None, ["decisioning"], ["click"], ["click", "decisioning"]),
        "xdm:placement": dice.usually(None, *(id_of(EntityKind.PLACEMENT, p) for p in PLACEMENTS)),
    }
    scope = dice.choose(["global", "profile"])
    if scope == "global" and dice.is_unusual():
        optional["xdm:dynamicCappingThresholdQuery"] = dice.choose(THRESHOLDS)
    if dice.is_unusual():
        optional |= a_window(dice)
    return a_cap(
        dice.number(1, 3),
        scope=scope,
        entity=dice.choose(["offer", "placement"]),
        **{name: value for name, value in optional.items() if value is not None},
    )


def some_offer(dice: Dice, name: str) -> Document:
    document = an_offer(
        name,
        priority=dice.number(0, 3),
        content=some_content(dice),
        status=dice.usually("approved", *OfferStatus),
        tags=dice.sample(TAGS),
        cap=dice.usually(None, 1, 2),
        profile_cap=dice.usually(None, 1, 2),
        caps=[some_cap(dice) for _ in range(dice.usually(0, 1, 2))],
    )
    if dice.is_unusual():
        document["xdm:rank"]["xdm:order"] = by_formula(dice.usually(dice.choose(FORMULAS), MISSING))
    if dice.is_unusual():
        document["xdm:characteristics"] = {
            "for": dice.choose(["FR", "DE"]),
            "boost": dice.choose(["3", "x"]),
        }
    return document | {"xdm:selectionConstraint": a_window(dice) | some_constraint(dice)}


def some_collection(dice: Dice, name: str) -> Document:
    kind = dice.choose(["offers", "any", "all"])
    if kind == "offers":
        return a_collection(name, dice.sample((*OFFERS, MISSING), 3))
    tags = dice.sample(TAGS, dice.usually(1, 0))
    return a_collection(name, any_tags=tags) if kind == "any" else a_collection(name, all_tags=tags)


def some_criterion(dice: Dice) -> Document:
    """Return a criterion of a collection, or of a list with duplicates."""
    is_direct_list = dice.is_unusual()
    return a_criterion(
        None if is_direct_list else dice.usually(dice.choose(COLLECTIONS), MISSING),
        options=[dice.choose(OFFERS) for _ in range(dice.number(2, 7))],
        placements=dice.sample(PLACEMENTS, 2),
        priority=dice.number(0, 2),
        constraint=some_constraint(dice) if dice.is_unusual() else None,
        formula=dice.usually(dice.choose(FORMULAS), MISSING) if dice.is_unusual() else None,
    )


def some_decision(dice: Dice, name: str) -> Document:
    document = a_decision(
        name,
        *[some_criterion(dice) for _ in range(dice.number(1, 4))],
        fallback=dice.usually("f1", "f2", "f2", MISSING),
        status=dice.usually("live", "live", "live", *DecisionStatus),
    )
    return document | (a_window(dice) if dice.is_unusual() else {})


def some_document(dice: Dice, name: str) -> Document:
    """Return a random object of this name; the name determines its kind."""
    if name in PLACEMENTS:
        return a_placement(name, dice.usually("html", "json", "html-template"))
    if name in TAGS:
        return a_tag(name)
    if name in RULES:
        return a_rule(name, dice.choose(BROKEN) if name == "broken" else a_rule_text(dice))
    if name in LISTS:
        return an_audience(name, LISTS[name])
    if name in FORMULAS:
        return a_formula(name, dice.choose(BROKEN if name == "wrong" else FORMULA_TEXTS))
    if name in OFFERS:
        return some_offer(dice, name)
    if name in COLLECTIONS:
        return some_collection(dice, name)
    if name in FALLBACKS:
        return a_fallback(name, some_content(dice), dice.usually("approved", "draft"))
    return some_decision(dice, name)


def a_random_library(seed: int, odd: int, offers: int, decisions: int) -> list[Document]:
    """Return documents in random order, sometimes without some that others refer to."""
    dice = Dice(seed, odd)
    other_names = (*PLACEMENTS, *TAGS, *RULES, *FORMULAS, *COLLECTIONS, *FALLBACKS, *LISTS)
    names = dice.sample([*other_names, *OFFERS[:offers], *DECISIONS[:decisions]], 99)
    missing_names = dice.sample(names)[:2] if dice.is_unusual() else []
    return [some_document(dice, name) for name in names if name not in missing_names]


def a_large_library(seed: int, offers: int) -> list[Document]:
    """Return a library of many offers under one tag that share rules; `d2` ranks by a formula."""
    dice = Dice(seed, odd=1)
    rules = [f"rule {number}" for number in range(min(offers, 300))]
    documents = [some_document(dice, name) for name in (*PLACEMENTS, *TAGS, *FORMULAS, *RULES, *LISTS)]
    documents += [a_fallback(name, PLACEMENTS) for name in FALLBACKS]
    documents += [a_rule(name, a_rule_text(dice)) for name in rules]
    documents += [a_collection("all", any_tags=["red"]), a_collection("some", any_tags=["blue"])]
    for number in range(offers):
        offer = some_offer(dice, f"offer {number}")
        offer["xdm:tags"].append(id_of(EntityKind.TAG, "red"))
        if dice.number(0, 3):
            offer["xdm:selectionConstraint"] |= a_constraint(rule=dice.choose(rules))
        documents.append(offer)
    all_of_them = a_criterion("all", placements=PLACEMENTS)
    scored = a_criterion("all", placements=PLACEMENTS, formula="boost")
    grouped = (a_criterion("some", placements=PLACEMENTS, priority=2), all_of_them)
    for name, criteria in (("d1", (all_of_them,)), ("d2", (scored,)), ("d3", grouped)):
        documents.append(a_decision(name, *criteria, fallback="f1"))
    return documents


UNUSUAL_VALUES: tuple[Any, ...] = (
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
    members: dict[str, Any] = {
        "person": {
            "age": dice.usually(dice.choose([17, 18, 30, 70]), *UNUSUAL_VALUES),
            "birthDate": dice.choose(["1999-12-31", "2000-01-01T00:00:00Z", "2030-01-01", "x", 3, None]),
        },
        "homeAddress": {"country": dice.usually(dice.choose(["FR", "DE"]), *UNUSUAL_VALUES)},
        "loyalty": dice.choose(
            [
                {"tier": "gold"},
                {"tier": None, "member": True},
                {"tier": dice.choose(UNUSUAL_VALUES), "member": dice.choose(UNUSUAL_VALUES)},
                {"xdm:tier": "silver"},
                [{"tier": "gold"}, {"tier": "x"}],
                {},
            ]
        ),
        "orders": dice.choose([[], [{"total": 9}], {"total": 9}, {"total": 1.5}, {"total": True}]),
        "segmentMembership": {
            "ups": {
                name: dice.choose([{"status": "realized"}, {"status": "existing"}, {"status": "exited"}, {}])
                for name in dice.sample(["vip", "new", *map(audience_id, LISTS)])
            },
            "crm": dice.choose([{"old": {"status": "realized"}}, {"old": None}, []]),
        },
    }
    return {name: members[name] for name in dice.sample([*members], 3)}


def a_random_request(seed: int, odd: int, scopes: int) -> Inputs:
    """Return a request, possibly with repeated or unknown scopes."""
    dice = Dice(seed, odd)
    offers = [id_of(EntityKind.OFFER, name) for name in OFFERS]
    places = ["", *(id_of(EntityKind.PLACEMENT, name) for name in PLACEMENTS)]
    return Inputs(
        request=DecisionRequest(
            scopes=tuple(
                ScopeRequest(
                    id_of(EntityKind.DECISION, dice.usually("d1", "d2", "d3", "d3", MISSING)),
                    id_of(EntityKind.PLACEMENT, dice.usually("web", "app", "app", "mail", MISSING)),
                    dice.number(1, 5),
                )
                for _ in range(scopes)
            ),
            across_decisions=dice.choose([True, False]),
            across_placements=dice.choose([True, False]),
            languages=tuple(dice.sample(LANGUAGES)[:2]),
            context=dice.choose(
                [
                    {},
                    {"weather": {"celsius": 10}},
                    {"weather": {"celsius": 30}},
                    {"weather": {"celsius": dice.choose(UNUSUAL_VALUES)}},
                ]
            ),
            event=dice.usually(None, {"eventType": "click"}, {"eventType": 3}, {}),
        ),
        profile=Profile(attributes=some_profile(dice), is_known=True),
        usage=CapUsage(
            {
                (
                    dice.choose(offers),
                    dice.choose(["globalCap", "profileCap", "1", "2"]),
                    dice.choose(places),
                ): (dice.number(0, 3))
                for _ in range(dice.usually(0, 5, 20))
            }
        ),
        now_us=dice.usually(NOON, NOON - 1, NOON + 1),
        seed=str(dice.number(0, 99)) + dice.choose("01"),
    )


NAMES = (*PLACEMENTS, *TAGS, *RULES, *FORMULAS, *OFFERS, *COLLECTIONS, *FALLBACKS, *DECISIONS)


def some_changes(seed: int, odd: int, count: int) -> list[tuple[EntityKind, str, Mapping[str, Any] | None]]:
    """Return a sequence of changes: (kind, name, new document or None if deleted)."""
    dice = Dice(seed, odd)
    return [
        (_kind(name), name, None if dice.is_unusual() else some_document(dice, name))
        for name in (dice.choose(NAMES) for _ in range(count))
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
