"""The cases of `spec/decisions/*.yaml`, through the engine and the naive engine. The format is in the README there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from proffer.engine.decide import decide
from proffer.engine.inputs import Inputs
from proffer.model.documents import document_violations
from proffer.model.ids import EntityKind, canonical, kind_of
from proffer.model.outcome import DecisionOutcome, Proposition
from proffer.model.trace import Stage
from proffer.testing.builders import (
    NOON,
    SECOND,
    Document,
    a_cap,
    a_collection,
    a_component,
    a_constraint,
    a_criterion,
    a_decision,
    a_fallback,
    a_library,
    a_placement,
    a_rule,
    a_scope,
    a_snapshot,
    an_offer,
    entities,
    id_of,
    some_inputs,
)
from proffer.testing.oracle import Oracle
from proffer.validation import parse_timestamp_us

FOLDER = Path(__file__).parents[2] / "spec" / "decisions"
KINDS = {
    "placement": EntityKind.PLACEMENT,
    "rule": EntityKind.RULE,
    "tag": EntityKind.TAG,
    "offer": EntityKind.OFFER,
    "collection": EntityKind.COLLECTION,
    "fallback": EntityKind.FALLBACK,
    "decision": EntityKind.DECISION,
}
DAY = 86_400 * SECOND
Given = dict[str, Any]


# Reading


@dataclass(frozen=True)
class Case:
    name: str
    library: list[Document]
    inputs: Inputs
    expect: list[Given]
    ineligible: int | None


def load_cases() -> Iterator[Case]:
    for file in sorted(FOLDER.glob("*.yaml")):
        content = YAML(typ="safe").load(file)
        for case in content["cases"]:
            given = ids_in(case)
            library = merged(ids_in(content.get("library", {})), given.get("library", {}))
            yield Case(
                name=f"{file.stem}: {case['name']}",
                library=a_library(*documents(library)),
                inputs=inputs(given),
                expect=given["expect"],
                ineligible=given.get("ineligible"),
            )


def ids_in(value: Any) -> Any:
    """The value with `<offer gold>` and the like replaced by the ids they stand for."""
    if isinstance(value, str):
        return re.sub(rf"<({'|'.join(KINDS)}) ([^>]+)>", lambda found: id_of(KINDS[found[1]], found[2]), value)
    if isinstance(value, Mapping):
        return {ids_in(key): ids_in(member) for key, member in value.items()}
    return [ids_in(member) for member in value] if isinstance(value, list) else value


def merged(library: Given, over: Given) -> Given:
    return {section: library.get(section, {}) | over.get(section, {}) for section in {*library, *over}}


def documents(library: Given) -> Iterator[Document]:
    for section, make in MAKERS.items():
        for name, given in library.get(section, {}).items():
            entry = dict(given) if isinstance(given, Mapping) else {"": given}
            members = entry.pop("members", {})
            entity_id = entry.pop("id", None)
            document = make(name, entry) | members
            if entity_id is not None:
                document["@id"] = entity_id
            yield {member: value for member, value in document.items() if value is not None}
    assert library.keys() <= MAKERS.keys()


def placement(name: str, given: Given) -> Document:
    return a_placement(name, str(given.get("", given.get("kind", "html"))))


def rule(name: str, given: Given) -> Document:
    return a_rule(name, str(given.get("", given.get("text", "true"))))


def offer(name: str, given: Given) -> Document:
    caps = [
        a_cap(**{PLAIN.get(key, f"xdm:{key}"): value for key, value in one.items()}) for one in given.pop("caps", ())
    ]
    for one in caps:
        if "xdm:placement" in one:
            one["xdm:placement"] = id_of(EntityKind.PLACEMENT, one["xdm:placement"])
    window = (
        moment_of(given.pop("from", None), NOON - DAY),
        moment_of(given.pop("until", None), NOON + DAY),
    )
    return an_offer(
        name,
        content=content(given),
        window=window,
        constraint=constraint(given),
        cap=given.pop("cap", None),
        profile_cap=given.pop("profileCap", None),
        caps=caps,
        **given,
    )


PLAIN = {"limit": "limit", "scope": "scope", "entity": "entity"}


def collection(name: str, given: Given) -> Document:
    return a_collection(
        name,
        given.get("offers"),
        any_tags=given.get("anyTags"),
        all_tags=given.get("allTags"),
    )


def fallback(name: str, given: Given) -> Document:
    return a_fallback(name, content(given), **given)


def decision(name: str, given: Given) -> Document:
    criteria = [
        a_criterion(one.pop("collection", None), constraint=constraint(one), **one)
        for one in map(dict, given.pop("criteria", ()))
    ]
    dates = {"xdm:startDate": given.pop("from", None), "xdm:endDate": given.pop("until", None)}
    return a_decision(name, *criteria, **given) | dates


MAKERS = {
    "placements": placement,
    "rules": rule,
    "offers": offer,
    "collections": collection,
    "fallbacks": fallback,
    "decisions": decision,
}


def content(given: Given) -> Any:
    placements, described = given.pop("placements", ["web"]), given.pop("content", None)
    if described is None:
        return placements
    return {
        placement: [a_component(one["kind"], str(one["text"]), *one.get("languages", ())) for one in components]
        for placement, components in described.items()
    }


def constraint(given: Given) -> Document:
    return a_constraint(
        rule=given.pop("rule", None),
        rules=given.pop("rules", None),
        any_audience=given.pop("anyAudience", None),
        all_audiences=given.pop("allAudiences", None),
    )


def moment_of(text: str | None, default: int) -> int:
    return default if text is None else parse_timestamp_us(text)


def inputs(given: Given) -> Inputs:
    request = given.get("request", {"scopes": ["decision/web"]})
    return some_inputs(
        *(scope(text) for text in request["scopes"]),
        profile=given.get("profile"),
        used=dict(counters(given.get("used", {}))),
        now_us=moment_of(given.get("now"), NOON),
        seed=given.get("seed", "seed"),
        across_decisions=request.get("acrossDecisions", False),
        across_placements=request.get("acrossPlacements", False),
        languages=tuple(request.get("languages", ())),
        context=given.get("context", {}),
    )


def scope(text: str) -> Any:
    names, _, count = text.partition(" ")
    decision, placement = names.split("/")
    return a_scope(decision, placement, int(count or 1))


def counters(used: Given) -> Iterator[tuple[tuple[str, str, str], int]]:
    for offer, counts in used.items():
        for counter, count in counts.items():
            name, _, placement = str(counter).partition(" ")
            place = id_of(EntityKind.PLACEMENT, placement) if placement else ""
            yield (id_of(EntityKind.OFFER, offer), name, place), count


# Comparing


def seen(outcome: DecisionOutcome, expect: list[Given]) -> list[Given]:
    """The outcome in the words of the case, as far as the case speaks of it."""
    assert outcome.trace is not None
    found: list[Given] = []
    for answer, trace, wanted in zip(outcome.scopes, outcome.trace, expect, strict=True):
        said: Given
        shown: list[str | None] = []
        if not isinstance(answer, Proposition):
            said = {"unknown": answer.reason}
        elif answer.fallback is not None:
            component = answer.fallback.component
            said = {"fallback": answer.fallback.offer.name}
            shown = [component.content if component else None]
        else:
            said = {"options": [option.offer.name for option in answer.options]}
            shown = [option.component.content for option in answer.options]
        if "content" in wanted:
            said["content"] = shown
        if "left" in wanted:
            said["left"] = {
                verdict.name: [verdict.stage, verdict.reason]
                for verdict in trace.candidates
                if verdict.stage is not Stage.RANKED
            }
        found.append(said)
    return found


CASES = list(load_cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_engine_decides_as_the_case_says(case: Case) -> None:
    """Options or fallback, content, stages and reasons, as far as the case speaks of them."""
    outcome = decide(a_snapshot(case.library), case.inputs, explain=True)

    assert said(case) == seen(outcome, case.expect)
    assert case.ineligible in {None, outcome.ineligible}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_naive_engine_decides_as_the_case_says(case: Case) -> None:
    """The definition of a decision agrees with the case too."""
    outcome = Oracle(entities(case.library)).decide(case.inputs, explain=True)

    assert said(case) == seen(outcome, case.expect)
    assert case.ineligible in {None, outcome.ineligible}


def said(case: Case) -> list[Given]:
    """What is expected; YAML reads some words as other than text."""
    return [
        one | ({"content": [str(text) for text in one["content"]]} if "content" in one else {}) for one in case.expect
    ]


def test_every_stage_has_a_case() -> None:
    """No stage at which an offer can leave is without an example."""
    stages = {stage for case in CASES for one in case.expect for stage, _ in one.get("left", {}).values()}

    assert {str(stage) for stage in Stage if stage is not Stage.RANKED} == stages


def test_names_of_cases_are_not_used_twice() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)


SOUND = [case for case in CASES if "nothing" not in case.name]


@pytest.mark.parametrize("case", SOUND, ids=lambda case: case.name)
def test_the_documents_of_a_case_may_be_written(case: Case) -> None:
    """The library could be stored: its documents are well-formed, and its ids are of their kinds."""
    for document in case.library:
        kind = kind_of(canonical(document["@id"]))
        assert kind is not None
        tolerated = {"required"}  # no rules at all, a window open on one side: these come by import
        assert {one.code for one in document_violations(kind, document)} <= tolerated, document_violations(
            kind, document
        )
