"""What a template gives for a customer, and what is said of one that cannot be (spec 7.5)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.pql import Environment
from proffer.templating.compile import (
    Format,
    Template,
    TemplateErrors,
    TemplateRenderError,
    compile_template,
    has_template_tags,
)

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
PROFILE: dict[str, Any] = {
    "person": {"name": {"firstName": "Ada <3", "lastName": None}, "age": 36},
    "orders": [{"total": 9}, {"total": 1.5}],
    "loyalty": {"tier": "gold"},
    "quote": 'say "x"\n',
    "none": [],
    "at": "2026-07-04T20:00:00Z",
    "closes": "2026-11-30T23:30:00-05:00",
}


def environment(profile: dict[str, Any] | None = None) -> Environment:
    return Environment(
        PROFILE if profile is None else profile,
        NOW,
        context={"weather": {"celsius": 30}},
        offer={"name": "Fibre", "characteristics": {"city": "Ulm"}},
        variables={"context": {"channel": "web"}},
    )


def made(text: str, format_: Format = Format.TEXT) -> str:
    template = compile_template(text, format_)
    assert isinstance(template, Template), template
    return template.render(environment())


def refused(text: str) -> list[tuple[int, int, str]]:
    template = compile_template(text, Format.TEXT)
    assert isinstance(template, TemplateErrors)
    return [(one.line, one.column, one.message) for one in template.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi {{profile.person.name.firstName}}!", "Hi Ada <3!"),
        ("{{person.age}} {%= person.age + 1 %}", "36 37"),
        ("{%= upperCase(loyalty.tier) %}", "GOLD"),
        ("{{offer.name}} in {{offer.characteristics.city}}", "Fibre in Ulm"),
        ("{{context.channel}} {{@{weather}.celsius}}", "web 30"),
        ('{{formatDate(toTimeZone(profile.at, "Asia/Tokyo"), "dd MMM HH:mm")}}', "05 Jul 05:00"),
        ('{{formatTime(toTimeZone(at, "Asia/Tokyo"), "HH:mm")}}', "05:00"),
        ('{{toTime(toTimeZone(at, "Asia/Tokyo"))}}', "05:00:00+09:00"),
        ('{%let there = toTimeZone(at, "Asia/Tokyo")%}{{dayOfWeek(there)}} {{there}}', "7 2026-07-05T05:00:00+09:00"),
        ('{{formatDate(closes, "dd MMM HH:mm")}} {{closes}}', "30 Nov 23:30 2026-11-30T23:30:00-05:00"),
        ("[{{person.name.lastName}}]", "[]"),
        ('{{person.name.lastName ?: nobody.there ?: "you"}}', "you"),
        ('{{person.name.firstName ?: "you"}}', "Ada <3"),
        ('{{"a ?: }} b"}}', "a ?: }} b"),
        ('{%#if loyalty.tier = "gold"%}a{%else%}b{%/if%}', "a"),
        ('{%#if loyalty.tier = "x"%}a{%else%}b{%/if%}', "b"),
        ("{%#if person.age > 40%}a{%else if person.age > 30%}b{%else%}c{%/if%}", "b"),
        ("{%#if person.age > 40%}a{%/if%}", ""),
        ("{%#unless person.age > 40%}a{%else%}b{%/unless%}", "a"),
        ("{{#each orders as |one|}}{{one.total}};{{/each}}", "9;1.5;"),
        ("{%#each orders%}{{this.total}};{%/each%}", "9;1.5;"),
        ("{{#each none as |x|}}{{x}}{{else}}nothing{{/each}}", "nothing"),
        ("{{#each absent as |x|}}{{x}}{{else}}nothing{{/each}}", "nothing"),
        ("{{#with person.name as |n|}}{{n.firstName}}{{/with}}", "Ada <3"),
        ("{{#with absent as |n|}}{{n}}{{else}}nobody{{/with}}", "nobody"),
        ("{%let double = person.age * 2%}{{double}}", "72"),
        ("{%#if true%}{%let x = 1%}{{x}}{%/if%}", "1"),
        ("{%let x = 1%}{%#each orders as |o|%}{%let x = o.total%}{{x}},{%/each%}{{x}}", "9,1.5,1"),
        ("a{{! it's a comment }}b", "ab"),
        ("{{true}} {{1.5}} {{orders}}", 'true 1.5 [{"total": 9}, {"total": 1.5}]'),
        ("{ } }} %}", "{ } }} %}"),
        ("{{{person.name.firstName}}}", "Ada <3"),
    ],
)  # fmt: skip
def test_what_is_shown(text: str, expected: str) -> None:
    """Each form of the language, with a customer, an offer and a context."""
    assert expected == made(text)


@pytest.mark.parametrize(
    ("format_", "text", "expected"),
    [
        (Format.HTML, "<b>{{person.name.firstName}}</b>", "<b>Ada &lt;3</b>"),
        (Format.HTML, "<b>{{{person.name.firstName}}}</b>", "<b>Ada <3</b>"),
        (Format.HTML, '<a title="{{quote}}">', '<a title="say &quot;x&quot;\n">'),
        (Format.JSON, '{"q": "{{quote}}", "n": {{person.age}}}', '{"q": "say \\"x\\"\\n", "n": 36}'),
        (Format.JSON, '{"list": {{{orders}}}}', '{"list": [{"total": 9}, {"total": 1.5}]}'),
        (Format.URL, "https://example.org/?q={{quote}}", "https://example.org/?q=say%20%22x%22%0A"),
        (Format.TEXT, "{{quote}}", 'say "x"\n'),
    ],
)  # fmt: skip
def test_values_are_escaped_for_the_format(format_: Format, text: str, expected: str) -> None:
    """In HTML, in the strings of JSON and in addresses; not where the author asks for raw."""
    assert expected == made(text, format_)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a\n{%#if a%}\n b", (2, 1)),
        ("{{#each a as |x|}}{%#if a%}{{/each}}", (1, 1)),
        ("ab {{", (1, 4)),
        ("{{ 'unclosed }}", (1, 1)),
        ("x\ny {{ a b }}", (2, 8)),
        ("{{}}", (1, 3)),
        ("{{ }}", (1, 4)),
        ("{%foo%}", (1, 1)),
        ("{%#loop a%}{%/loop%}", (1, 1)),
        ("{%/if%}", (1, 1)),
        ("{{/}}", (1, 1)),
        ("{%#if a%}{%/ %}", (1, 10)),
        ("{%else%}", (1, 1)),
        ("{%#if a%}{%else%}{%else%}{%/if%}", (1, 18)),
        ("{%#each a%}{%else if b%}{%/each%}", (1, 12)),
        ("{%let offer = 1%}", (1, 1)),
        ("{{ nonsense(1) }}", (1, 4)),
        ("{{ a ?: }}", (1, 8)),
        ("{%#if a%}" * 10_000, (1, 271)),
        ("{{a}}" * 10_000, None),
        ("x" * 400_000 + "{{a}}", (1, 1)),
    ],
)  # fmt: skip
def test_mistakes_have_a_place(text: str, place: tuple[int, int] | None) -> None:
    """Line and column, both from 1, of the mark or of the word in the expression."""
    found = refused(text)

    assert place is None or place in [(line, column) for line, column, _ in found]
    assert all(message for _, _, message in found)


TAG_BODIES = (
    "",
    " ",
    "/",
    "#",
    "else",
    "else if a",
    "let",
    "let x = a",
    "#if a",
    "/if",
    "#each a as |x|",
    "/each",
    "a",
    "=a",
    "!",
    "/ if",
    "{",
)


@given(st.lists(st.tuples(st.sampled_from(["{{%s}}", "{%%%s%%}", "{{{%s}}}", "{%s"]), st.sampled_from(TAG_BODIES))))
def test_any_sequence_of_tags_is_a_template_or_has_mistakes(tags: list[tuple[str, str]]) -> None:
    """Whatever the tags contain and in whichever order they stand."""
    template = compile_template("".join(form % body for form, body in tags), Format.TEXT)
    assert isinstance(template, Template) or all(problem.message for problem in template.problems)


def test_all_mistakes_are_told_at_once() -> None:
    """In reading order."""
    assert [place[:2] for place in refused("{{ a b }}\n{{ c d }}\n{%#if e%}")] == [
        (1, 6),
        (2, 6),
        (3, 1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{{profile.__class__.__mro__}}",
        "{{__import__}}",
        "{{settings.database}}",
        "{{environment}}",
        "{{offer.__dict__}}",
        "{{context.store}}",
    ],
)
def test_there_is_nothing_else_to_reach(text: str) -> None:
    """Beyond the customer, the offer and the context every name is a field that nobody has."""
    assert made(text) == ""


@pytest.mark.parametrize(
    ("text", "format_", "why"),
    [
        ("{{#each orders}}" * 20 + "x" + "{{/each}}" * 20, Format.TEXT, "work"),
        ("{{#each orders}}" * 16 + "xxxxxxxx" + "{{/each}}" * 16, Format.TEXT, "longer"),
        ('{"a": {{absent}}}', Format.JSON, "not valid JSON"),
        ('{"a": "{{{quote}}}"}', Format.JSON, "not valid JSON"),
    ],
)
def test_a_fault_says_why(text: str, format_: Format, why: str) -> None:
    """Work and length are bounded, and what should be JSON is JSON or nothing."""
    template = compile_template(text, format_)
    assert isinstance(template, Template)

    with pytest.raises(TemplateRenderError, match=why):
        template.render(environment())


def test_a_customer_cannot_break_json() -> None:
    """Whatever a text field holds, the document around it stays what its author wrote."""
    template = compile_template('{"a": "{{x}}"}', Format.JSON)
    assert isinstance(template, Template)

    for hostile in ('"}', "\\", "</script>", "\0", "\ud800x", "a\u2028b"):
        text = template.render(environment({"x": hostile}))
        assert text.startswith('{"a": "')
        assert text.endswith('"}')


@given(st.text("{}%#/= \n'\"`!ifeachlse|a.1?:", max_size=60))
def test_no_text_harms(text: str) -> None:
    """Any text at all is a template, or is refused with a place inside it; rendering gives text or a fault."""
    template = compile_template(text, Format.HTML)
    if isinstance(template, TemplateErrors):
        lines = text.split("\n")
        for one in template.problems:
            assert 1 <= one.line <= len(lines)
            assert 1 <= one.column <= len(lines[one.line - 1]) + 1
    else:
        try:
            shown = template.render(environment())
        except TemplateRenderError:
            return
        assert has_template_tags(text) or shown == text
