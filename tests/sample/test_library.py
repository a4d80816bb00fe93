"""The sample library as data: whole, consistent, and as varied as its readers are told it is."""

import html.parser
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, TypeAlias

import pytest
from ruamel.yaml import YAML

Document: TypeAlias = dict[str, Any]
Library: TypeAlias = dict[str, list[Document]]

KINDS = {
    "placements": "offer-placement",
    "tags": "tag",
    "rules": "eligibility-rule",
    "collections": "offer-filter",
    "fallbacks": "fallback-offer",
    "offers": "personalized-offer",
    "decisions": "offer-activity",
}
HERO = "xcore:offer-placement:124e0be5699743d3"
COMPONENT = "https://ns.adobe.com/experience/offer-management/content-component-"
ID = re.compile(r"xcore:([a-z-]+):[0-9a-f]{15,16}")
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


def _read(name: str) -> Any:
    text = files("proffer.sample").joinpath(name).read_text(encoding="utf-8")
    return YAML(typ="safe").load(text)


@pytest.fixture(scope="module")
def library() -> Library:
    document = _read("library.yaml")
    document.pop("comment")
    assert list(document) == list(KINDS)
    return document  # type: ignore[no-any-return]  # the assertions of this file are its type


@pytest.fixture(scope="module")
def customers() -> Document:
    return _read("profiles.yaml")  # type: ignore[no-any-return]  # as above


def _by_id(documents: list[Document]) -> dict[str, Document]:
    return {document["@id"]: document for document in documents}


def _named(documents: list[Document], name: str) -> Document:
    (document,) = [d for d in documents if d["xdm:name"] == name]
    return document


def _main(library: Library) -> Document:
    return _named(library["decisions"], "Home page and account page")


def _with_representations(library: Library) -> list[Document]:
    return library["offers"] + library["fallbacks"]


def _representations(library: Library) -> Iterator[tuple[Document, Document]]:
    for owner in _with_representations(library):
        for representation in owner["xdm:representations"]:
            yield owner, representation


def _components(library: Library) -> Iterator[tuple[Document, Document]]:
    for owner, representation in _representations(library):
        for component in representation["xdm:components"]:
            yield owner, component


def _placements(owner: Document) -> list[str]:
    return [representation["xdm:placement"] for representation in owner["xdm:representations"]]


def _named_placements(decision: Document) -> set[str]:
    return {place for c in decision["xdm:criteria"] for place in c["xdm:placements"]}


def _members(library: Library, collection_id: str) -> list[Document]:
    collection = _by_id(library["collections"])[collection_id]
    ids = set(collection["xdm:ids"])
    match collection["xdm:filterType"]:
        case "offers":
            return [o for o in library["offers"] if o["@id"] in ids]
        case "anyTags":
            return [o for o in library["offers"] if ids & set(o["xdm:tags"])]
        case _:
            return [o for o in library["offers"] if ids <= set(o["xdm:tags"])]


def _candidates(library: Library, decision: Document) -> list[Document]:
    """Every offer a criterion of the decision can name, whatever its status, dates or rule."""
    found = {
        offer["@id"]: offer
        for criterion in decision["xdm:criteria"]
        for offer in _members(library, criterion["xdm:optionSelection"]["xdm:filter"])
    }
    return list(found.values())


def _window(document: Document) -> tuple[datetime, datetime]:
    start, end = document["xdm:startDate"], document["xdm:endDate"]
    return datetime.fromisoformat(start), datetime.fromisoformat(end)


def _constraints(library: Library) -> Iterator[Document]:
    for offer in library["offers"]:
        yield offer["xdm:selectionConstraint"]
    for decision in library["decisions"]:
        for criterion in decision["xdm:criteria"]:
            if "xdm:profileConstraint" in criterion:
                yield criterion["xdm:profileConstraint"]


def _running(library: Library) -> list[Document]:
    """Offers that are approved and inside their dates."""
    found = []
    for offer in library["offers"]:
        start, end = _window(offer["xdm:selectionConstraint"])
        if offer["xdm:status"] == "approved" and start <= NOW <= end:
            found.append(offer)
    return found


# Whole


def test_the_library_is_large_enough_to_look_real(library: Library) -> None:
    """The sizes the documentation speaks of are there, kind by kind."""
    least = {
        "placements": 7,
        "tags": 8,
        "rules": 14,
        "collections": 6,
        "fallbacks": 3,
        "offers": 45,
        "decisions": 4,
    }
    assert {kind: len(library[kind]) >= n for kind, n in least.items()} == dict.fromkeys(least, True)
    assert Counter(d["xdm:status"] for d in library["decisions"]) == {"live": 3, "draft": 1}
    assert len(_running(library)) >= 45


