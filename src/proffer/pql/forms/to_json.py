"""Convert a tree to its pql/json form (PQL 3).

Node types of the published schema follow that schema. Constructs it lacks, such as `let`, `occurs` or
`chain`, use extension node types that other products need not understand. A name of the implicit context
is a `fieldLookup` in `parameterReference` 1; `level` counts item expressions outwards, and -1 is always
the rule's own parameter.
"""

from collections.abc import Callable, Collection
from typing import Any

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
    Root,
    Select,
    TimeTest,
    TimeWord,
    Up,
    Within,
)

Json = dict[str, Any]

EVENTS = "https://ns.adobe.com/xdm/context/experienceevent"

_LITERAL_TYPES: dict[type, str] = {bool: "Boolean", int: "Integer", float: "Number", str: "String"}
_ROOTS = ("profile", "xEvent", "offer")


def to_json(tree: Node, roots: Collection[str] = _ROOTS) -> Json:
    """Return the pql/json form of a parser tree."""
    return _Writer(roots).write(tree)


class _Writer:
    def __init__(self, roots: Collection[str]) -> None:
        self.roots = roots
        self.bound: list[str] = []

    def write(self, node: Node) -> Json:
        return _WRITE[type(node)](self, node)

    def all_of(self, nodes: tuple[Node, ...]) -> list[Json]:
        return [self.write(node) for node in nodes]

    def within(self, names: Collection[str], write: Callable[[], Json]) -> Json:
        self.bound += names
        result = write()
        del self.bound[len(self.bound) - len(names) :]
        return result

    def name(self, node: Name | Root) -> Json:
        name = node.name
        if name not in self.bound:
            if name == "profile":
                return {"nodeType": "literal", "literalType": "XDMObject", "value": "profile"}
            if name == "xEvent":
                events = {"nodeType": "literal", "literalType": "String", "value": EVENTS}
                return _apply("modelInstances", [events])
            if name not in self.roots:
                return _lookup(name, {"nodeType": "parameterReference", "position": 1})
        return {"nodeType": "varRef", "varName": name}

    def list_of(self, node: ListOf) -> Json:
        plain = [_plain(item) for item in node.items]
        if all(found for found, _ in plain):
            return {
                "nodeType": "literal",
                "literalType": "List",
                "value": [value for _, value in plain],
            }
        return {"nodeType": "list", "items": self.all_of(node.items)}

    def negate(self, node: Negate) -> Json:
        found, value = _plain(node)
        return _literal(value) if found else _apply("-", [self.write(node.operand)])

    def lambda_(self, node: Lambda) -> Json:
        parameters = [{"varName": name} for name in node.parameters]
        return self.within(
            node.parameters,
            lambda: {"nodeType": "fnCreate", "params": parameters, "body": self.write(node.body)},
        )

    def let(self, node: Let) -> Json:
        value = self.write(node.value)
        body = self.within([node.name], lambda: self.write(node.body))
        return {"nodeType": "let", "varName": node.name, "value": value, "body": body}

    def declarations(
        self, declarations: tuple[Declaration, ...], finish: Callable[[list[Json]], Json]
    ) -> Json:
        written: list[Json] = []
        for declaration in declarations:
            shown = {
                "nodeType": "varDecl",
                "varName": declaration.name,
                "from": self.write(declaration.source),
            }
            self.bound.append(declaration.name)
            if declaration.test is not None:
                shown["where"] = self.write(declaration.test)
            written.append(shown)
        result = finish(written)
        del self.bound[len(self.bound) - len(declarations) :]
        return result

    def quantifier(self, node: Quantifier) -> Json:
        head = {"nodeType": "quantification", "quantifier": node.kind}
        return self.declarations(node.declarations, lambda found: {**head, "variables": found})

    def select(self, node: Select) -> Json:
        return self.declarations(
            node.declarations, lambda found: {"nodeType": "select", "variables": found}
        )

    def aggregate(self, node: Aggregate) -> Json:
        head = {"nodeType": "aggregate", "fnName": node.function}
        return self.declarations(
            node.declarations,
            lambda found: {**head, "value": self.write(node.value), "variables": found},
        )

    def chain(self, node: Chain) -> Json:
        steps = [
            {"label": step.label, "what": self.write(step.what)}
            | ({"when": self.test(step.when)} if step.when else {})
            for step in node.steps
        ]
        events, timestamp = self.write(node.events), self.write(node.timestamp)
        return {"nodeType": "chain", "events": events, "timestamp": timestamp, "steps": steps}

    def test(self, test: TimeTest) -> Json:
        match test:
            case Within(sign, amount, unit, direction, anchor):
                shown: Json = {
                    "kind": "within",
                    "sign": sign,
                    "amount": amount,
                    "unit": unit,
                    "direction": direction,
                }
                return {**shown, "time": self.write(anchor)}
            case Beside(direction, anchor):
                return {"kind": direction, "time": self.write(anchor)}
            case Between(low, high):
                return {"kind": "between", "low": self.write(low), "high": self.write(high)}
            case On(anchor):
                return {"kind": "on", "time": self.write(anchor)}
            case _:
                raise TypeError(test)


