"""What answers are joined from is encoded once, and never shown in place of something else."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from proffer.api.kit import fragments
from proffer.api.ode.fragments import FieldSelection, OdeFragments, field_selection
from proffer.engine.decide import decide
from proffer.model.outcome import Proposition
from proffer.testing.builders import (
    a_collection,
    a_component,
    a_criterion,
    a_decision,
    a_fallback,
    a_placement,
    a_scope,
    a_snapshot,
    an_offer,
    some_inputs,
)
from proffer.wire.codec import decode, encode

NONE: frozenset[str] = frozenset()
ALL = field_selection(True, frozenset({"name"}), frozenset({"name", "channel"}), frozenset({"priority"}))


def answered(content: str = "hello", profile: dict[str, Any] | None = None) -> Proposition:
    snapshot = a_snapshot(
        [
            a_placement("web"),
            a_fallback(content=["web"]),
            a_collection("all", any_tags=["t"]),
            an_offer("gold", tags=["t"], content={"web": [a_component("html", content)]}),
            a_decision("home", a_criterion("all", placements=["web"])),
        ]
    )
    outcome = decide(snapshot, some_inputs(a_scope("home", "web"), profile=profile or {}))
    (proposition,) = outcome.scopes
    assert isinstance(proposition, Proposition)
    return proposition


def said(kept: OdeFragments, one: Proposition, wanted: FieldSelection = ALL) -> Any:
    return decode(encode(kept.encode_proposition(one, wanted)))


def test_the_same_twice_is_the_same_bytes() -> None:
    kept, one = OdeFragments(), answered()
    assert bytes(kept.encode_proposition(one, ALL)) == bytes(kept.encode_proposition(one, ALL))


def test_each_wish_has_its_own_pieces() -> None:
    """What one request asks to be told is not told to another."""
    kept, one = OdeFragments(), answered()
    (option,) = said(kept, one)["xdm:options"]
    assert option["xdm:content"] == "hello"
    (bare,) = said(kept, one, field_selection(False, NONE, NONE, NONE))["xdm:options"]
    assert bare.keys() == {"xdm:id", "repo:etag"}


def test_a_new_version_is_shown_at_once() -> None:
    kept, one = OdeFragments(), answered()
    said(kept, one)
    (choice,) = one.options
    newer = replace(choice.offer, etag=2, priority=77)
    changed = structs.replace(one, options=(structs.replace(choice, offer=newer),))
    (option,) = said(kept, changed)["xdm:options"]
    assert (option["repo:etag"], option["xdm:priority"]) == ("2", 77)


def test_content_made_for_one_customer_is_kept_for_none() -> None:
    kept = OdeFragments()
    template = "Hello {{profile.person.name}}"
    for name in ("Ada", "Grace"):
        one = answered(template, {"person": {"name": name}})
        (option,) = said(kept, one)["xdm:options"]
        assert option["xdm:content"] == f"Hello {name}"
        assert len(kept._cache) == 1  # the decision and placement; those of the snapshot before are released


def test_the_fragments_of_an_offer_are_released_with_it() -> None:
    kept, one = OdeFragments(), answered()
    said(kept, one)
    assert len(kept._cache) == 2  # the option, and its decision with the placement
    del one
    assert len(kept._cache) == 0


def test_scores_are_those_of_the_answer() -> None:
    kept, one = OdeFragments(), answered()
    for score in (1.5, 2.0):
        scored = structs.replace(one, options=(structs.replace(one.options[0], score=score),) * 2)
        options = said(kept, scored)["xdm:options"]
        assert [option["xdm:score"] for option in options] == [score, score]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments, "MAX_CACHE_BYTES", 2_000)
    kept = OdeFragments()
    for number in range(50):
        one = answered(f"{number} {'x' * 300}")
        (option,) = said(kept, one)["xdm:options"]
        assert option["xdm:content"].startswith(f"{number} ")
        assert kept._cache.size <= 2_000