def test_every_id_is_well_formed_of_its_kind_and_used_once(library: Library) -> None:
    """An `@id` is `xcore:<kind>:` and 15 or 16 hex digits, and no two documents share one."""
    seen: list[str] = []
    for key, kind in KINDS.items():
        for document in library[key]:
            match = ID.fullmatch(document["@id"])
            assert match is not None, document["@id"]
            assert match[1] == kind, document["@id"]
            seen.append(document["@id"])
    assert [i for i, n in Counter(seen).items() if n > 1] == []


def test_names_are_not_repeated_within_a_kind(library: Library) -> None:
    """A reader can tell two documents of one kind apart by name; for tags the server insists."""
    for key in KINDS:
        names = Counter(document["xdm:name"] for document in library[key])
        assert [name for name, n in names.items() if n > 1] == []


def test_required_members_are_present(library: Library) -> None:
    """Each kind carries the members without which the server refuses it."""
    required = {
        "placements": {"xdm:channel", "xdm:componentType"},
        "tags": set[str](),
        "rules": {"xdm:condition", "xdm:definedOn"},
        "collections": {"xdm:filterType", "xdm:ids"},
        "fallbacks": {"xdm:status", "xdm:representations"},
        "offers": {
            "xdm:status",
            "xdm:representations",
            "xdm:rank",
            "xdm:selectionConstraint",
            "xdm:tags",
        },
        "decisions": {"xdm:status", "xdm:fallback", "xdm:criteria"},
    }
    for key, members in required.items():
        for document in library[key]:
            assert members | {"@id", "xdm:name"} <= set(document), document["@id"]


def test_every_reference_resolves_to_the_right_kind(library: Library) -> None:
    """Placements, tags, rules, offers, collections and fallbacks that are named exist."""
    ids = {key: {document["@id"] for document in library[key]} for key in KINDS}
    for owner, representation in _representations(library):
        assert representation["xdm:placement"] in ids["placements"], owner["xdm:name"]
    for offer in library["offers"]:
        assert set(offer["xdm:tags"]) <= ids["tags"], offer["xdm:name"]
    for constraint in _constraints(library):
        if constraint["xdm:profileConstraintType"] == "eligibilityRule":
            assert constraint["xdm:eligibilityRule"] in ids["rules"]
        else:
            assert "xdm:eligibilityRule" not in constraint
    for collection in library["collections"]:
        target = "offers" if collection["xdm:filterType"] == "offers" else "tags"
        assert set(collection["xdm:ids"]) <= ids[target], collection["xdm:name"]
    for decision in library["decisions"]:
        assert decision["xdm:fallback"] in ids["fallbacks"]
        assert _named_placements(decision) <= ids["placements"]
        for criterion in decision["xdm:criteria"]:
            assert criterion["xdm:optionSelection"]["xdm:filter"] in ids["collections"]


def test_nothing_in_the_library_is_unused(library: Library) -> None:
    """Every placement, tag, rule and collection is named by something."""
    text = json.dumps([library["collections"], library["fallbacks"], library["offers"], library["decisions"]])
    for key in ("placements", "tags", "rules"):
        assert [d["xdm:name"] for d in library[key] if d["@id"] not in text] == []
    decisions = json.dumps(library["decisions"])
    assert [c["xdm:name"] for c in library["collections"] if c["@id"] not in decisions] == []


# What is shown


def test_an_offer_has_one_representation_for_a_placement(library: Library) -> None:
    """Two representations for one placement are refused on write, so there are none here."""
    for owner in _with_representations(library):
        places = _placements(owner)
        assert len(places) == len(set(places)), owner["xdm:name"]
        assert places, owner["xdm:name"]


def test_a_representation_fits_its_placement(library: Library) -> None:
    """Channel, component type and media type are those the placement asks for."""
    placements = _by_id(library["placements"])
    for owner, representation in _representations(library):
        placement = placements[representation["xdm:placement"]]
        assert representation["xdm:channel"] == placement["xdm:channel"], owner["xdm:name"]
        assert representation["xdm:components"], owner["xdm:name"]
        for component in representation["xdm:components"]:
            assert component["@type"] == placement["xdm:componentType"], owner["xdm:name"]
            assert component["dc:format"] in placement["xdm:contentTypes"], owner["xdm:name"]


