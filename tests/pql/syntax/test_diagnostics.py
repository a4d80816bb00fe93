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
    ("text", "mended"),
    [
        ("person.age == 18", "person.age = 18"),
        ("person.age === 18", "person.age = 18"),
        ("person.age !== 18", "person.age != 18"),
        ("person.age <> 18", "person.age != 18"),
        ("person.age ≥ 18", "person.age >= 18"),
        ("testProfile && person.age > 1", "testProfile and person.age > 1"),
        ("testProfile || person.age > 1", "testProfile or person.age > 1"),
        ("person.age > 1;", "person.age > 1"),
        ("person.age => 18", "person.age >= 18"),
        ("age => 18", "age >= 18"),
        ("testProfile and age => 18", "testProfile and age >= 18"),
        ("(age => 18) and testProfile", "(age >= 18) and testProfile"),
        ("orders[price => 18].count() > 0", "orders[price >= 18].count() > 0"),
        ('city in ("Ulm", "Graz")', 'city in ["Ulm", "Graz"]'),
        ('city not in ["Ulm"]', 'city notIn ["Ulm"]'),
        ('homeAddress.city in "Ulm"', 'homeAddress.city in ["Ulm"]'),
        ("person.age between 18 and 65", "person.age >= 18 and person.age <= 65"),
        ("not person.age between 18 and 65", "not (person.age >= 18 and person.age <= 65)"),
        ("person.age not between 18 and 65 and testProfile", "(person.age < 18 or person.age > 65) and testProfile"),
        ("(a + b) * 2 BETWEEN 1 AND 2 or c", "(a + b) * 2 >= 1 and (a + b) * 2 <= 2 or c"),
        ("homeAddress.city is null", "homeAddress.city.isNull()"),
        ("homeAddress.city IS NOT NULL", "homeAddress.city.isNotNull()"),
        ("a + b is null", "(a + b).isNull()"),
        ("homeAddress.city is empty", "isEmpty(homeAddress.city)"),
        ("testProfile is true", "testProfile = true"),
        ('city is not "Ulm"', 'city != "Ulm"'),
        ("homeAddress.city = null", "homeAddress.city.isNull()"),
        ("homeAddress.city != null", "homeAddress.city.isNotNull()"),
        ('city not like "U%"', 'not (city like "U%")'),
        ('city contains "Ulm"', 'city.contains("Ulm")'),
        ('city starts with "U" and testProfile', 'city.startsWith("U") and testProfile'),
        ("if testProfile then 1 else 2", "if(testProfile, 1, 2)"),
        ("if (a = 1) and not b then c = 2 else d = 3", "if((a = 1) and not b, c = 2, d = 3)"),
        ("homeAddress.city = New York", 'homeAddress.city = "New York"'),
        ("homeAddress.city = Berlin", 'homeAddress.city = "Berlin"'),
        ("person.gender in [male]", 'person.gender in ["male"]'),
        ('person.gender = "Female"', 'person.gender = "female"'),
        ('person.gender = "femal"', 'person.gender = "female"'),
        ("person.birthDate > 2024-01-31", "person.birthDate > date(2024, 1, 31)"),
        ("person.birthDate > 31.1.2024", "person.birthDate > date(2024, 1, 31)"),
        ("userAccount.endDate > 2024-01-31T10:00:00Z", 'userAccount.endDate > "2024-01-31T10:00:00Z"'),
        ("userAccount.endDate > 2024-01-31 10:00", 'userAccount.endDate > "2024-01-31T10:00"'),
        ('preferredLanguage.lower() = "x"', 'preferredLanguage.lowerCase() = "x"'),
        ("exists(testProfile)", "isNotNull(testProfile)"),
        ("tags.cuont() > 1", "tags.count() > 1"),
        ('person.nmae.lastName = "x"', 'person.name.lastName = "x"'),
        ('person.`nmae`.lastName = "x"', 'person.`name`.lastName = "x"'),
        ('birthYear = "1980"', 'person.birthYear = "1980"'),
        ("profile.latitude > 3", "profile.homeAddress._schema.latitude > 3"),
        ("homeAddress.city like Ulm", 'homeAddress.city like "Ulm"'),
        ("testProfile and preferredLanguage", "testProfile and preferredLanguage.isNotNull()"),
    ],
)
def test_a_form_of_another_language_has_a_fix(text: str, mended: str) -> None:
    """The change gives what was meant, as text that checks without an error."""
    [fix] = [finding.fix for finding in check_text(text, saving=True) if finding.fix is not None]
    (start, end), replacement = fix

    assert text[:start] + replacement + text[end:] == mended
    assert codes(mended) == []


def test_quotation_marks_of_a_word_processor_are_replaced() -> None:
    """Each by a plain one."""
    text = "homeAddress.city = “Ulm”"
    for finding in reversed(check_text(text)):
        if finding.fix is not None:
            (start, end), replacement = finding.fix
            text = text[:start] + replacement + text[end:]

    assert text == 'homeAddress.city = "Ulm"'


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("a.b.isNul() and c", "isNul"),
        ("lenght(a) > 2", "lenght"),
        ("a.startsWith() and b", "startsWith"),
        ('person.name.lastNaem = "x"', "lastNaem"),
        ('person.nmae.lastName = "x"', "nmae"),
        ("(person).nmae = 1", "nmae"),
        ("person.age between 1 and 2", "between"),
        ("person.age is not null", "is"),
        ("if a then b else c", "if"),
    ],
)
def test_carets_stand_under_the_name_alone(text: str, marked: str) -> None:
    """Not under the whole call or path."""
    [finding] = check_text(text)

    assert text[finding.span.start : finding.span.end] == marked


@pytest.mark.parametrize(
    "text",
    [
        "is = 1 and between > 2 and contains.isNull()",
        "if = 1 or if.x = 2",
        "orders.map(x => 1).count() > 1",
        "orders[item => item.price > 3].count() > 0",
        "tags in (tags)",
        "sum o.price over o from orders where o.name = other",
        'let x = name in x = "y"',
        "if(then = 1, else, 3) = 2",
        "a - 2024 - 1 - 1 = 0",
    ],
)
def test_fields_may_have_names_that_are_words_elsewhere(text: str) -> None:
    """Only a form that could not be read is refused."""
    assert codes(text) == []


@pytest.mark.parametrize("text", ["a between", "a between 1", "a is", "a is not", "a not", "if a then", "if a then b"])
def test_an_incomplete_form_of_another_language_is_an_error(text: str) -> None:
    """With a message, and no change."""
    [finding] = [each for each in check_text(text) if each.is_error]

    assert (finding.code, finding.fix) == ("pql.syntax", None)


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
