"""What of formulas arrays decide by themselves, and what they leave to the formula as a whole."""

from datetime import UTC, datetime
from typing import Any

import pytest

from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.engine.decide import decide
from proffer.engine.formula_table import OfferTerms
from proffer.model.ids import EntityKind
from proffer.pql import Environment
from proffer.testing.builders import (
    ALWAYS_INDEXED,
    Document,
    a_collection,
    a_criterion,
    a_decision,
    a_fallback,
    a_formula,
    a_placement,
    a_scope,
    an_offer,
    entities,
    id_of,
    some_inputs,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PROFILE: dict[str, Any] = {
    "person": {"age": 30, "score": 0.5},
    "homeAddress": {"city": "Ulm", "country": None},
}


def a_library(text: str) -> list[Document]:
    """Four offers: two alike, one that says less, and one that says it in another way."""
    said: list[Any] = [
        {"xdm:characteristics": {"city": "Ulm", "boost": "2", "margin": "0.5"}},
        {"xdm:characteristics": {"city": "Bonn", "boost": "3", "margin": "1.5"}},
        {"xdm:characteristics": {"city": "Ulm", "boost": "2", "margin": "0.5"}},
        {"xdm:characteristics": {"city": "Bonn", "boost": "3"}},
    ]
    offers = [an_offer(f"offer {at}", priority=at + 1, tags=["t"], **one) for at, one in enumerate(said)]
    return [
        a_placement("web"),
        a_fallback(),
        a_collection("all", any_tags=["t"]),
        a_formula("f", text),
        a_decision("d", a_criterion("all", formula="f")),
        *offers,
    ]


def the_table(text: str) -> OfferTerms:
    snapshot = SnapshotBuilder("c1", tuning=ALWAYS_INDEXED).apply(entities(a_library(text)).items(), 1)
    scope = snapshot.decisions[id_of(EntityKind.DECISION, "d")].scopes
    (table,) = scope[id_of(EntityKind.PLACEMENT, "web")].groups[0][0].tables
    return table


def in_bulk(text: str) -> tuple[list[Any], list[int]] | None:
    """By offer, highest priority first, what arrays say, and of whom they are in doubt."""
    table = the_table(text)
    assert table.vectorized is not None
    assert table.formula.split is not None
    environment = Environment(PROFILE, NOON)
    return table.vectorized.score_list(environment, table.formula.split.eval_request(environment), range(4))


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("offer.rank.priority * 2 + person.age", [38, 36, 34, 32]),
        ("offer.rank.priority / person.score", [8.0, 6.0, 4.0, 2.0]),
        ("offer.rank.priority % 3 - person.age", [-29, -30, -28, -29]),
        ("stringToNumber(offer.characteristics.boost) * person.age", [90, 60, 90, 60]),
        ("stringToNumber(offer.characteristics.margin) + person.age", [None, 30.5, 31.5, 30.5]),
        ("offer.characteristics.margin + person.age", [None, None, None, None]),
        (
            'if(offer.characteristics.get("city") = homeAddress.city, person.age, 1)',
            [1, 30, 1, 30],
        ),
        ("if(homeAddress.city != offer.characteristics.city, 1, 0)", [1, 0, 1, 0]),
        ("if(homeAddress.country != offer.characteristics.city, 1, 0)", [0, 0, 0, 0]),
        ("if(person.age > offer.rank.priority * 10, 1.5, 2)", [2, 2, 1.5, 1.5]),
        ("if(person.age > 18 and offer.rank.priority > 2, 1, 0)", [1, 1, 0, 0]),
        ("if(offer.characteristics.city in [homeAddress.city], 1, 0)", [0, 1, 0, 1]),
        ("if(offer.characteristics.city.contains(homeAddress.city), 1, 0)", [0, 1, 0, 1]),
        ("person.age", [30, 30, 30, 30]),
        ("person.missing", [None, None, None, None]),
    ],
)
def test_arrays_decide_numbers_texts_and_choices(text: str, scores: list[Any]) -> None:
    """Integers stay integers, a null is a fault, and nobody is in doubt."""
    found = in_bulk(text)

    assert found is not None
    assert [repr(one) for one in found[0]] == [repr(one) for one in scores]
    assert found[1] == []


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("offer.rank.priority * 3000000000000000 + person.age - person.age", [0]),
        ("if(person.age > 18, offer.characteristics.city, 0)", [0, 1, 2, 3]),
        ("if(offer.rank.priority > 2, offer.characteristics.city, person.age)", [0, 1]),
    ],
)
def test_arrays_leave_what_they_might_get_wrong(text: str, doubtful: list[int]) -> None:
    """Integers that doubles cannot hold, and values that are no numbers, where they are what is taken."""
    found = in_bulk(text)

    assert found is not None
    assert found[1] == doubtful


def test_a_request_of_another_kind_is_asked_one_by_one() -> None:
    """A text where a number was expected."""
    assert in_bulk("if(offer.rank.priority > homeAddress.city, 1, 0)") is None


def test_a_changed_offer_is_scored_as_it_is_now() -> None:
    """What was worked out of an offer is forgotten with it."""
    library = entities(a_library("offer.rank.priority + person.age"))
    builder = SnapshotBuilder("c1", tuning=ALWAYS_INDEXED)
    builder.apply(library.items(), 1)
    changed = an_offer("offer 0", priority=9, tags=["t"])
    snapshot = builder.apply(entities([changed]).items(), 2)

    (answer,) = decide(snapshot, some_inputs(a_scope("d"), profile=PROFILE)).scopes

    assert [option.score for option in answer.options] == [39]  # type: ignore[union-attr]
