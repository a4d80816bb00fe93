"""Declared types in a resolved tree: what is compared or calculated is read as the schema declares it (R44).

The meaning of the operators themselves depends on values only; this module adds the conversions that come
from declarations, as `ReadAs` nodes and converted literals. Both are left out where they change no result:
a number literal compares a number as it is, a plain text is equal to an equal text only.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proffer.pql.check.inference import InferredType
from proffer.pql.check.types import ArrayType, Shape, Type
from proffer.pql.forms.printer import print_scalar
from proffer.pql.functions.registry import ValueKind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.syntax.nodes import (
    Aggregate,
    Binary,
    Call,
    Declaration,
    Filter,
    If,
    Lambda,
    ListOf,
    Literal,
    Logic,
    Negate,
    Node,
    Not,
    ReadAs,
    Reading,
    Step,
    TimeWord,
    map_children,
)
from proffer.pql.syntax.tokens import EXCHANGED_COMPARISONS
from proffer.pql.values.identity import ObjectKey
from proffer.pql.values.reading import is_plain_text
from proffer.pql.values.values import is_number, parse_boolean, parse_json_number

_READING_BY_SHAPE = {
    Shape.TEXT: Reading.TEXT,
    Shape.INTEGER: Reading.NUMBER,
    Shape.NUMBER: Reading.NUMBER,
    Shape.BOOLEAN: Reading.BOOLEAN,
    Shape.DATE: Reading.TIME,
    Shape.MOMENT: Reading.TIME,
}
_EQUALITIES = frozenset({"=", "!="})
_ARITHMETIC = frozenset("+-*/%")
_NUMERIC = frozenset({ValueKind.NUMBER, ValueKind.INTEGER, ValueKind.DOUBLE})
_NUMBERS = frozenset({Reading.NUMBER})
_AGGREGATED: Mapping[str, frozenset[Reading]] = {
    "sum": _NUMBERS,
    "average": _NUMBERS,
    "min": frozenset({Reading.NUMBER, Reading.TEXT}),
    "max": frozenset({Reading.NUMBER, Reading.TEXT}),
    "topN": frozenset({Reading.NUMBER, Reading.TEXT, Reading.TIME}),
    "bottomN": frozenset({Reading.NUMBER, Reading.TEXT, Reading.TIME}),
}
"""How aggregates read declared values; as they are otherwise. `min` and `max` return times as they are stored."""
_SET_TESTS = frozenset({"intersects", "subsetOf", "supersetOf"})
_DISTINCT_ITEMS = frozenset({"distinct", "intersection", "distinctCountWithNull"})


def reading_of(inferred: InferredType | None) -> Reading | None:
    """Return how a value of a type is read; None if its type is not declared or no scalar."""
    if inferred is None or not inferred.declared:
        return None
    type_ = inferred.type.item if isinstance(inferred.type, ArrayType) else inferred.type
    return _READING_BY_SHAPE.get(type_.shape) if type(type_) is Type else None


def candidates_of(node: Call) -> tuple[Node, ...]:
    """Return what `equals` or `notEqualTo` compares its subject with, without the flag of letter case."""
    candidates = node.arguments[1:]
    last = candidates[-1]
    has_flag = len(candidates) > 1 and isinstance(last, Literal) and isinstance(last.value, bool)
    return candidates[:-1] if has_flag else candidates


class DeclaredTypes:
    """Applies the declared types to one tree. `types`: the inferred type of every node of it."""

    def __init__(self, types: Mapping[ObjectKey, InferredType]) -> None:
        self._types = types

    def apply(self, node: Node) -> Node:
        """Return the tree of a value."""
        apply = _APPLY_BY_NODE.get(type(node))
        return map_children(node, self.apply) if apply is None else apply(self, node)

    def reading(self, node: Node) -> Reading | None:
        return reading_of(self._types.get(ObjectKey(node)))

    def scalar_reading(self, node: Node) -> Reading | None:
        inferred = self._types.get(ObjectKey(node))
        return None if inferred is not None and isinstance(inferred.type, ArrayType) else reading_of(inferred)

    # --- conditions

    def condition(self, node: Node) -> Node:
        """Return a node whose truth matters: a declared Boolean is read as one."""
        applied = self.apply(node)
        return ReadAs(applied, Reading.BOOLEAN) if self.scalar_reading(node) is Reading.BOOLEAN else applied

    def conditions(self, node: Logic | Not) -> Node:
        return map_children(node, self.condition)

    def choice(self, node: If) -> Node:
        return If(self.condition(node.test), self.apply(node.then), self.apply(node.otherwise), span=node.span)

    def filter(self, node: Filter) -> Node:
        return Filter(self.apply(node.of), self.item_condition(node.test), span=node.span)

    def declaration(self, node: Declaration) -> Node:
        test = node.test and self.condition(node.test)
        return Declaration(node.name, self.apply(node.source), test, span=node.span)

    def step(self, node: Step) -> Node:
        when: Any = node.when and self.apply(node.when)
        return Step(node.label, self.item_condition(node.what), when, span=node.span)

    def item_condition(self, item: Node) -> Node:
        assert isinstance(item, Lambda)
        return Lambda(item.parameters, self.condition(item.body), span=item.span)

    # --- operators

    def binary(self, node: Binary) -> Node:
        left, right = self.apply(node.left), self.apply(node.right)
        if node.sign in _ARITHMETIC:
            left, right = self.as_number(node.left, left), self.as_number(node.right, right)
        elif node.sign in ("in", "notIn"):
            left, right = self.member(node.left, left, node.right, right)
        elif node.sign != "like":
            return self.comparison(node, left, right)
        return Binary(node.sign, left, right, span=node.span)

    def negate(self, node: Negate) -> Node:
        return Negate(self.as_number(node.operand, self.apply(node.operand)), span=node.span)

    def as_number(self, node: Node, applied: Node) -> Node:
        return ReadAs(applied, Reading.NUMBER) if self.scalar_reading(node) is Reading.NUMBER else applied

    def comparison(self, node: Binary, left: Node, right: Node) -> Node:
        left_reading, right_reading = self.scalar_reading(node.left), self.scalar_reading(node.right)
        equality = node.sign in _EQUALITIES
        if left_reading is None and right_reading is not None:
            right, left = _pair(right_reading, right, left, equality=equality)
        elif left_reading is not None:
            left, right = _pair(left_reading, left, right, operand_reading=right_reading, equality=equality)
        if _is_scalar_constant(left) and not _is_scalar_constant(right):  # a subject comes before its constant
            return Binary(EXCHANGED_COMPARISONS[node.sign], right, left, span=node.span)
        return Binary(node.sign, left, right, span=node.span)

    # --- members of arrays

    def member(self, value: Node, applied: Node, array: Node, applied_array: Node) -> tuple[Node, Node]:
        """Return a value and the array in which it is looked for."""
        if isinstance(array, ListOf) and isinstance(applied_array, ListOf):
            applied, items = self.candidates(value, applied, array.items, applied_array.items)
            return applied, ListOf(items, span=array.span)
        reading, item_reading = self.scalar_reading(value), self.reading(array)
        if reading is not None:
            return _pair(reading, applied, applied_array, operand_reading=item_reading)
        if item_reading is not None:
            applied_array, applied = _pair(item_reading, applied_array, applied)
        return applied, applied_array

    def candidates(
        self, value: Node, applied: Node, candidates: Sequence[Node], applied_candidates: Sequence[Node]
    ) -> tuple[Node, tuple[Node, ...]]:
        """Return a value and the values that it is compared with, as by `=`."""
        reading = self.scalar_reading(value)
        readings = [self.scalar_reading(candidate) for candidate in candidates]
        if reading is None:
            same = readings[0] if len(set(readings)) == 1 else None
            return _read(same, applied), tuple(map(_read, readings, applied_candidates))
        pairs = [
            _pair(reading, applied, candidate, operand_reading=candidate_reading)
            for candidate_reading, candidate in zip(readings, applied_candidates, strict=True)
        ]
        is_read = any(isinstance(first, ReadAs) for first, _ in pairs)
        return _read(reading if is_read else None, applied), tuple([candidate for _, candidate in pairs])

    # --- functions

    def call(self, node: Call) -> Node:
        arguments = [self.apply(argument) for argument in node.arguments]
        function = STDLIB[node.function]
        if node.function in _AGGREGATED:
            self.read_aggregated(node, arguments)
        elif node.function in ("equals", "notEqualTo"):
            self.read_candidates(node, arguments)
        elif node.function == "includes":
            arguments[1], arguments[0] = self.member(node.arguments[1], arguments[1], node.arguments[0], arguments[0])
        elif node.function in _SET_TESTS:
            self.read_sets(node, arguments)
        elif node.function in _DISTINCT_ITEMS:
            self.read_items(node, arguments)
        else:
            for position, argument in enumerate(node.arguments):
                if function.kind_of(position) in _NUMERIC:
                    arguments[position] = self.as_number(argument, arguments[position])
        if node.function == "filter":
            arguments[1] = self.item_condition(node.arguments[1])
        return Call(node.function, tuple(arguments), span=node.span)

    def read_aggregated(self, node: Call, arguments: list[Node]) -> None:
        """Read the values that are aggregated: those of the item expression, or else the items."""
        readings = _AGGREGATED[node.function]
        item = node.arguments[1] if len(node.arguments) > 1 else None
        applied = arguments[1] if item is not None else None
        if isinstance(item, Lambda) and isinstance(applied, Lambda):
            reading = self.reading(item.body)
            if reading in readings:
                arguments[1] = Lambda(item.parameters, _read(reading, applied.body), span=item.span)
        elif item is None and (reading := self.reading(node.arguments[0])) in readings:
            arguments[0] = _read(reading, arguments[0])
        if node.function in ("topN", "bottomN"):
            arguments[2] = self.as_number(node.arguments[2], arguments[2])

    def read_candidates(self, node: Call, arguments: list[Node]) -> None:
        candidates = candidates_of(node)
        end = 1 + len(candidates)
        arguments[0], arguments[1:end] = self.candidates(node.arguments[0], arguments[0], candidates, arguments[1:end])

    def read_sets(self, node: Call, arguments: list[Node]) -> None:
        readings = [self.reading(argument) for argument in node.arguments]
        reading = readings[0] or readings[1]
        if reading is None:
            return
        for position, argument in enumerate(arguments):
            if isinstance(argument, ListOf):
                arguments[position] = ListOf(
                    tuple([_convert(reading, item) for item in argument.items]), span=argument.span
                )
            else:
                arguments[position] = _read(readings[position] or reading, argument)

    def read_items(self, node: Call, arguments: list[Node]) -> None:
        """Read declared numbers; all other items are returned as they are."""
        for position, argument in enumerate(node.arguments):
            if self.reading(argument) is Reading.NUMBER:
                arguments[position] = ReadAs(arguments[position], Reading.NUMERIC)

    def aggregate(self, node: Aggregate) -> Node:
        declarations: Any = tuple(map(self.apply, node.declarations))
        reading, value = self.reading(node.value), self.apply(node.value)
        if reading in _AGGREGATED.get(node.function, ()):
            value = _read(reading, value)
        return Aggregate(node.function, value, declarations, span=node.span)


def _pair(
    reading: Reading, subject: Node, operand: Node, *, operand_reading: Reading | None = None, equality: bool = True
) -> tuple[Node, Node]:
    """Return a declared value and what it is compared with, read so that the result is that of the types."""
    if operand_reading is not None:
        return _read(reading, subject), _read(operand_reading, operand)
    if not equality and reading is Reading.TEXT and not _is_text(operand):
        return _read(reading, subject), operand  # numerically, if both are numbers
    if reading is Reading.TIME and _is_time(operand):  # a text is read as a time beside one
        return subject, operand
    operand = _convert(reading, operand)
    if isinstance(operand, Literal) and (
        operand.value is None
        or (reading is Reading.NUMBER and is_number(operand.value))
        or (reading is Reading.TEXT and equality and is_plain_text(operand.value))
    ):
        return subject, operand
    return _read(reading, subject), operand


def _read(reading: Reading | None, node: Node) -> Node:
    return node if reading is None or isinstance(node, ReadAs) else ReadAs(node, reading, span=node.span)


def _convert(reading: Reading, node: Node) -> Node:
    """Convert a literal to the declared type of the other side, if possible; read any other value as it."""
    sign, literal = ("-", node.operand) if isinstance(node, Negate) else ("", node)
    value: Any = literal.value if isinstance(literal, Literal) else None
    if not isinstance(literal, Literal) or (sign and not is_number(value)):
        return node if _has_own_type(node) and reading is not Reading.BOOLEAN else _read(reading, node)
    value = -value if sign else value
    converted: Any = None
    match reading:
        case Reading.NUMBER if isinstance(value, str):
            converted = parse_json_number(value)
        case Reading.TEXT if value is not None and not isinstance(value, str):
            converted = sign + (literal.spelling or print_scalar(literal.value))
        case Reading.BOOLEAN if isinstance(value, str):
            converted = parse_boolean(value)
        case Reading.BOOLEAN if is_number(value) and value in (0, 1):
            converted = bool(value)
    return node if converted is None else Literal(converted, span=node.span)


def _has_own_type(node: Node) -> bool:
    """Return whether an expression always gives a number, a text or a time, whatever the fields hold."""
    match node:
        case TimeWord() | Negate():
            return True
        case Binary(sign, _, _):
            return sign in _ARITHMETIC
        case Call(function, _):
            return STDLIB[function].returns not in (ValueKind.ANY, ValueKind.ARRAY, ValueKind.MAP)
        case _:
            return False


def _is_time(node: Node) -> bool:
    return isinstance(node, TimeWord) or (
        isinstance(node, Call) and STDLIB[node.function].returns in (ValueKind.TIME, ValueKind.LOCAL)
    )


def _is_text(node: Node) -> bool:
    return isinstance(node, Literal) and isinstance(node.value, str)


def _is_scalar_constant(node: Node) -> bool:
    return isinstance(node, Literal) or (isinstance(node, Negate) and isinstance(node.operand, Literal))


_APPLY_BY_NODE: dict[type[Node], Callable[..., Node]] = {
    Logic: DeclaredTypes.conditions,
    Not: DeclaredTypes.conditions,
    If: DeclaredTypes.choice,
    Filter: DeclaredTypes.filter,
    Declaration: DeclaredTypes.declaration,
    Step: DeclaredTypes.step,
    Binary: DeclaredTypes.binary,
    Negate: DeclaredTypes.negate,
    Call: DeclaredTypes.call,
    Aggregate: DeclaredTypes.aggregate,
}
