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
    return _JsonWriter(roots).write(tree)


class _JsonWriter:
    def __init__(self, roots: Collection[str]) -> None:
        self.roots = roots
        self.bound_names: list[str] = []

    def write(self, node: Node) -> Json:
        return _WRITE_BY_NODE[type(node)](self, node)

    def write_all(self, nodes: tuple[Node, ...]) -> list[Json]:
        return [self.write(node) for node in nodes]

    def write_within(self, names: Collection[str], write: Callable[[], Json]) -> Json:
        self.bound_names += names
        result = write()
        del self.bound_names[len(self.bound_names) - len(names) :]
        return result

    def name(self, node: Name | Root) -> Json:
        name = node.name
        if name not in self.bound_names:
            if name == "profile":
                return {"nodeType": "literal", "literalType": "XDMObject", "value": "profile"}
            if name == "xEvent":
                events = {"nodeType": "literal", "literalType": "String", "value": EVENTS}
                return _apply("modelInstances", [events])
            if name not in self.roots:
                return _lookup(name, {"nodeType": "parameterReference", "position": 1})
        return {"nodeType": "varRef", "varName": name}

    def list_of(self, node: ListOf) -> Json:
        plain_items = [_plain_value(item) for item in node.items]
        if all(is_plain for is_plain, _ in plain_items):
            return {
                "nodeType": "literal",
                "literalType": "List",
                "value": [value for _, value in plain_items],
            }
        return {"nodeType": "list", "items": self.write_all(node.items)}

    def negate(self, node: Negate) -> Json:
        is_plain, value = _plain_value(node)
        return _literal(value) if is_plain else _apply("-", [self.write(node.operand)])

    def lambda_(self, node: Lambda) -> Json:
        parameters = [{"varName": name} for name in node.parameters]
        return self.write_within(
            node.parameters,
            lambda: {"nodeType": "fnCreate", "params": parameters, "body": self.write(node.body)},
        )

    def let(self, node: Let) -> Json:
        value = self.write(node.value)
        body = self.write_within([node.name], lambda: self.write(node.body))
        return {"nodeType": "let", "varName": node.name, "value": value, "body": body}

    def declarations(self, declarations: tuple[Declaration, ...], finish: Callable[[list[Json]], Json]) -> Json:
        documents: list[Json] = []
        for declaration in declarations:
            document = {
                "nodeType": "varDecl",
                "varName": declaration.name,
                "from": self.write(declaration.source),
            }
            self.bound_names.append(declaration.name)
            if declaration.test is not None:
                document["where"] = self.write(declaration.test)
            documents.append(document)
        result = finish(documents)
        del self.bound_names[len(self.bound_names) - len(declarations) :]
        return result

    def quantifier(self, node: Quantifier) -> Json:
        head = {"nodeType": "quantification", "quantifier": node.kind}
        return self.declarations(node.declarations, lambda variables: {**head, "variables": variables})

    def select(self, node: Select) -> Json:
        return self.declarations(node.declarations, lambda variables: {"nodeType": "select", "variables": variables})

    def aggregate(self, node: Aggregate) -> Json:
        head = {"nodeType": "aggregate", "fnName": node.function}
        return self.declarations(
            node.declarations,
            lambda variables: {**head, "value": self.write(node.value), "variables": variables},
        )

    def chain(self, node: Chain) -> Json:
        steps = [
            {"label": step.label, "what": self.write(step.what)}
            | ({"when": self.time_test(step.when)} if step.when else {})
            for step in node.steps
        ]
        events, timestamp = self.write(node.events), self.write(node.timestamp)
        return {"nodeType": "chain", "events": events, "timestamp": timestamp, "steps": steps}

    def time_test(self, test: TimeTest) -> Json:
        match test:
            case Within(sign, amount, unit, direction, anchor):
                document: Json = {
                    "kind": "within",
                    "sign": sign,
                    "amount": amount,
                    "unit": unit,
                    "direction": direction,
                }
                return {**document, "time": self.write(anchor)}
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


def _plain_value(node: Node) -> tuple[bool, Any]:
    """Return whether a node is a plain JSON value, and the value."""
    if isinstance(node, Literal):
        return True, node.value
    if isinstance(node, Negate) and isinstance(node.operand, Literal):
        value = node.operand.value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value:
            return True, -value
    return False, None


def _parameter(_writer: _JsonWriter, node: Parameter) -> Json:
    level = {"level": -1} if node.position == 1 else {}
    return {"nodeType": "parameterReference", "position": node.position, **level}


def _up(_writer: _JsonWriter, node: Up) -> Json:
    return _lookup(node.name, {"nodeType": "parameterReference", "position": 1, "level": node.levels})


def _object(writer: _JsonWriter, node: ObjectOf) -> Json:
    return {
        "nodeType": "object",
        "entries": [{"key": key, "value": writer.write(value)} for key, value in node.entries],
    }


_WRITE_BY_NODE: dict[type[Node], Callable[[_JsonWriter, Any], Json]] = {
    Literal: lambda _writer, node: _literal(node.value),
    ListOf: _JsonWriter.list_of,
    ObjectOf: _object,
    Name: _JsonWriter.name,
    Root: _JsonWriter.name,
    Field: lambda writer, node: _lookup(node.name, writer.write(node.of)),
    Parameter: _parameter,
    Up: _up,
    Context: lambda _writer, node: {"nodeType": "contextReference", "reference": node.reference},
    Lambda: _JsonWriter.lambda_,
    Call: lambda writer, node: _apply(node.function, writer.write_all(node.arguments)),
    Filter: lambda writer, node: _apply("filter", [writer.write(node.of), writer.write(node.test)]),
    Negate: _JsonWriter.negate,
    Binary: lambda writer, node: _apply(node.sign, [writer.write(node.left), writer.write(node.right)]),
    Logic: lambda writer, node: _apply(node.sign, writer.write_all(node.parts)),
    Not: lambda writer, node: _apply("not", [writer.write(node.operand)]),
    If: lambda writer, node: _apply("if", writer.write_all((node.test, node.then, node.otherwise))),
    Let: _JsonWriter.let,
    Quantifier: _JsonWriter.quantifier,
    Select: _JsonWriter.select,
    Aggregate: _JsonWriter.aggregate,
    TimeWord: lambda _writer, node: _apply(node.word, []),
    Period: lambda _writer, node: {"nodeType": "period", "which": node.which, "unit": node.unit},
    Occurs: lambda writer, node: {
        "nodeType": "occurs",
        "subject": writer.write(node.subject),
        "test": writer.time_test(node.test),
    },
    Chain: _JsonWriter.chain,
}
