"""Candidates of a trace as documents: each stage with its parts and the sentence made from them."""

import json
from pathlib import Path
from typing import Any

from proffer.api.kit.fragments import candidate_documents
from proffer.engine.decide import decide
from proffer.model.ids import EntityKind
from proffer.model.trace import Stage
from proffer.testing import builders as b
from proffer.wire.codec import encode

GOLDEN = Path(__file__).parents[3] / "spec" / "trace" / "every-stage.json"
"""Rewritten by `cd tests && python -m api.kit.test_trace_documents`; read the difference."""
DAILY: Any = {"xdm:enabled": True, "xdm:unit": "day", "xdm:unitCount": 1}
NEW_YEAR_2021 = 1_609_459_200 * b.SECOND
PROFILE = {
    "person": {"age": 12},
    "homeAddress": {"country": "DE"},
    "tags": ["a", "b"],
    "_acme": {"openTickets": 1, "note": "n" * 99},
    "segmentMembership": {"ups": {"left": {"status": "exited"}}},
}


def every_stage() -> list[list[dict[str, Any]]]:
    """Return the candidates of scopes in which something happens at every stage."""
    rules = {
        "adult": "person.age >= 18",
        "no tickets": "_acme.openTickets = 0",
        "several": 'person.age >= 18 and homeAddress.country = "FR" and _acme.note != null',
        "either": 'homeAddress.country = "FR" or (person.age >= 18 and _acme.openTickets < 5)',
        "not german": 'not (homeAddress.country = "DE" or person.age > 90)',
        "list": 'tags = "c"',
        "text": '_acme.note = "x"',
        "missing": "loyalty.points > 10",
        "of the offer": "offer.characteristics.age > person.age",
        "broken": "person.age >=",
    }
    offers = [b.an_offer(f"rule: {name}", rule=name) for name in rules]
    offers += [
        b.an_offer("first", priority=3),
        b.an_offer("second", priority=2),
        b.an_offer("scored") | {"xdm:rank": {"xdm:priority": 1, "xdm:order": b.by_formula("score")}},
        b.an_offer("draft", status="draft"),
        b.an_offer("elsewhere", content=["app"]),
        b.an_offer("over", window=(0, NEW_YEAR_2021)),
        b.an_offer("to come", window=(b.NOON + 1, b.NOON + b.SECOND)),
        b.an_offer("audience", constraint=b.a_constraint(all_audiences=["left"])),
        b.an_offer("audiences", constraint=b.a_constraint(any_audience=["left", "crm/other"])),
        b.an_offer("both rules", constraint=b.a_constraint(rules=["adult", "no tickets"])),
        b.an_offer("cap", cap=1),
        b.an_offer("daily cap", caps=[b.a_cap(2, scope="profile", **{"xdm:repeat": DAILY})]),
        b.an_offer("no such rule", constraint=b.a_constraint(rule="nowhere")),
        b.an_offer("wrong content", content={"web": [b.a_component("text")]}),
    ]
    library = b.a_library(
        *offers,
        b.a_collection("all", [offer["@id"] for offer in offers]),
        b.a_collection("one", ["first"]),
        b.a_decision("decision", b.a_criterion("all")),
        b.a_decision("for vips", b.a_criterion("one", constraint=b.a_constraint(all_audiences=["left"]))),
        *(b.a_rule(name, text) for name, text in rules.items()),
        b.a_formula("score", "person.age * 2"),
    )
    used = {
        (b.id_of(EntityKind.OFFER, "cap"), "globalCap", ""): 1,
        (b.id_of(EntityKind.OFFER, "daily cap"), "1", ""): 2,
    }
    inputs = b.some_inputs(b.a_scope(), b.a_scope(), b.a_scope("for vips"), profile=PROFILE, used=used)
    outcome = decide(b.a_snapshot(library), inputs, explain=True)
    scopes: list[list[dict[str, Any]]] = json.loads(
        encode([candidate_documents(trace) for trace in outcome.trace or ()])
    )
    return scopes


def test_every_stage_has_its_parts() -> None:
    """As written in the golden document."""
    scopes = every_stage()

    assert scopes == json.loads(GOLDEN.read_text("utf-8"))
    assert {candidate["stage"] for scope in scopes for candidate in scope} == set(Stage)


def test_offers_with_one_rule_have_the_same_reason() -> None:
    """Each under its own id and name."""
    library = b.a_library(
        b.an_offer("first", rule="adult"), b.an_offer("second", rule="adult"), b.a_rule("adult", "person.age >= 18")
    )
    (trace,) = decide(b.a_snapshot(library), b.some_inputs(profile=PROFILE), explain=True).trace or ()
    first, second = json.loads(encode(candidate_documents(trace)))

    assert (first["name"], second["name"]) == ("first", "second")
    assert first["id"] != second["id"]
    assert first["tests"]
    assert first | {"id": "", "name": ""} == second | {"id": "", "name": ""}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(every_stage(), indent=1, ensure_ascii=False) + "\n", "utf-8")
