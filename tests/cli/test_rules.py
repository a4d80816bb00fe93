"""`proffer rules` and `proffer schema`, as the people use them who write rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Proffer
from support.server import sample_library

SPEC = Path(__file__).parents[2] / "spec" / "pql"


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_mistake_is_shown_with_carets_and_help(proffer: Proffer, tmp_path: Path) -> None:
    """What, where in the text, and how to mend it; exit code 1."""
    ran = proffer("rules", "check", written(tmp_path, "r.pql", "person.age == 18\n"))

    assert ran.code == 1
    assert "error[pql.syntax]" in ran.out
    assert "r.pql:1:12" in ran.out
    assert "^^" in ran.out
    assert "1 expression checked, 1 with errors, 0 with warnings" in ran.out


def test_a_doubt_is_shown_and_counted_and_passes_unless_strict(proffer: Proffer, tmp_path: Path) -> None:
    """A warning is said and is no error, except with `--strict`."""
    rule = written(tmp_path, "r.pql", 'person.gender = "Femal"')
    ran, strict = proffer("rules", "check", rule), proffer("rules", "check", rule, "--strict")

    assert (ran.code, strict.code) == (0, 1)
    assert "warning[pql." in ran.out
    assert ran.out == strict.out
    assert ran.out.endswith("1 expression checked, 0 with errors, 1 with warnings\n")


def test_every_rule_of_a_library_file_is_checked(proffer: Proffer, tmp_path: Path) -> None:
    """The sample library's are sound; of two in another file one is not, and is named."""
    sound = proffer("rules", "check", sample_library())
    rule = {"type": "PQL", "format": "pql/text"}
    library = {
        "rules": [{"xdm:name": "Broken", "condition": {**rule, "value": "nonsense("}}],
        "formulas": [{"xdm:name": "Fine", "expression": {**rule, "value": "offer.rank.priority * 2"}}],
    }
    mixed = proffer("rules", "check", written(tmp_path, "library.json", library))

    assert (sound.code, sound.out) == (0, "37 expressions checked, 0 with errors, 0 with warnings\n")
    assert mixed.code == 1
    assert "library.json: Broken" in mixed.out
    assert "2 expressions checked, 1 with errors" in mixed.out


def test_a_library_file_is_known_by_its_suffix_in_any_letter_case(proffer: Proffer, tmp_path: Path) -> None:
    """`RULES.YAML` is a library file, not one rule."""
    text = 'rules: [{"xdm:name": "Adults", condition: {type: PQL, format: pql/text, value: person.age >= 18}}]'
    ran = proffer("rules", "check", written(tmp_path, "RULES.YAML", text))

    assert (ran.code, ran.out) == (0, "1 expression checked, 0 with errors, 0 with warnings\n")


def test_a_schema_makes_an_unknown_field_an_error(proffer: Proffer, tmp_path: Path) -> None:
    """What XDM does not know is doubtful; what your own schema does not know is wrong; tenants stay open."""
    rule = written(tmp_path, "r.pql", "person.agee >= 18 and _acme.plan = 1")
    schema = written(tmp_path, "s.json", {"person": {"age": "integer"}})

    without, checked = (
        proffer("rules", "check", rule),
        proffer("rules", "check", rule, "--schema", schema),
    )

    assert (without.code, checked.code) == (0, 1)
    assert "error[pql.unknown-field]" in checked.out
    assert "did you mean `age`?" in checked.out
    assert "_acme" not in checked.out.replace("_acme.plan = 1", "")


def test_format_prints_or_writes_the_canonical_text(proffer: Proffer, tmp_path: Path) -> None:
    """Words and spaces as everybody's are."""
    rule = written(tmp_path, "r.pql", "person.age>=18   AND NOT(  person.age  > 65)")
    printed = proffer("rules", "format", rule)
    proffer("rules", "format", "--write", rule)

    assert printed.out == rule.read_text(encoding="utf-8")
    assert printed.out == "person.age >= 18 and not person.age > 65\n"