def test_the_placements_cover_three_channels_and_four_component_types(library: Library) -> None:
    """Web, email and mobile; HTML, JSON, image link and text; the documented hero among them."""
    channels = {p["xdm:channel"].rpartition("/")[2] for p in library["placements"]}
    types = {p["xdm:componentType"].removeprefix(COMPONENT) for p in library["placements"]}
    assert channels == {"web", "email", "mobile"}
    assert types == {"html", "json", "imagelink", "text"}
    hero = _by_id(library["placements"])[HERO]
    assert hero["xdm:channel"].endswith("/web")
    assert hero["xdm:componentType"] == COMPONENT + "html"
    assert HERO in _named_placements(_main(library))


def test_a_representation_has_each_language_once_and_english_first(library: Library) -> None:
    """English is the component served when no language is asked for; some offers add others."""
    spoken: Counter[str] = Counter()
    for owner, representation in _representations(library):
        languages = [tag for c in representation["xdm:components"] for tag in c["dc:language"]]
        assert languages[0] == "en", owner["xdm:name"]
        assert len(languages) == len(set(languages)), owner["xdm:name"]
        spoken.update(languages)
    assert set(spoken) == {"en", "de", "fr"}


def test_html_content_is_balanced(library: Library) -> None:
    """Every element that opens also closes, in order."""

    class Balance(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    for owner, component in _components(library):
        if component["dc:format"] == "text/html":
            balance = Balance()
            balance.feed(component["xdm:content"])
            balance.close()
            assert balance.open == [], owner["xdm:name"]


def test_json_content_is_json_with_a_headline_and_an_action(library: Library) -> None:
    """What a page or the app draws a card from parses, and has what the card needs."""
    for owner, component in _components(library):
        if component["dc:format"] == "application/json":
            card = json.loads(component["xdm:content"])
            assert (
                {"headline", "text", "action"}
                <= set(card)
                <= {
                    "headline",
                    "text",
                    "price",
                    "action",
                }
            ), owner["xdm:name"]
            assert set(card["action"]) == {"label", "url"}, owner["xdm:name"]


def test_links_lead_to_a_reserved_domain_or_into_the_app(library: Library) -> None:
    """No address in the library can belong to anybody."""
    addresses = []
    for _, component in _components(library):
        text = " ".join(str(value) for key, value in component.items() if key != "@type")
        addresses += re.findall(r"[a-z]+://[^\s\"<]+", text)
    assert len(addresses) > 100
    for address in addresses:
        assert re.match(r"https://(www|images)\.wrenfield\.example/|wrenfield://", address), address


# Who is offered what


def test_a_live_decision_always_has_an_answer(library: Library) -> None:
    """Its fallback is approved and has content for every placement it names, of the right type."""
    placements, fallbacks = _by_id(library["placements"]), _by_id(library["fallbacks"])
    for decision in library["decisions"]:
        if decision["xdm:status"] != "live":
            continue
        fallback = fallbacks[decision["xdm:fallback"]]
        assert fallback["xdm:status"] == "approved"
        shown = {r["xdm:placement"]: r["xdm:components"] for r in fallback["xdm:representations"]}
        for place in _named_placements(decision):
            types = {component["@type"] for component in shown[place]}
            assert types == {placements[place]["xdm:componentType"]}, decision["xdm:name"]


def test_a_fallback_has_neither_dates_nor_rank_nor_caps(library: Library) -> None:
    """A fallback is what is left when everything else was ruled out, so nothing rules it out."""
    for fallback in library["fallbacks"]:
        assert set(fallback) == {"@id", "xdm:name", "xdm:status", "xdm:representations"}


def test_no_offer_of_the_home_page_decision_is_open_to_everybody(library: Library) -> None:
    """Somebody of whom nothing is known gets the fallback there, which is what it is for."""
    candidates = _candidates(library, _main(library))
    assert len(candidates) >= 40
    for offer in candidates:
        constraint = offer["xdm:selectionConstraint"]
        assert constraint["xdm:profileConstraintType"] == "eligibilityRule", offer["xdm:name"]
        assert constraint["xdm:eligibilityRule"], offer["xdm:name"]


def test_every_placement_of_a_live_decision_has_a_choice_of_offers(library: Library) -> None:
    """Ten running offers or more can appear in each of them."""
    running = {offer["@id"] for offer in _running(library)}
    for decision in library["decisions"]:
        if decision["xdm:status"] != "live":
            continue
        able = [o for o in _candidates(library, decision) if o["@id"] in running]
        for place in _named_placements(decision):
            assert len([o for o in able if place in _placements(o)]) >= 10, decision["xdm:name"]


def test_criteria_come_in_groups_with_retention_first(library: Library) -> None:
    """The first group of the home page is for people who leave; a later one has two criteria."""
    criteria = _main(library)["xdm:criteria"]
    ranks = [criterion["xdm:rank"]["xdm:priority"] for criterion in criteria]
    assert ranks == sorted(ranks, reverse=True)
    assert max(Counter(ranks).values()) > 1
    first = criteria[0]
    assert ranks.count(ranks[0]) == 1
    assert first["xdm:profileConstraint"]["xdm:profileConstraintType"] == "eligibilityRule"
    retention = _named(library["tags"], "Retention")["@id"]
    chosen = _by_id(library["collections"])[first["xdm:optionSelection"]["xdm:filter"]]
    assert retention in chosen["xdm:ids"]


def test_collections_are_of_all_three_sorts_and_none_is_empty(library: Library) -> None:
    """By any tag, by all tags, and by name; each finds at least one running offer."""
    sorts = Counter(collection["xdm:filterType"] for collection in library["collections"])
    assert sorts["anyTags"] >= 3
    assert sorts["allTags"] >= 1
    assert sorts["offers"] >= 1
    running = {offer["@id"] for offer in _running(library)}
    for collection in library["collections"]:
        members = {offer["@id"] for offer in _members(library, collection["@id"])}
        assert members & running, collection["xdm:name"]


def test_windows_last_except_the_ones_that_are_there_for_the_trace(library: Library) -> None:
    """One approved offer is over, one begins in 2030; all others run from 2024 through 2035."""
    approved = [o for o in library["offers"] if o["xdm:status"] == "approved"]
    odd = {}
    for offer in approved:
        start, end = _window(offer["xdm:selectionConstraint"])
        assert start < end
        if start.year != 2024 or end.year != 2035:
            odd[offer["xdm:name"]] = (start.year, end.year)
    assert odd == {
        "6G early access": (2030, 2035),
        "Winter 2024 streaming gift": (2024, 2025),
    }
    for decision in library["decisions"]:
        start, end = _window(decision)
        assert start < end
        assert end.year == 2035


def test_some_offers_are_drafts_and_some_are_archived(library: Library) -> None:
    """Both are there to be seen in lists, and neither can be delivered."""
    statuses = Counter(offer["xdm:status"] for offer in library["offers"])
    assert set(statuses) == {"approved", "draft", "archived"}
    assert statuses["draft"] >= 2
    assert statuses["archived"] >= 2


def test_caps_are_there_per_profile_and_in_total(library: Library) -> None:
    """Some offers may be shown to one customer only so often, some only so often at all."""
    caps = [o["xdm:cappingConstraint"] for o in library["offers"] if "xdm:cappingConstraint" in o]
    assert sum("xdm:profileCap" in cap for cap in caps) >= 3
    assert sum("xdm:globalCap" in cap for cap in caps) >= 1
    for cap in caps:
        assert set(cap) <= {"xdm:profileCap", "xdm:globalCap"}
        assert all(type(limit) is int and limit >= 1 for limit in cap.values())


def test_priorities_are_whole_numbers_with_ties_among_them(library: Library) -> None:
    """A tie is settled by a draw, so a library without one would not show it."""
    priorities = [offer["xdm:rank"]["xdm:priority"] for offer in library["offers"]]
    assert all(type(priority) is int and priority >= 0 for priority in priorities)
    assert max(Counter(priorities).values()) > 1


def test_characteristics_are_short_strings(library: Library) -> None:
    """Strings by name, at most thirty, under one kilobyte."""
    for offer in library["offers"]:
        characteristics = offer["xdm:characteristics"]
        assert characteristics, offer["xdm:name"]
        assert len(characteristics) <= 30
        assert all(isinstance(v, str) for pair in characteristics.items() for v in pair)
        assert len(json.dumps(characteristics)) <= 1024


# Rules


def test_rules_keep_to_the_plain_part_of_the_language(library: Library) -> None:
    """Paths, literals, comparisons, `and or not`, `in [..]` and `equals`: nothing else."""
    token = re.compile(
        r"""\s*(?:"[^"]*" | \d+(?:\.\d+)? | <=|>=|!=|[=<>(),\[\]]
            | (?:and|or|not|in|true|false)\b
            | (?:person|homeAddress|loyalty|_wrenfield)(?:\.[A-Za-z]+)+?
              (?:\.equals(?=\() | \b(?![.(])) )""",
        re.VERBOSE,
    )
    for rule in library["rules"]:
        condition = rule["xdm:condition"]
        assert condition["xdm:type"] == "PQL"
        assert condition["xdm:format"] == "pql/text"
        rest = condition["xdm:value"]
        while rest:
            match = token.match(rest)
            assert match is not None, (rule["xdm:name"], rest)
            rest = rest[match.end() :]
        assert condition["xdm:value"].count("(") == condition["xdm:value"].count(")")
        assert "\n" not in condition["xdm:value"]


def test_reference_paths_are_the_paths_the_rule_reads(library: Library) -> None:
    """`definedOn` lists what the condition needs of the profile, no more and no less."""
    path = re.compile(r"\b(?:person|homeAddress|loyalty|_wrenfield)(?:\.[A-Za-z]+)+")
    for rule in library["rules"]:
        defined = rule["xdm:definedOn"]["profile"]
        assert defined["xdm:schema"] == {
            "$ref": "https://ns.adobe.com/xdm/context/profile_union",
            "version": "1",
        }
        without_strings = re.sub(r'"[^"]*"', '""', rule["xdm:condition"]["xdm:value"])
        read = {found.removesuffix(".equals") for found in path.findall(without_strings)}
        assert set(defined["xdm:referencePaths"]) == read, rule["xdm:name"]


def test_every_rule_needs_something_of_the_profile(library: Library) -> None:
    """`not` alone would be true of an empty profile, so it only ever stands behind an `and`."""
    for rule in library["rules"]:
        value = rule["xdm:condition"]["xdm:value"]
        assert all(part.endswith(" and ") for part in re.split(r"\bnot\b", value)[:-1]), value


# Customers


def test_there_are_six_customers_and_each_has_a_line_about_them(customers: Document) -> None:
    """Named, with an identity of their own and one line that says who they are."""
    people = customers["profiles"]
    assert [p["name"] for p in people] == ["clara", "yanis", "maarten", "declan", "marta", "nobody"]
    identities = {p["profile"]["identityMap"]["crmId"][0]["id"] for p in people}
    assert len(identities) == 6
    assert all(p["comment"] and "\n" not in p["comment"] for p in people)
    assert set(people[-1]["profile"]) == {"identityMap"}


def test_customers_have_the_attributes_rules_read(library: Library, customers: Document) -> None:
    """No rule reads a path that no customer of the samples has, but for those of departed ones."""

    def paths(value: object, prefix: str = "") -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from paths(inner, f"{prefix}.{name}" if prefix else name)
        else:
            yield prefix

    known = {path for person in customers["profiles"] for path in paths(person["profile"])}
    read = {path for rule in library["rules"] for path in rule["xdm:definedOn"]["profile"]["xdm:referencePaths"]}
    assert read - known == {"_wrenfield.contract.endReason"}


def test_expected_offers_can_be_delivered_in_the_home_page_hero(library: Library, customers: Document) -> None:
    """What a customer is said to get is running, belongs to the decision and has hero content."""
    decision = _by_id(library["decisions"])[customers["decision"]]
    assert decision["@id"] == _main(library)["@id"]
    assert customers["placement"] == HERO
    running = {offer["@id"] for offer in _running(library)}
    candidates = _by_id(_candidates(library, decision))
    best = []
    for person in customers["profiles"]:
        ranks = [expected["rank"] for expected in person["expects"]]
        assert ranks[0] == 1
        assert ranks == sorted(ranks)
        best.append(person["expects"][0]["offer"])
        if person["name"] == "nobody":
            assert [e["offer"] for e in person["expects"]] == [decision["xdm:fallback"]]
            continue
        assert len(ranks) >= 3
        for expected in person["expects"]:
            assert expected["offer"] in running
            assert HERO in _placements(candidates[expected["offer"]])
    assert len(set(best)) == len(best), "each customer has a best offer of their own"


def test_the_best_offer_of_a_customer_is_not_capped(library: Library, customers: Document) -> None:
    """Asking again and again gives the same first answer, so the tutorial stays true."""
    offers = _by_id(library["offers"])
    for person in customers["profiles"]:
        first = offers.get(person["expects"][0]["offer"], {})
        assert "xdm:cappingConstraint" not in first, person["name"]


def test_equal_ranks_are_equal_priorities(library: Library, customers: Document) -> None:
    """Two offers share an expected rank exactly when their priorities tie."""
    offers = _by_id(library["offers"])
    shared = 0
    for person in customers["profiles"]:
        by_rank: dict[int, set[int]] = {}
        for expected in person["expects"]:
            if expected["offer"] in offers:
                priority = offers[expected["offer"]]["xdm:rank"]["xdm:priority"]
                by_rank.setdefault(expected["rank"], set()).add(priority)
        assert all(len(priorities) == 1 for priorities in by_rank.values()), person["name"]
        shared += len(person["expects"]) > len(by_rank) > 0
    assert shared >= 2