def _apply(function: str, parameters: list[Json]) -> Json:
    return {"nodeType": "fnApply", "fnName": function, "params": parameters}


def _lookup(name: str, of: Json) -> Json:
    return {"nodeType": "fieldLookup", "fieldName": name, "object": of}


def _literal(value: Any) -> Json:
    kind = _LITERAL_TYPES.get(type(value))
    return {"nodeType": "literal", **({"literalType": kind} if kind else {}), "value": value}


def _plain(node: Node) -> tuple[bool, Any]:
    """Return whether a node is a plain JSON value, and the value."""
    if isinstance(node, Literal):
        return True, node.value
    if isinstance(node, Negate) and isinstance(node.operand, Literal):
        value = node.operand.value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value:
            return True, -value
    return False, None


def _parameter(_writer: _Writer, node: Parameter) -> Json:
    level = {"level": -1} if node.position == 1 else {}
    return {"nodeType": "parameterReference", "position": node.position, **level}


def _up(_writer: _Writer, node: Up) -> Json:
    return _lookup(
        node.name, {"nodeType": "parameterReference", "position": 1, "level": node.levels}
    )


def _object(writer: _Writer, node: ObjectOf) -> Json:
    return {
        "nodeType": "object",
        "entries": [{"key": key, "value": writer.write(value)} for key, value in node.entries],
    }


_WRITE: dict[type[Node], Callable[[_Writer, Any], Json]] = {
    Literal: lambda _writer, node: _literal(node.value),
    ListOf: _Writer.list_of,
    ObjectOf: _object,
    Name: _Writer.name,
    Root: _Writer.name,
    Field: lambda writer, node: _lookup(node.name, writer.write(node.of)),
    Parameter: _parameter,
    Up: _up,
    Context: lambda _writer, node: {"nodeType": "contextReference", "reference": node.reference},
    Lambda: _Writer.lambda_,
    Call: lambda writer, node: _apply(node.function, writer.all_of(node.arguments)),
    Filter: lambda writer, node: _apply("filter", [writer.write(node.of), writer.write(node.test)]),
    Negate: _Writer.negate,
    Binary: lambda writer, node: _apply(
        node.sign, [writer.write(node.left), writer.write(node.right)]
    ),
    Logic: lambda writer, node: _apply(node.sign, writer.all_of(node.parts)),
    Not: lambda writer, node: _apply("not", [writer.write(node.operand)]),
    If: lambda writer, node: _apply("if", writer.all_of((node.test, node.then, node.otherwise))),
    Let: _Writer.let,
    Quantifier: _Writer.quantifier,
    Select: _Writer.select,
    Aggregate: _Writer.aggregate,
    TimeWord: lambda _writer, node: _apply(node.word, []),
    Period: lambda _writer, node: {"nodeType": "period", "which": node.which, "unit": node.unit},
    Occurs: lambda writer, node: {
        "nodeType": "occurs",
        "subject": writer.write(node.subject),
        "test": writer.test(node.test),
    },
    Chain: _Writer.chain,
}