def test_explain_shows_the_value_of_each_part(proffer: Proffer, tmp_path: Path) -> None:
    """As a tree; what was not evaluated says so."""
    profile = written(tmp_path, "p.json", {"person": {"age": 20}, "orders": [{"total": 5}, {"total": 50}]})
    text = 'person.age >= 18 and orders[total > 10].count() >= 1 or inSegment("x")'
    ran = proffer("rules", "explain", text, "--profile", profile)

    assert ran.code == 0
    assert "profile.person.age >= 18  true" in ran.out
    assert "profile.person.age  20" in ran.out
    assert "v1.total > 10  false, true" in ran.out
    assert 'inSegment("x")  (not evaluated)' in ran.out


def test_explain_compares_by_the_types_of_a_schema(proffer: Proffer, tmp_path: Path) -> None:
    """Two texts are numbers if the schema says so, and texts without it; the parts are those that are written."""
    profile = written(tmp_path, "p.json", {"_acme": {"level": "9", "least": "10"}})
    schema = written(tmp_path, "s.json", {"_acme": {"level": "integer", "least": "integer"}})
    rule = ("rules", "explain", "_acme.level >= _acme.least", "--profile", profile)

    assert "profile._acme.level >= profile._acme.least  true" in proffer(*rule).out
    typed = proffer(*rule, "--schema", schema).out
    assert "profile._acme.level >= profile._acme.least  false" in typed
    assert typed.count("profile._acme.level  ") == 1


def test_explain_prints_lists_days_and_times(proffer: Proffer) -> None:
    """Precomputed values are printed as expressions; a time test by the values in it."""
    rule = 'homeAddress.city in ["Berlin", "Graz"] or date(2024, 5, 1) < today and now occurs this month'
    ran = proffer("rules", "explain", rule, "--now", "2024-05-02T00:00:00Z")
    constant = proffer("rules", "explain", "[1, 2]", "--formula")
    zoned = proffer("rules", "explain", 'toTimeZone(now, "Asia/Tokyo")', "--formula", "--now", "2024-05-02T00:00:00Z")

    assert '  "2024-05-02T09:00:00+09:00"' in zoned.out
    assert ran.code == 0, ran.err
    assert 'profile.homeAddress.city in ["Berlin", "Graz"]  false' in ran.out
    assert "date(2024, 5, 1) < today  true" in ran.out
    assert "now occurs this month  true" in ran.out
    assert constant.out == "[1, 2]  [1, 2]\n"


def test_explain_knows_offer_context_event_and_moment(proffer: Proffer, tmp_path: Path) -> None:
    """Everything that a formula may read can be given."""
    ran = proffer(
        "rules",
        "explain",
        "--formula",
        "if(@{_xdm.context.additionalParameters;version=1}.weather = xEvent.weather and now occurs in 2025, "
        "offer.rank.priority * 2, 0)".replace("now occurs in 2025", "now.getYear() = 2025"),
        "--offer",
        written(tmp_path, "o.json", {"rank": {"priority": 4}}),
        "--context",
        written(tmp_path, "c.json", {"xdm:weather": "hot"}),
        "--event",
        written(tmp_path, "e.json", {"weather": "hot"}),
        "--now",
        "2025-06-01T12:00:00Z",
    )

    assert ran.code == 0, ran.err
    assert "8" in ran.out.splitlines()[0] + ran.out.splitlines()[1] + ran.out.splitlines()[2]


def test_explain_of_no_rule_says_why(proffer: Proffer) -> None:
    """With the diagnostics on stderr and exit code 1."""
    ran = proffer("rules", "explain", "person.age >=")

    assert ran.code == 1
    assert "error[pql.syntax]" in ran.err


@pytest.mark.parametrize("family", sorted(SPEC.glob("*.json")), ids=lambda path: path.stem)
def test_the_cases_of_the_language_pass(proffer: Proffer, family: Path) -> None:
    """Every family of the language's own cases, through every evaluator."""
    ran = proffer("rules", "test", family)

    assert ran.code == 0, ran.out
    assert " 0 failed; " in ran.out


_NO_SCHEMAS = [
    f'[{{"expr": "a", "expect": true, "schema": {schema}}}]'
    for schema in ('"text"', '{"profile": "text"}', '{"profile": {"a": "nonsense"}}')
]


