"""Content in the engine: what has no marks is left alone, what has them is made for the winners only."""

import gc
from typing import Any
from weakref import ref

import pytest

from proffer.engine.content import TemplatedComponent, compile_component
from proffer.engine.decide import decide
from proffer.model.content import Component
from proffer.model.outcome import Proposition
from proffer.pql.check.schema import XDM
from proffer.testing.builders import (
    a_component,
    a_library,
    a_placement,
    a_scope,
    a_snapshot,
    an_offer,
    some_inputs,
)


def a_part(text: str | None = None, **more: Any) -> Component:
    return Component(type="html", format="text/html", content=text, **more)


def test_a_component_without_marks_is_itself() -> None:
    """Nothing is made of it, so nothing is to be paid for when it is decided."""
    plain = a_part("<p>{ a } %} }}</p>", link_url="https://example.org/{x}")

    assert compile_component(plain, XDM) is plain


def test_marks_in_any_member_make_a_template() -> None:
    """In the content and in both addresses; what cannot be read says where."""
    assert isinstance(compile_component(a_part("{{a}}"), XDM), TemplatedComponent)
    assert isinstance(compile_component(a_part("x", link_url="https://example.org/{{a}}"), XDM), TemplatedComponent)
    assert isinstance(
        compile_component(a_part(None, delivery_url="https://example.org/{{a}}"), XDM),
        TemplatedComponent,
    )
    broken = compile_component(a_part("a\n {%#if b%}"), XDM)
    assert isinstance(broken, TemplatedComponent)
    assert broken.error == "`if` is not closed (line 2, column 2)"


def test_one_text_is_compiled_once() -> None:
    """However many offers, placements and builds have it."""
    first, second = (compile_component(a_part("one text {{a}}"), XDM) for _ in range(2))

    assert isinstance(first, TemplatedComponent)
    assert isinstance(second, TemplatedComponent)
    assert first.templates["content"] is second.templates["content"]


def test_a_text_that_nothing_uses_is_forgotten() -> None:
    """A library whose content changes often keeps the templates of today."""
    component: Any = compile_component(a_part("a text of yesterday {{a}}"), XDM)
    template = ref(component.templates["content"])
    del component
    gc.collect()

    assert template() is None


@pytest.mark.parametrize("text", ["{%#if a%}", "{{ nonsense( }}"])
def test_a_template_that_came_in_broken_is_a_fault(text: str) -> None:
    """An imported one counts as a fault: the fallback answers, and the snapshot reports it (R33)."""
    documents = a_library(an_offer("broken", content={"web": [a_component("html", text)]}), a_placement("web"))
    snapshot = a_snapshot(documents)
    outcome = decide(snapshot, some_inputs(a_scope()), explain=True)

    (answer,) = outcome.scopes
    assert isinstance(answer, Proposition)
    assert answer.options == ()
    assert answer.fallback is not None
    assert sum(outcome.content_errors.values()) == 1
    assert "content of offer `broken`" in str(snapshot.diagnostics)
