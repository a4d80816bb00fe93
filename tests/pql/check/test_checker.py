"""What is said of a rule before it runs: types, fields, constants, look-back, limits."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from proffer.pql import CompiledRule, Diagnostic, Observation, check_text, compile_rule, render_diagnostic
from proffer.pql.check.schema import XDM, Schema, schema_with
from proffer.pql.check.types import Type
from proffer.pql.syntax.diagnostics import MAX_DIAGNOSTICS, Severity, sort_diagnostics

STRICT = Schema.of({"profile": {"person": {"age": "integer", "tier": "text: gold|silver"}, "tags": ["text"]}})


def found(text: str, **terms: object) -> list[tuple[str, str]]:
    """Severity and code of each finding."""
    return [(str(each.severity), each.code) for each in check_text(text, **terms)]  # type: ignore[arg-type]


def test_a_type_error_shows_the_way_out() -> None:
    """The message of the style guide, word for word."""
    [finding] = check_text('person.age.startsWith("4")', schema=STRICT)

    assert render_diagnostic(finding, 'person.age.startsWith("4")') == (
        "error[pql.type] startsWith needs text, got number\n"
        "  --> rule:1:1\n"
        '  person.age.startsWith("4")\n'
        "  ^^^^^^^^^^ help: compare numbers with >= and <"
    )


def test_built_in_tables_only_warn() -> None:
    """They are a part of XDM: what they lack is doubtful, not wrong."""
    assert found("person.birthYer = 1985") == [("warning", "pql.unknown-field")]


def test_a_given_schema_is_certain() -> None:
    """Unknown fields are errors, and the closest name is offered."""
    [finding] = check_text("person.agee > 3", schema=STRICT)

    assert (finding.severity, finding.help) == (Severity.ERROR, "did you mean `age`?")


def test_a_tenant_namespace_is_open() -> None:
    """Nothing is said of fields that belong to a tenant."""
    assert found("_acme.anything.at.all = 1") == []


def test_an_object_with_other_fields_is_open_and_types_those_it_names() -> None:
    """The type of the other fields is the one of `*`; audiences and identities are always declared."""
    schema = schema_with(
        {"profile": {"person": {"age": "integer", "*": "any"}, "scores": {"a": "text", "*": "number"}}}
    )

    assert found('person.city = "Ulm"', schema=schema) == []
    assert found('person.age = "x" or scores.b = "x"', schema=schema) == [("warning", "pql.never-true")] * 2
    assert found('segmentMembership.get("ups").get("x").status = "exited"', schema=schema) == []
    assert found("homeAddress.city = 1", schema=schema) == [("error", "pql.unknown-field")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('person.gender = "Female"', "pql.case"),
        ('person.gender in ["man", "female"]', "pql.enum"),
        ('lowerCase(preferredLanguage) = "EN"', "pql.case"),
        ('person.birthYear = "abc"', "pql.never-true"),
        ("person.birthYear > 5 and person.birthYear < 3", "pql.never-true"),
        ('timeZone = "a" and timeZone = "b"', "pql.never-true"),
        ("preferredLanguage.isNull() or 2 > 1", "pql.always-true"),
        ("if(1 = 2, testProfile, person.birthYear > 3)", "pql.unreachable"),
        ('tags = "x"', "pql.never-true"),
        ("1 = 1", "pql.always-true"),
        ('person.birthDate = "yesterday"', "pql.never-true"),
        ('segmentMembership.get("ups").get("x").status = "realised"', "pql.enum"),
        ('_app.build >= "10.2.0"', "pql.version-order"),
        ('"v9.1" > _app.build', "pql.version-order"),
        ('_app.build < "2.0.0-rc.1"', "pql.version-order"),
        ('_app.version <= "10.2"', "pql.version-order"),
    ],
)
def test_a_doubtful_rule_is_warned_of(text: str, code: str) -> None:
    """A warning, and the rule compiles all the same."""
    assert found(text) == [("warning", code)]
    assert isinstance(compile_rule(text), CompiledRule)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('5.startsWith("a")', "pql.type"),
        ("testProfile.isNull() and true + 1 = 2", "pql.type"),
        ('preferredLanguage.matches("(?!x)")', "pql.regex"),
        ('preferredLanguage.matches("a{999999}")', "pql.regex"),
        ("person.birthDate = date(2023, 2, 30)", "pql.date"),
        ("tags in 5", "pql.type"),
        ("tags.map(mapEntry(1, 2), 3)", "pql.arity"),
        ("preferredLanguage.startWith(1)", "pql.unknown-function"),
    ],
)
def test_a_certain_mistake_is_an_error(text: str, code: str) -> None:
    """From literals, functions and syntax alone."""
    assert found(text) == [("error", code)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("3", "pql.condition"),
        ('"x"', "pql.condition"),
        ("null", "pql.never-true"),
        ("1 = 1", "pql.always-true"),
        ("not (1 = 1)", "pql.never-true"),
        ("true and 3", "pql.always-true"),
        ("today", "pql.condition"),
        ("loyalty.points + 1", "pql.condition"),
        ("upperCase(preferredLanguage)", "pql.condition"),
        ("if(testProfile, 1, 2)", "pql.condition"),
        ("let total = loyalty.points in total * 2", "pql.condition"),
        ("sum o.price over o from orders", "pql.condition"),
        ('person.birthYear = "x"', "pql.never-true"),
        ('"x" != person.birthYear', "pql.never-true"),
        ('person.birthYear = "+5"', "pql.never-true"),
        ('testProfile = "yes"', "pql.never-true"),
        ("person.birthDate = 5", "pql.never-true"),
        ('person.birthDate > "soon"', "pql.never-true"),
        ("person.birthDate > 2024-01-31", "pql.date"),
    ],
)
def test_a_rule_that_is_surely_wrong_may_be_evaluated_but_not_saved(text: str, code: str) -> None:
    """A constant, a value that is no condition, and a comparison that can never be made."""
    assert [each for severity, each in found(text, saving=True) if severity == "error"] == [code]
    assert isinstance(compile_rule(text), CompiledRule)


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "false",
        "not false",
        "tags",
        "identityMap",
        "_acme.member",
        "_acme.member and true",
        'testProfile = "TRUE"',
        'person.birthYear = "1980"',
        'person.birthYear in ["x", "1980"]',
        'orders.map(name).head() = "x"',
        'identityMap.get("Email").head().id.isNull()',
    ],
)
def test_what_can_hold_for_somebody_is_saved(text: str) -> None:
    """Lists, maps and fields of unknown type keep their meaning as conditions."""
    assert not [code for severity, code in found(text, saving=True) if severity == "error"]


@pytest.mark.parametrize("text", ["preferredLanguage", "loyalty.points", "person.birthDate"])
@pytest.mark.parametrize("rule", ["{}", "{} and true", "not {}", "if({}, tags, organizations)", "true or tags[{}]"])
def test_a_text_number_or_date_as_a_condition_is_warned_of(rule: str, text: str) -> None:
    """It is true unless it is missing; the fix says so."""
    if "[" in rule:
        rule, text = "orders[priceTotal]", "priceTotal"
        schema = Schema.of({"profile": {"orders": [{"priceTotal": "number"}]}})
        [finding] = check_text(rule, schema=schema, saving=True)
    else:
        rule = rule.format(text)
        [finding] = check_text(rule, saving=True)

    assert (finding.severity, finding.code) == (Severity.WARNING, "pql.condition")
    assert fixed(rule, finding) == rule.replace(text, f"{text}.isNotNull()")


def fixed(text: str, finding: Diagnostic) -> str:
    """The text after the change that the finding proposes."""
    assert finding.fix is not None
    (start, end), replacement = finding.fix
    return text[:start] + replacement + text[end:]


def observed_type(profiles: Iterable[Mapping[str, Any]]) -> Type:
    """Return the type of these profiles."""
    observation = Observation()
    observation.add_all(profiles)
    return observation.type


OBSERVED = observed_type(
    [
        {"_acme": {"openTickets": 1, "plan": "free"}, "name": "Ann", "orders": [{"sku": "a"}], "mixed": 1},
        {"_acme": {"openTickets": 2}, "person": {"shoeSize": 40}, "orders": [{"price": 3.5}], "mixed": "x"},
    ]
)


@pytest.mark.parametrize(
    ("text", "help_"),
    [
        ("_acme.openTikets = 0", "did you mean `openTickets`?"),
        ("person.shoeSiez = 41", "did you mean `shoeSize`?"),
        ("orders[skuu = 1]", "did you mean `sku`?"),
        ("exists o from orders where o.prise > 3", "did you mean `price`?"),
        ("_other.field = 1", None),
        ("name = Ann", 'write `"Ann"` for the text'),
    ],
)
def test_a_field_that_no_stored_profile_has_is_unknown(text: str, help_: str | None) -> None:
    """Tenant fields and items of arrays too; profiles declare no types, so it is a warning."""
    for schema in (XDM.with_profiles(OBSERVED), replace(XDM, reports_partial=False).with_profiles(OBSERVED)):
        [finding] = check_text(text, schema=schema, saving=True)

        assert (finding.severity, finding.code) == (Severity.WARNING, "pql.unknown-field")
        assert finding.help == help_


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('_acme.openTickets = 0 and person.gender = "male"', []),
        ('person.age > 3 and homeAddress.city = "Ulm"', []),
        ("name and true", ["pql.condition"]),
        ("mixed", []),
        ('_acme.openTickets > "x"', []),
        ('identityMap.get("Email").head().id = "x"', []),
        ("orders.price.sum() > 3", []),
    ],
)
def test_fields_of_stored_profiles_are_known_without_a_declared_type(text: str, codes: list[str]) -> None:
    """Their values decide how they are compared; as conditions they are texts or numbers."""
    assert [code for _, code in found(text, schema=XDM.with_profiles(OBSERVED), saving=True)] == codes


def test_without_profiles_nothing_is_said_of_unknown_fields_in_receipts() -> None:
    """The core is only a part of XDM. An editor hears of it all the same."""
    receipts = replace(XDM, reports_partial=False).with_profiles(observed_type([]))

    assert found("person.birthYer = 1985 or anything = 3", schema=receipts) == []
    assert found("person.birthYer = 1985", schema=XDM.with_profiles(observed_type([]))) == [
        ("warning", "pql.unknown-field")
    ]


def test_an_object_of_very_many_names_is_a_map() -> None:
    """Whatever names it has, all of them are known."""
    schema = XDM.with_profiles(observed_type([{"_acme": {"visits": {f"page{n}": n for n in range(2_000)}}}]))

    assert found("_acme.visits.anything > 3", schema=schema) == []


def test_every_mistake_is_reported_in_one_pass() -> None:
    """In reading order, errors and warnings together."""
    assert found('5.startsWith("a") or person.nam = 1 or tags in 5') == [
        ("error", "pql.type"),
        ("warning", "pql.unknown-field"),
        ("error", "pql.type"),
    ]


def test_a_rejection_names_its_errors_first() -> None:
    """Whoever shows only one finding shows the one that matters."""
    rejected = compile_rule('person.nam = 1 and 5.startsWith("a")')

    assert [each.code for each in rejected.diagnostics] == ["pql.type", "pql.unknown-field"]


LOOKING_BACK = [
    "xEvent[timestamp occurs < 7 days before now].count() > 0",
    "exists e from xEvent where e.timestamp occurs last week",
    'chain(xEvent, timestamp, [A: WHAT(eventType = "x")])',
    "(select e from xEvent).head().timestamp occurs before now",
]


def test_a_look_back_names_the_audience_that_can() -> None:
    """With the command, and the part of the rule that it is about; audiences themselves may look back."""
    opened = 'not xEvent[eventType = "open" and timestamp occurs <= 14 days before now].count() > 0'
    [finding] = check_text(f"person.age > 18 and {opened} and testProfile", saving=True)

    assert finding.help == (
        f"define an audience, `proffer audiences create NAME --rule '{opened}'`, and use `inAudience(\"NAME\")` here"
    )
    assert found('person.age > 18 and inAudience("NAME") and testProfile', saving=True) == []
    assert isinstance(compile_rule(opened, saving=True, event_history=True), CompiledRule)


@pytest.mark.parametrize("text", LOOKING_BACK)
def test_looking_back_cannot_be_saved(text: str) -> None:
    """It may be evaluated, but not saved."""
    assert {code for severity, code in found(text, saving=True) if severity == "error"} == {"pql.look-back"}
    assert not [code for severity, code in found(text) if severity == "error"]


@pytest.mark.parametrize(
    ("text", "rule", "formula"),
    [
        ('exists e from xEvent where e.eventType = "x"', [], ["pql.look-back"]),
        ("xEvent.sum(commerce.order.priceTotal) > 3", [], ["pql.look-back"]),
        ("offer.selectionConstraint.endDate occurs <= 24 hours after now", [], []),
        ("xEvent._acme.channel.isNotNull()", [], []),
    ],
)
def test_formulas_may_not_search_events(text: str, rule: list[str], formula: list[str]) -> None:
    """Rules may look for an event of the request; formulas may only read its fields."""

    def errors(kind: str) -> list[str]:
        roots = ("profile", "xEvent", "offer")
        return [each.code for each in check_text(text, kind=kind, saving=True, roots=roots) if each.is_error]

    assert [errors("rule"), errors("formula")] == [rule, formula]


def test_loops_inside_loops_are_bounded() -> None:
    """Eight levels are enough for anybody, and for the machine."""
    text = "a" + "[b" * 9 + "]" * 9

    assert "pql.too-deep" in [code for _, code in found(text)]


def test_a_formula_has_eight_kilobytes() -> None:
    """Rules have fifteen."""
    text = 'a = "' + "x" * 9_000 + '"'

    assert [[each.code for each in check_text(text, kind=kind) if each.is_error] for kind in ("rule", "formula")] == [
        [],
        ["pql.limit"],
    ]


def test_a_schema_of_plain_data_reads_every_type() -> None:
    """And says no to what is not one."""
    with pytest.raises(ValueError, match="'texts' is not a type"):
        Schema.of({"profile": {"a": {"*": ["texts"]}}})


def test_diagnostics_are_values() -> None:
    """Equal when they say the same."""
    assert Diagnostic("a", "b") == Diagnostic("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        '_app.build = "10.2.0"',
        '_app.score >= "10.2"',
        '_app.day < "31.12.2026"',
        'versionCompare(_app.build, "10.2.0") < 0',
    ],
)
def test_other_comparisons_are_not_taken_for_versions(text: str) -> None:
    """Equality, decimals and days are left alone."""
    assert not [diagnostic for diagnostic in check_text(text) if diagnostic.code == "pql.version-order"]


AUDIENCES = Schema(audiences=lambda: {"Buyers": ["a-1"], "Twins": ["a-2", "a-3"]})


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ('inAudience("Buyers") and inAudience("a-2") and inSegment("a-1")', []),
        ('inAudience("Twins")', [("error", "pql.audience")]),
        ('inAudience("Buyer")', [("warning", "pql.audience")]),
        ('inSegment("Buyers")', [("warning", "pql.audience")]),
        ('inSegment("of another system")', []),
        ("inAudience(preferredLanguage)", []),
    ],
)
def test_names_of_audiences_are_checked(text: str, findings: list[tuple[str, str]]) -> None:
    """A name of several audiences is refused, an unknown one warned of; without audiences nothing is said."""
    assert found(text, schema=AUDIENCES, saving=True) == findings
    assert found(text, saving=True) == []


def test_an_ambiguous_name_names_the_ids() -> None:
    """The help lists what can be written instead; a stored rule is warned of only."""
    (refusal,) = check_text('inAudience("Twins")', schema=AUDIENCES, saving=True)
    (warning,) = check_text('inAudience("Twins")', schema=AUDIENCES)

    assert (refusal.message, refusal.help) == ("2 audiences have the name `Twins`", "use an id: `a-2`, `a-3`")
    assert warning.severity is Severity.WARNING


def test_an_unknown_name_suggests_the_closest() -> None:
    """The fix replaces the name."""
    (warning,) = check_text('inAudience("Buyer")', schema=AUDIENCES)

    assert (warning.help, warning.fix and warning.fix.replacement) == ("did you mean `Buyers`?", '"Buyers"')


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ('_app.build >= "10.2.0" and testProfile', 'versionCompare(_app.build, "10.2.0") >= 0 and testProfile'),
        ('"v9.1" > profile._app.build', 'versionCompare("v9.1", profile._app.build) > 0'),
        ('_apps[version < "2.0.1"].count() > 0', '_apps[versionCompare(version, "2.0.1") < 0].count() > 0'),
    ],
)
def test_an_order_of_versions_has_a_fix(text: str, fixed: str) -> None:
    """It writes `versionCompare` around both sides, which is then accepted."""
    (warning,) = check_text(text)
    assert warning.fix is not None
    (start, end), replacement = warning.fix

    assert text[:start] + replacement + text[end:] == fixed
    assert check_text(fixed) == []


def test_a_function_without_brackets_is_no_field() -> None:
    """Alone, or behind the field that it is meant for; and no text, number or date has fields."""
    helps = {text: [each.help for each in check_text(text)] for text in ("ageInYears > 3", "person.birthDate.age > 3")}
    assert helps == {
        "ageInYears > 3": ["to call the function write `ageInYears(...)`"],
        "person.birthDate.age > 3": ["to call the function write `age(...)`"],
    }
    assert found("person.birthYear.x = 1 and loyalty.tier.x.y = 1") == [("warning", "pql.unknown-field")]
    assert found("person.age.x = 1", schema=STRICT) == [("error", "pql.unknown-field")]


def test_an_object_that_no_profile_has_lacks_the_fields_that_the_core_lacks() -> None:
    """A misspelt field is told, whether or not a profile has the object that it is in."""
    schema = replace(XDM, reports_partial=False).with_profiles(observed_type([{"loyalty": {"points": 1}}]))
    for text, help_ in (
        ('homeAddress.cty = "x"', "did you mean `city`?"),
        ('person.nam.firstName = "x"', "did you mean `name`?"),
        ("loyalty.point = 1", "did you mean `points`?"),
    ):
        assert [each.help for each in check_text(text, schema=schema)] == [help_]
    assert check_text('homeAddress.city = "x" and person.age > 3', schema=schema) == []


@pytest.mark.parametrize("text", ["homeAddress.city = ‘Ulm’", "homeAddress.city = “Ulm”"])
def test_curly_quotation_marks_are_replaced(text: str) -> None:
    findings = check_text(text)
    assert [each.help for each in findings] == ['use the plain `"`'] * 2
    assert all(each.fix is not None and each.fix.replacement == '"' for each in findings)


def test_a_formula_that_gives_no_number_has_a_warning() -> None:
    """It counts as a fault in every decision, so this is told when it is saved."""
    for text in ('"a"', "person.age > 3", "now", "homeAddress.city", 'if(person.age > 3, "a", "b")'):
        assert found(text, kind="formula") == [("warning", "pql.type")], text
    for text in ("3", "person.age", "offer.rank.priority * 2", "@{stock}.left", "if(person.age > 3, 1, 2)"):
        assert found(text, kind="formula") == [], text


def test_a_rule_gets_a_limited_number_of_suggestions() -> None:
    """Each is a search among all fields; unknown fields are reported nevertheless."""
    schema = Schema.of({"profile": {"ageInYears": "integer"}})

    findings = check_text(" or ".join(f"ageInYears{number} = 1" for number in range(50)), schema=schema)

    assert sum(finding.code == "pql.unknown-field" for finding in findings) == 50
    assert sum(finding.fix is not None for finding in findings) == 20


@pytest.mark.parametrize("text", ["#" * 5000, " or ".join(["a = null"] * 900 + ["person.birthYear.startsWith(1)"])])
def test_a_text_gets_at_most_a_hundred_diagnostics(text: str) -> None:
    """Each shows its line, so the answer would be as long as the text squared. Errors come before warnings."""
    findings = check_text(text, schema=Schema.of({"profile": {"a": "text", "person": {"birthYear": "integer"}}}))

    assert len(findings) == MAX_DIAGNOSTICS
    assert any(finding.is_error for finding in findings)
    assert findings == sort_diagnostics(findings)


def test_similar_names_of_audiences_are_looked_for_a_few_times() -> None:
    """A container may have very many audiences; unknown names are reported nevertheless."""
    schema = Schema(audiences=lambda: {f"Buyers {number}": [f"a-{number}"] for number in range(2000)})

    findings = check_text(" or ".join(f'inAudience("Buyer {number}")' for number in range(10)), schema=schema)

    assert [finding.help is not None for finding in findings] == [True] * 3 + [False] * 7