def test_a_failing_case_says_what_each_evaluator_gave(proffer: Proffer, tmp_path: Path) -> None:
    """And the command ends with 1."""
    cases = [
        {
            "id": "right",
            "expr": "person.age > 1",
            "env": {"profile": {"person": {"age": 2}}},
            "expect": True,
        },
        {"id": "wrong", "expr": "1 + 1", "expect": 3},
        {"id": "refused", "expr": "1 == 1", "expect": {"$error": "parse"}},
    ]
    ran = proffer("rules", "test", written(tmp_path, "c.json", cases))

    assert ran.code == 1
    assert "wrong: 1 + 1" in ran.out
    assert "expected     3" in ran.out
    assert "interpreter  2" in ran.out
    assert "python       2" in ran.out
    assert "3 cases, 2 passed, 1 failed; 2 ran in columns" in ran.out


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '[{"id": "x"}]',
        "[5]",
        *(f'[{{"expr": "a", "expect": true, "schema": {schema}}}]' for schema in _NO_SCHEMAS),
        *(
            f'[{{"expr": "a", "expect": true, "env": {env}}}]'
            for env in ("[1]", '{"profile": 5}', '{"audiences": {"A": ["x"]}}', '{"now": 5}', '{"tz": "No/Where"}')
        ),
    ],
)
def test_a_file_that_holds_no_cases_is_refused(proffer: Proffer, tmp_path: Path, content: str) -> None:
    """With the place and how a case looks."""
    ran = proffer("rules", "test", written(tmp_path, "c.json", content))

    assert ran.code == 1
    assert "$" in ran.err
    assert "write `[" in ran.err


def test_schemas_are_loaded_listed_and_removed(proffer: Proffer, tmp_path: Path) -> None:
    """A JSON Schema, as a registry exports it, or plain fields."""
    database = ("--database", f"sqlite:///{tmp_path / 'p.db'}")
    exported = {
        "title": "Profile",
        "allOf": [{"$ref": "#/definitions/person"}],
        "properties": {"xdm:plan": {"type": "string", "enum": ["a", "b"]}},
        "definitions": {
            "person": {
                "properties": {
                    "xdm:person": {
                        "type": "object",
                        "properties": {"age": {"type": ["integer", "null"]}},
                    },
                    "since": {"type": "string", "format": "date-time"},
                    "likes": {"type": "array", "items": {"type": "string"}},
                    "scores": {"additionalProperties": {"type": "number"}},
                }
            }
        },
    }
    loaded = proffer("schema", "load", written(tmp_path, "s.json", exported), *database)
    listed = proffer("schema", "list", *database)
    again = proffer("schema", "load", written(tmp_path, "f.yaml", "person: {age: integer}"), *database)
    shorter = proffer("schema", "list", *database)
    removed = proffer("schema", "remove", "profile", *database)
    gone = proffer("schema", "remove", "profile", *database)

    assert "5 fields for `profile`" in loaded.out
    assert "profile" in listed.out
    assert "5 fields" in listed.out
    assert again.code == removed.code == 0
    assert "1 fields" in shorter.out
    assert gone.code == 1
    assert "no schema is loaded" in gone.err


@pytest.mark.parametrize("content", ["[]", '{"age": "long"}', '{"a": [1, 2]}', "5"])
def test_what_is_no_schema_is_refused(proffer: Proffer, tmp_path: Path, content: str) -> None:
    """And the schema that was there stays."""
    database = f"sqlite:///{tmp_path / 'p.db'}"
    ran = proffer("schema", "load", written(tmp_path, "s.json", content), "--database", database)

    assert ran.code == 1
    assert "JSON Schema, or fields with types" in ran.err


def test_a_path_of_no_file_is_not_taken_for_a_rule(proffer: Proffer) -> None:
    """Else it divides one unknown field by another."""
    for path in ("rules/adults.pql", "./adults", "adults.pql", "/no/such/adults"):
        ran = proffer("rules", "explain", path)
        assert (ran.code, "cannot be read: No such file" in ran.err) == (1, True), path
