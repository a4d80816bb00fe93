"""Parse pql/json rules to trees, and unwrap conditions (PQL 3).

Accepts the output of `to_json` and the published schema. Anything else raises `NotPql`.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any

from proffer.pql.forms.to_json import EVENTS
from proffer.pql.syntax.diagnostics import Diagnostic, NotPql
from proffer.pql.syntax.limits import MAX_DEPTH, MAX_INTEGER
from proffer.pql.syntax.nodes import (
    Aggregate,
    Beside,
    Between,
    Binary,
    Call,
    Chain,
    Context,
    Declaration,
    Field,
    Filter,
    If,
    Lambda,
    Let,
    ListOf,
    Literal,
    Logic,
    Name,
    Negate,
    Node,
    Not,
    ObjectOf,
    Occurs,
    On,
    Parameter,
    Period,
    Quantifier,
    Select,
    Step,
    TimeTest,
    TimeWord,
    Up,
    Within,
)
from proffer.pql.syntax.source import NO_SPAN
from proffer.pql.syntax.tokens import AGGREGATES, COMPARISONS, TIME_WORDS, UNITS

PROFILES = "https://ns.adobe.com/xdm/context/profile"

_BINARY = frozenset({*COMPARISONS, "in", "notIn", "like", "+", "-", "*", "/", "%"})
_VARIABLE = re.compile(r"[^\W]\w*\Z")


# --- the envelope


def unwrap(condition: Mapping[str, Any]) -> str | Mapping[str, Any]:
    """Return the text or tree in `{type, format, value}`; keys with or without `xdm:`.

    The tree of a pql/json value may be an object or a JSON string. Raises `NotPql`.
    """

    def member(name: str) -> Any:
        return condition.get(name, condition.get(f"xdm:{name}"))

    value, form = member("value"), member("format") or "pql/text"
    if form == "pql/text" and isinstance(value, str):
        return value
    if form == "pql/json" and isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _error("the value is not valid JSON, but its format is pql/json") from None
    if form == "pql/json" and isinstance(value, Mapping):
        return value
    raise _error(f"the value cannot be read as {form}", "use the format `pql/text` with a text as value")


# --- JSON to a tree


def from_json(tree: Any) -> Node:
    """Return the tree of a pql/json form. Raises `NotPql` for any invalid input."""
    return _read_node(tree, 0)


def _read_node(node: Any, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise _error("this rule is nested too deeply", "split it into several rules", "pql.too-deep")
    if not isinstance(node, Mapping):
        raise _error(f"a node must be an object with a `nodeType`, not {_describe(node)}")
    kind = node.get("nodeType")
    read = _READ_BY_TYPE.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise _error(f"unknown node type {_describe(kind)}")
    return read(_NodeReader(node, depth))


class _NodeReader:
    """Typed access to the members of one JSON node."""

    def __init__(self, node: Mapping[str, Any], depth: int) -> None:
        self.members = node
        self.depth = depth

    def node(self, name: str) -> Node:
        return _read_node(self.members.get(name), self.depth + 1)

    def readers(self, name: str) -> list["_NodeReader"]:
        members = self.members.get(name)
        if not isinstance(members, (list, tuple)) or not all(isinstance(item, Mapping) for item in members):
            raise _error(f"`{name}` of a {self.members.get('nodeType', 'node')} must be a list of objects")
        return [_NodeReader(item, self.depth + 1) for item in members]

    def nodes(self, name: str) -> tuple[Node, ...]:
        return tuple(_read_node(item.members, item.depth) for item in self.readers(name))

    def text(self, name: str) -> str:
        value = self.members.get(name)
        if not isinstance(value, str) or not value or "`" in value:
            raise _error(f"`{name}` of a {self.members.get('nodeType', 'node')} must be a text, not {_describe(value)}")
        return value

    def one_of(self, name: str, choices: Collection[str]) -> str:
        value = self.text(name)
        if value not in choices:
            raise _error(f"`{name}` must be one of {', '.join(choices)}, not {_describe(value)}")
        return value

    def number(self, name: str) -> int:
        value = self.members.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
            raise _error(f"`{name}` must be a whole number, not {_describe(value)}")
        return value

    def variable(self, name: str = "varName") -> str:
        variable_name = self.text(name)
        if not _VARIABLE.match(variable_name):
            raise _error(f"{_describe(variable_name)} is not a valid variable name")
        return variable_name

    def declarations(self) -> tuple[Declaration, ...]:
        declarations = tuple(
            Declaration(
                item.variable(),
                item.node("from"),
                item.node("where") if "where" in item.members else None,
            )
            for item in self.readers("variables")
        )
        if not declarations:
            raise _error("`variables` is empty")
        return declarations


def _read_literal(reader: _NodeReader) -> Node:
    kind, value = reader.members.get("literalType"), reader.members.get("value")
    if kind == "XDMObject":
        if value != "profile":
            raise _error(f"an XDMObject must be `profile`, not {_describe(value)}")
        return Name("profile")
    if isinstance(value, (list, tuple)):
        return ListOf(tuple(_scalar(item) for item in value))
    return _scalar(value)


def _scalar(value: Any) -> Node:
    if value is None or isinstance(value, (bool, str)):
        return Literal(value)
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return Literal(value) if value >= 0 else Negate(Literal(-value))
    if isinstance(value, float) and isfinite(value):
        return Literal(abs(value)) if value >= 0 else Negate(Literal(-value))
    raise _error(f"{_describe(value)} is not a literal")


def _read_apply(reader: _NodeReader) -> Node:
    function, arguments = reader.text("fnName"), reader.nodes("params")
    if function == "modelInstances":
        return _model_instances(arguments)
    if function in ("and", "or") and arguments:
        flat = [
            inner
            for part in arguments
            for inner in (part.parts if isinstance(part, Logic) and part.sign == function else (part,))
        ]
        return Logic(function, tuple(flat)) if len(flat) > 1 else flat[0]
    match function, arguments:
        case (("not" | "!"), (operand,)):
            return Not(operand)
        case "-", (operand,):
            return Negate(operand)
        case "if", (test, then, otherwise):
            return If(test, then, otherwise)
        case "filter", (of, test):
            return Filter(of, test)
        case "=", (left, right, flag):
            return Call("equals", (left, right, flag))
        case word, () if word in TIME_WORDS:
            return TimeWord(word)
        case sign, (left, right) if sign in _BINARY:
            return Binary(sign, left, right)
    if not function.isidentifier() or function in (
        "if",
        "not",
        "like",
        "in",
        "notIn",
        "and",
        "or",
        *TIME_WORDS,
    ):
        raise _error(f"{_describe(function)} cannot be applied to {len(arguments)} parameters")
    return Call(function, arguments)


def _model_instances(arguments: tuple[Node, ...]) -> Node:
    match arguments:
        case (Literal(str() as model),) if model.rstrip("/") == EVENTS:
            return Name("xEvent")
        case (Literal(str() as model),) if model.rstrip("/") == PROFILES:
            return Name("profile")
        case _:
            raise _error("`modelInstances` supports only experience events and profiles")


def _read_lookup(reader: _NodeReader) -> Node:
    name = reader.text("fieldName").removeprefix("xdm:")
    if not name:
        raise _error("`fieldName` is empty")
    if reader.members.get("object") is None:
        return Name(name)
    of = reader.members["object"]
    if isinstance(of, Mapping) and of.get("nodeType") == "parameterReference" and of.get("position") == 1:
        level = of.get("level", 0)
        if level == 0:
            return Name(name)
        if isinstance(level, int) and 0 < level <= MAX_DEPTH:
            return Up(level, name)
    return Field(reader.node("object"), name)


def _read_lambda(reader: _NodeReader) -> Node:
    parameters = tuple(item.variable() for item in reader.readers("params"))
    if not parameters:
        raise _error("`params` of an fnCreate is empty")
    return Lambda(parameters, reader.node("body"))


def _read_context(reader: _NodeReader) -> Node:
    reference = reader.text("reference").strip()
    if "}" in reference or not reference:
        raise _error(f"{_describe(reference)} is not a context reference")
    return Context(reference)


def _read_chain(reader: _NodeReader) -> Node:
    steps = tuple(
        Step(
            item.variable("label"),
            item.node("what"),
            _read_time_test(item, "when") if "when" in item.members else None,
        )
        for item in reader.readers("steps")
    )
    if not steps:
        raise _error("`steps` of a chain is empty")
    return Chain(reader.node("events"), reader.node("timestamp"), steps)


def _read_time_test(reader: _NodeReader, name: str) -> TimeTest:
    members = reader.members.get(name)
    if not isinstance(members, Mapping):
        raise _error(f"`{name}` must be a time test, not {_describe(members)}")
    test = _NodeReader(members, reader.depth + 1)
    match test.one_of("kind", ("within", "before", "after", "between", "on")):
        case "within":
            sign, amount = test.one_of("sign", COMPARISONS), test.number("amount")
            unit, direction = (
                test.one_of("unit", tuple(UNITS)),
                test.one_of("direction", ("before", "after", "from")),
            )
            return Within(sign, amount, unit, direction, test.node("time"))  # type: ignore[arg-type]
        case "between":
            return Between(test.node("low"), test.node("high"))
        case "on":
            return On(test.node("time"))
        case direction:
            return Beside(direction, test.node("time"))  # type: ignore[arg-type]


_READ_BY_TYPE: dict[str, Callable[[_NodeReader], Node]] = {
    "literal": _read_literal,
    "fnApply": _read_apply,
    "fnCreate": _read_lambda,
    "fieldLookup": _read_lookup,
    "parameterReference": lambda at: Parameter(at.number("position")),
    "varRef": lambda at: Name(at.variable()),
    "quantification": lambda at: Quantifier(at.one_of("quantifier", ("all", "some", "none", "one")), at.declarations()),
    "select": lambda at: Select(at.declarations()),
    "aggregate": lambda at: Aggregate(at.one_of("fnName", AGGREGATES), at.node("value"), at.declarations()),
    "contextReference": _read_context,
    "let": lambda at: Let(at.variable(), at.node("value"), at.node("body")),
    "list": lambda at: ListOf(at.nodes("items")),
    "object": lambda at: ObjectOf(tuple((_key(item), item.node("value")) for item in at.readers("entries"))),
    "period": lambda at: Period(at.one_of("which", ("this", "last", "next")), at.one_of("unit", tuple(UNITS))),
    "occurs": lambda at: Occurs(at.node("subject"), _read_time_test(at, "test")),
    "chain": _read_chain,
}


def _key(entry: _NodeReader) -> str:
    key = entry.members.get("key")
    if not isinstance(key, str):
        raise _error(f"`key` must be a text, not {_describe(key)}")
    return key


def _describe(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (bool, str)) or (isinstance(value, (int, float)) and abs(value) <= MAX_INTEGER):
        return f"`{json.dumps(value)[:40]}`"
    return f"`{type(value).__name__}`"


def _error(message: str, help_: str | None = None, code: str = "pql.json") -> NotPql:
    return NotPql(Diagnostic(code, message, help_, NO_SPAN))
