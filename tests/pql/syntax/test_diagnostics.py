"""The words and places of findings: tested as the code is tested."""

import pytest

from proffer.pql import CompileErrors, check_text, compile_rule, render_diagnostic


def codes(text: str) -> list[str]:
    return [found.code for found in check_text(text) if found.is_error]


def test_a_diagnostic_shows_the_text_and_points_at_it() -> None:
    """Headline, place, line, carets and a way out."""
    [found] = check_text("person.age == 4")

    assert render_diagnostic(found, "person.age == 4", "vip") == (
        "error[pql.syntax] `==` is not an operator\n  --> vip:1:12\n  person.age == 4\n             ^^ help: use `=`"
    )


def test_carets_stand_under_the_right_line() -> None:
    """Lines and columns count from 1, and a tab is four wide."""
    text = "a = 1 and\n\tb == 2"
    [found] = check_text(text)

    assert "rule:2:4\n      b == 2\n        ^^" in render_diagnostic(found, text).replace("  --> ", "")


def test_all_wrong_characters_are_reported_together() -> None:
    """Not only the first."""
    assert codes("a == 1 && b = 2") == ["pql.syntax", "pql.syntax"]


def test_both_unknown_functions_are_reported_together() -> None:
    """One pass finds every mistake that does not hide another."""
    assert codes("a.lenght() and b.isNul()") == ["pql.unknown-function", "pql.unknown-function"]


def test_a_misspelt_function_is_guessed() -> None:
    """The closest known name is offered."""
    [found] = check_text("a.isNul()")

    assert found.help == "did you mean `isNull`?"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 15000,
        "[" * 15000,
        "not " * 3000,
        "-" * 15000,
        "a" + "+a" * 7000,
        "a" + ".b" * 7000,
        "a[" * 7000,
        "let a = " * 1500,
        "exists a from " * 1000,
        "{" * 15000,
        "x => " * 3000,
        "if(" * 5000,
        "^" * 15000,
    ],
)
def test_no_depth_of_nesting_is_too_much_to_say_so(text: str) -> None:
    """A diagnostic, and never a RecursionError."""
    result = compile_rule(text)

    assert isinstance(result, CompileErrors)
    assert any(found.is_error for found in result.diagnostics)


def test_a_rule_of_more_than_fifteen_kilobytes_is_refused() -> None:
    """The limit counts UTF-8 bytes, not characters."""
    assert codes('a = "' + "é" * 8_000 + '"') == ["pql.limit"]


def test_a_rule_of_more_than_thirty_closing_brackets_is_refused() -> None:
    """As the original product counts nesting."""
    text = " and ".join(["(a = 1)"] * 31)

    assert codes(text) == ["pql.limit"]


def test_a_rule_reads_at_most_25_profile_attributes() -> None:
    """Paths are counted once each."""
    fits = " or ".join(f"p.a{n} = 1 or p.a{n} = 2" for n in range(25))

    assert [codes(fits), codes(f"{fits} or p.b = 1")] == [[], ["pql.limit"]]


def test_an_undeclared_offer_is_an_unknown_root() -> None:
    """Rules are about profiles unless their owner says more."""
    assert codes("offer.x = 1") == ["pql.unknown-root"]


def test_surrogates_are_not_text() -> None:
    """Half a character is refused before anything reads it."""
    assert codes('a = "\ud800"') == ["pql.text"]
