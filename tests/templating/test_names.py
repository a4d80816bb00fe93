"""Every name of `spec/content/names.yaml` works, or is refused with the reason; and every one is on a page."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from proffer.pql import Environment
from proffer.pql.functions.stdlib import STDLIB
from proffer.templating.compile import Format, Template, TemplateErrors, compile_template
from proffer.templating.unsupported import UNSUPPORTED_HELPERS

ROOT = Path(__file__).parents[2]
NAMES: dict[str, Any] = YAML(typ="safe").load(ROOT / "spec" / "content" / "names.yaml")
PAGE = (ROOT / "docs" / "reference" / "content.md").read_text(encoding="utf-8")
FUNCTIONS = [name for names in NAMES["functions"].values() for name in names]
REFUSED = [(name, text) for name, texts in NAMES["refused"].items() for text in texts]


def names() -> Iterator[str]:
    yield from FUNCTIONS
    yield from (one["name"] for one in NAMES["spelled"])
    yield from NAMES["refused"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_declared(name: str) -> None:
    """With examples, which are tested where it is declared."""
    assert name in STDLIB


@pytest.mark.parametrize("one", NAMES["spelled"], ids=lambda one: one["template"])
def test_what_is_spelled_otherwise_works(one: dict[str, str]) -> None:
    """Operators, blocks and the default."""
    template = compile_template(one["template"], Format.TEXT)
    assert isinstance(template, Template), template
    given = NAMES["given"]

    shown = template.render(Environment(given["profile"], datetime.fromisoformat(given["now"])))

    assert one["shows"] == shown


@pytest.mark.parametrize(("name", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_is_not_supported_is_refused(name: str, text: str) -> None:
    """By name, with the reason and what to do instead, and with nothing else."""
    template = compile_template(text, Format.HTML)
    assert isinstance(template, TemplateErrors)

    assert {(one.message, one.help) for one in template.problems} == {
        (
            f"`{name}` is not supported: {UNSUPPORTED_HELPERS[name].reason}",
            UNSUPPORTED_HELPERS[name].alternative,
        )
    }


def test_nothing_else_is_refused_by_name() -> None:
    """What the code refuses by name is what the list says, and no function has such a name."""
    assert UNSUPPORTED_HELPERS.keys() == NAMES["refused"].keys()
    assert UNSUPPORTED_HELPERS.keys() & STDLIB.keys() == set()


@pytest.mark.parametrize("name", sorted(set(names())))
def test_a_name_is_on_the_page(name: str) -> None:
    """The page of personalized content names everything, supported or not."""
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", UNSUPPORTED_HELPERS)
def test_what_is_not_supported_has_its_row(name: str) -> None:
    """With the words that the refusal has."""
    found = UNSUPPORTED_HELPERS[name]

    assert f"| `{name}` | {found.reason} | {found.alternative} |" in PAGE


@pytest.mark.parametrize(
    "text",
    [
        "{{url}}",
        "{{fragment.id}}",
        '{%#if url = "x"%}a{%/if%}',
        '{%#if url in ["x"] or inline and fragment like "a%"%}a{%/if%}',
        "{%#if url occurs < 3 days before now%}a{%/if%}",
        '{{url ?: "none"}}',
        "{{#each orders as |url|}}{{url}}{{/each}}",
        "{%#with url as |inline|%}{{inline}}{%/with%}",
        "{%let qrCode = 1%}{{qrCode}}",
    ],
)
def test_a_field_may_have_the_name_of_a_helper(text: str) -> None:
    """Only what is written as a helper is refused."""
    assert isinstance(compile_template(text, Format.TEXT), Template)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a\n  {{ url profile.link }}", (2, 6)),
        ("a\n  {{ 1 + qrCode(name) }}", (2, 10)),
        ("a\n  {%#inline%}{%/inline%}", (2, 3)),
        ("a\n  {% fragment id='1' %}", (2, 3)),
        ('{{ a ?: url "x" }}', (1, 9)),
    ],
)
def test_a_refusal_has_a_place(text: str, place: tuple[int, int]) -> None:
    """Line and column of the mark, or of the helper in the expression."""
    template = compile_template(text, Format.TEXT)
    assert isinstance(template, TemplateErrors)

    assert place == (template.problems[0].line, template.problems[0].column)
