"""The pql/json form: published samples, our own nodes, and whatever else may come."""

import json
from typing import Any

import pytest

from proffer.pql import CompiledRule, CompileErrors, compile_rule, read_condition
from proffer.pql.forms.from_json import from_json
from proffer.pql.forms.to_json import to_json
from proffer.pql.syntax.parser import parse
from proffer.pql.syntax.source import SourceText

LOOKUP = {"nodeType": "fieldLookup", "fieldName": "a"}


def written(text: str) -> dict[str, Any]:
    return to_json(parse(SourceText(text)))


def test_a_comparison_is_written_as_the_service_writes_it() -> None:
    """The published conversion of `workAddress.country = "US"`."""
    parameter = {"nodeType": "parameterReference", "position": 1}
    work = {"nodeType": "fieldLookup", "fieldName": "workAddress", "object": parameter}

    assert written('workAddress.country = "US"') == {
        "nodeType": "fnApply",
        "fnName": "=",
        "params": [
            {"nodeType": "fieldLookup", "fieldName": "country", "object": work},
            {"nodeType": "literal", "literalType": "String", "value": "US"},
        ],
    }


def test_a_list_of_constants_is_one_literal() -> None:
    """Negative numbers and null too."""
    assert written("a in [1, -2.5, null, true]")["params"][1] == {
        "nodeType": "literal",
        "literalType": "List",
        "value": [1, -2.5, None, True],
    }


def test_events_are_model_instances() -> None:
    """In a declaration, and wherever the root is named."""
    source = written("exists e from xEvent")["variables"][0]["from"]

    assert (source["fnName"], source["params"][0]["value"]) == (
        "modelInstances",
        "https://ns.adobe.com/xdm/context/experienceevent",
    )


def test_a_tree_compiles_to_its_canonical_text() -> None:
    """Findings then have a text to point at."""
    rule = compile_rule(written("a.b = 1 AND (c  or d)"))

    assert isinstance(rule, CompiledRule)
    assert rule.text == rule.canonical == "a.b = 1 and (c or d)"


def test_a_rule_gives_its_tree() -> None:
    """Roots that the rule is defined on are roots in the tree too."""
    rule = compile_rule("boosted.x = xEvent.y", roots=("profile", "xEvent", "boosted"))

    assert isinstance(rule, CompiledRule)
    assert rule.as_json["params"][0]["object"] == {"nodeType": "varRef", "varName": "boosted"}


def test_a_third_parameter_of_equals_is_the_case_flag() -> None:
    """As the published schema allows."""
    flag, text = {"nodeType": "literal", "value": False}, {"nodeType": "literal", "value": "x"}
    rule = compile_rule({"nodeType": "fnApply", "fnName": "=", "params": [LOOKUP, text, flag]})

    assert isinstance(rule, CompiledRule)
    assert rule.canonical == 'a.equals("x", false)'


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"type": "PQL", "format": "pql/text", "value": "a = 1"}, "a = 1"),
        ({"xdm:type": "PQL", "xdm:format": "pql/text", "xdm:value": "a = 1"}, "a = 1"),
        ({"value": "a = 1"}, "a = 1"),
        ({"format": "pql/json", "value": LOOKUP}, LOOKUP),
        ({"format": "pql/json", "value": json.dumps(LOOKUP)}, LOOKUP),
    ],
)
def test_a_condition_is_read_in_either_spelling(condition: dict[str, Any], expected: object) -> None:
    """With or without prefix, as a tree or as text that holds one."""
    assert read_condition(condition) == expected


@pytest.mark.parametrize(
    "condition",
    [
        {"format": "pql/json", "value": "a = 1"},
        {"format": "pql/json", "value": "[" * 100_000},
        {"format": "pql/xml", "value": "a"},
        {"format": "pql/text", "value": {}},
        {},
    ],
)
def test_a_wrong_label_is_refused(condition: dict[str, Any]) -> None:
    """A text labelled as a tree is a mistake, whoever prints it."""
    assert isinstance(read_condition(condition), CompileErrors)


def deep(levels: int) -> Any:
    node: Any = LOOKUP
    for _ in range(levels):
        node = {"nodeType": "fnApply", "fnName": "not", "params": [node]}
    return node


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"nodeType": "nothing"},
        {"nodeType": ["literal"]},
        {"nodeType": "literal", "value": {}},
        {"nodeType": "literal", "value": 10**400},
        {"nodeType": "literal", "value": 10**5000},
        {"nodeType": "literal", "value": float("nan")},
        {"nodeType": "literal", "literalType": "XDMObject", "value": "offer"},
        {"nodeType": "fieldLookup", "fieldName": "a`b"},
        {"nodeType": "fieldLookup", "fieldName": ""},
        {"nodeType": "fieldLookup", "fieldName": "xdm:"},
        {"nodeType": "varRef", "varName": "a b"},
        {"nodeType": "fnApply", "fnName": "and", "params": []},
        {"nodeType": "fnApply", "fnName": "a(", "params": []},
        {"nodeType": "fnApply", "fnName": "in", "params": [LOOKUP]},
        {"nodeType": "fnApply", "fnName": "now", "params": [LOOKUP]},
        {"nodeType": "fnApply", "fnName": "modelInstances", "params": []},
        {"nodeType": "fnApply", "fnName": "count", "params": "a"},
        {"nodeType": "quantification", "quantifier": "most", "variables": []},
        {"nodeType": "select", "variables": []},
        {"nodeType": "chain", "events": LOOKUP, "timestamp": LOOKUP, "steps": []},
        {"nodeType": "occurs", "subject": LOOKUP, "test": {"kind": "never"}},
        {"nodeType": "contextReference", "reference": "a}b"},
        {"nodeType": "fnCreate", "params": [], "body": LOOKUP},
        {"nodeType": "literal", "value": "\ud800"},
        deep(200),
        deep(100_000),
    ],
    ids=range(27),
)
def test_no_tree_makes_the_front_door_raise(tree: Any) -> None:
    """What is not a rule is refused with a finding."""
    rule = compile_rule(tree)

    assert isinstance(rule, CompileErrors)
    assert rule.diagnostics


@pytest.mark.parametrize(
    "text",
    [
        "orders[price > ^budget and ^^x = $1.y].count()",
        "let x = (a in [1]) in x and not -y = 3",
        "a occurs <= 3 days from this week and b occurs between now and date(2024, 1, 1)",
        "chain(xEvent, timestamp, [A: WHAT(e = 1) WHEN(today), B: WHAT(e = 2) WHEN(after last month)])",
        'orders.groupBy(s).map((k, g) => mapEntry(k, {"n": g.count(), "m": [g]}))',
        "sum (o.a * 2) over o from orders where o.b, i from o.items",
        '@{a.b;version=1}.c = "x" and `from` = `two words`.`select`',
        "[[1], a, null]",
    ],
)
def test_every_construct_survives_its_json_form(text: str) -> None:
    """Through actual JSON text, and through canonical text as well."""
    tree = parse(SourceText(text))
    rule = compile_rule(json.loads(json.dumps(to_json(tree))))

    assert from_json(json.loads(json.dumps(to_json(tree)))) == tree
    assert isinstance(rule, CompiledRule), rule.diagnostics
    assert rule.checked.tree == tree
