"""The tests of a rule: its comparisons and other parts without `and`, `or` and `not`, with their results.

They say why a rule does not hold. Only positions in the text and shared conditions are stored; everything
else is computed when a rule fails and somebody asks.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from proffer.pql.checked import CheckedRule
from proffer.pql.forms.printer import print_tree
from proffer.pql.index.conditions import holds_for
from proffer.pql.index.predicates import Condition, condition_on, subject_name, subject_of_test
from proffer.pql.run.interpret import Interpreter
from proffer.pql.syntax.limits import MAX_VISITS
from proffer.pql.syntax.nodes import (
    Binary,
    Call,
    Constant,
    Context,
    Field,
    Literal,
    Logic,
    Node,
    Not,
    Root,
    without_reading,
)
from proffer.pql.syntax.tokens import EXCHANGED_COMPARISONS
from proffer.pql.values.environment import Environment

Shape: TypeAlias = "int | tuple[str, tuple[Shape, ...]]"
"""How tests are combined: number of a test, `~number` if negated, or (`and` or `or`, parts)."""
_EXCHANGED = {**EXCHANGED_COMPARISONS, "in": "contains"}
_CACHE_SIZE = 4_096
"""Number of lists of names that are shared."""
_MAX_SHOWN_CHARACTERS = 60
_COMPARISONS = frozenset({*_EXCHANGED, "notIn", "like"})


class RuleTests:
    """The tests of one rule, in the order of its text.

    `spans`: start and end of each test in the text, one after the other; −1 where there is none. `shape`
    is None if all tests must hold. `names`: for each part, the name of the subject of which an index has
    the result; empty for a part that is no single test, is negated, or shares its subject with a part that
    has no other subject. A rule that is too deep has no tests.
    """

    __slots__ = ("conditions", "names", "shape", "spans", "text")

    def __init__(
        self, text: str, spans: tuple[int, ...], conditions: tuple[Condition, ...], shape: "Shape | None"
    ) -> None:
        self.text, self.spans, self.conditions, self.shape = text, spans, conditions, shape
        subjects = [subject_name(without_reading(condition.subject)) for condition in conditions]
        counts: Counter[str] = Counter()
        for part in self.parts:
            part_subjects = {subjects[place] for place in _places(part)}
            if len(part_subjects) == 1:  # a table of several subjects says nothing of each
                counts.update(part_subjects)
        self.names = _shared_names(
            tuple(
                conditions[part].name if isinstance(part, int) and part >= 0 and counts[subjects[part]] == 1 else ""
                for part in self.parts
            )
        )

    @property
    def parts(self) -> "Sequence[Shape]":
        """The parts that must all hold."""
        shape = self.shape
        if shape is None:
            return range(len(self.conditions))
        return shape[1] if isinstance(shape, tuple) and shape[0] == "and" else (shape,)


@lru_cache(maxsize=_CACHE_SIZE)
def _shared_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return one object for equal names: many rules test the same fields."""
    return names


def _places(shape: Shape) -> Iterator[int]:
    """Yield the numbers of the tests of a shape."""
    if isinstance(shape, int):
        yield ~shape if shape < 0 else shape
    else:
        for part in shape[1]:
            yield from _places(part)


def rule_tests(rule: CheckedRule, text: str) -> RuleTests:
    """Return the tests of a rule; none of a rule that is too deep for the stack."""
    leaves: list[Node] = []
    try:
        shape = _shape_of(rule.core, leaves, negated=False)
        must_all_hold = shape == 0 or shape == ("and", tuple(range(len(leaves))))
        return RuleTests(
            text,
            tuple([place for leaf in leaves for place in _span_of(leaf, text)]),
            tuple([condition_on(subject_of_test(leaf) or leaf, leaf) for leaf in leaves]),
            None if must_all_hold else shape,
        )
    except RecursionError:
        return RuleTests(text, (), (), None)


def _shape_of(node: Node, leaves: list[Node], *, negated: bool) -> Shape:
    match node:
        case Not(operand):
            return _shape_of(operand, leaves, negated=not negated)
        case Logic(sign, parts):
            shapes = [_shape_of(part, leaves, negated=negated) for part in parts]
            combined = "and" if (sign == "and") is not negated else "or"
            flat: list[Shape] = []
            for shape in shapes:
                flat += shape[1] if isinstance(shape, tuple) and shape[0] == combined else (shape,)
            return combined, tuple(flat)
        case _:
            leaves.append(node)
            return ~(len(leaves) - 1) if negated else len(leaves) - 1


def _span_of(leaf: Node, text: str) -> tuple[int, int]:
    """Return the span of a test, with the brackets that belong to its operands."""
    start, end = leaf.span
    if start < 0 or not {"(", ")"} & {*text[start:end]}:
        return start, end
    depth, lowest, quote, escaped = 0, 0, "", False
    for char in text[start:end]:
        if quote:
            escaped, was_escaped = char == "\\" and not escaped, escaped
            quote = "" if char == quote and not was_escaped else quote
        elif char in "\"'":
            quote = char
        elif char in "()":
            depth += 1 if char == "(" else -1
            lowest = min(lowest, depth)
    for _ in range(-lowest):
        start = max(text.rfind("(", 0, start), 0)
    for _ in range(depth - lowest):
        end = (text.find(")", end) + 1) or end
    return start, end


class RuleTestResult(Struct, frozen=True, omit_defaults=True, gc=False):
    """One test of a rule with its result for one request.

    `source` is the test as the rule spells it, at `span`. `field` is the path that it reads, without
    `profile`, `operator` a comparison sign, the name of a function or `is true`, and `wanted` what the field
    is compared with. `value` is that of the field, or of what is compared; it is `missing`, or not shown
    (lists and objects). In a `negated` test `holds` is what makes the rule false. `branch` is set in an
    `or`: its place among the parts of the rule, and that of the alternative; both from 1.
    """

    source: str
    holds: bool
    span: tuple[int, int] | UnsetType = UNSET
    field: str | UnsetType = UNSET
    operator: str | UnsetType = UNSET
    wanted: Any = UNSET
    value: Any = UNSET
    missing: bool = False
    negated: bool = False
    branch: tuple[int, int] | UnsetType = UNSET


FailuresBySubject: TypeAlias = Mapping[str, bytes]
"""Name of a subject → byte for each position of an index: 1 where a predicate on the subject fails."""
NOT_INDEXED: FailuresBySubject = MappingProxyType({})
"""The failures where no index covers the rule."""


class RuleFailures(Struct, gc=False):
    """The tests that make a rule false, evaluated when they are first read.

    `failing` are the results of an index, in which the rule is at `position`. If no test makes the rule
    false, but a fault in a part that does not decide its result, the whole rule is the test.
    """

    tests: RuleTests
    evaluator: "RuleTestEvaluator"
    failing: FailuresBySubject = NOT_INDEXED
    position: int = 0
    _results: list[RuleTestResult] | None = None

    def results(self) -> list[RuleTestResult]:
        if self._results is None:
            text = self.tests.text
            self._results = self.evaluator.failures(self.tests, self.failing, self.position) or [
                RuleTestResult(text, False, (0, len(text)))
            ]
        return self._results


class _Operands(Struct, frozen=True, gc=False):
    """What a test compares, as it is shown: the field's value, and a comparand that is no constant."""

    value: Any
    missing: bool
    comparand: Any


class RuleTestEvaluator:
    """Evaluates single tests for one request; results are memoised by test and by field."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._values: dict[str, Any] = {}
        self._results: dict[Condition, bool] = {}
        self._operands: dict[str, _Operands] = {}

    def value(self, name: str, subject: Node) -> Any:
        """Return the value of a subject with this name; `FAULT` if it has none."""
        value = self._values.get(name, UNSET)
        if value is UNSET:
            value = self._values[name] = self._evaluate(subject)
        return value

    def holds(self, condition: Condition) -> bool | None:
        """Return the result of a test; None for a fault, which makes its rule false."""
        result = self._results.get(condition)
        if result is None:
            value = self.value(condition.name, condition.subject)
            if value is FAULT:
                return None
            try:
                result = all(holds_for(tree, value) for tree in condition.trees)
            except Exception:  # noqa: BLE001 - a fault
                return None
            self._results[condition] = result
        return result

    def result(
        self,
        tests: RuleTests,
        place: int,
        holds: bool = False,
        negated: bool = False,
        branch: tuple[int, int] | UnsetType = UNSET,
    ) -> RuleTestResult:
        """Return the result of a test with its words and values."""
        condition = tests.conditions[place]
        words = condition.words or _words_of(condition)
        operands = self._operands.get(condition.name) or self._operands_of(condition, words)
        start, end = tests.spans[2 * place], tests.spans[2 * place + 1]
        return RuleTestResult(
            print_tree(condition.subject) if start < 0 else tests.text[start:end],
            holds,
            UNSET if start < 0 else (start, end),
            words.field_text,
            words.operator,
            words.wanted if words.comparand is None else operands.comparand,
            operands.value,
            operands.missing,
            negated,
            branch,
        )

    def _operands_of(self, condition: Condition, words: "_Words") -> _Operands:
        value = FAULT if words.field is None else self._evaluate(words.field)
        comparand = UNSET if words.comparand is None else _shown(self._evaluate(words.comparand))
        operands = self._operands[condition.name] = _Operands(_shown(value), value is None, comparand)
        return operands

    def failures(
        self, tests: RuleTests, failing: FailuresBySubject = NOT_INDEXED, position: int = 0
    ) -> list[RuleTestResult]:
        """Return the tests that make a rule false; none if it holds.

        Of an `and` these are all that fail, of an `or` those of each alternative. `failing`: see
        `RuleFailures`.
        """
        results: list[RuleTestResult] = []
        for number, (part, name) in enumerate(zip(tests.parts, tests.names, strict=True), 1):
            flags = failing.get(name)
            if flags is None:
                results += self._failures_of(tests, part, number, None) or ()
            elif flags[position]:
                assert isinstance(part, int)
                results.append(self.result(tests, part))
        return results

    def _failures_of(
        self, tests: RuleTests, shape: Shape, number: int, branch: int | None
    ) -> list[RuleTestResult] | None:
        """Return the failing tests of a part; None if it holds."""
        if isinstance(shape, int):
            negated = shape < 0
            place = ~shape if negated else shape
            holds = self.holds(tests.conditions[place])
            if holds is not None and holds is not negated:
                return None
            alternative = UNSET if branch is None else (number, branch)
            return [self.result(tests, place, bool(holds), negated, alternative)]
        sign, parts = shape
        failures: list[RuleTestResult] = []
        for place, part in enumerate(parts, 1):
            inner = self._failures_of(tests, part, number, place if sign == "or" and branch is None else branch)
            if inner is not None:
                failures += inner
            elif sign == "or":
                return None
        return failures or None

    def _evaluate(self, node: Node) -> Any:
        self._environment.left = MAX_VISITS
        try:
            return Interpreter(self._environment).value(node)
        except Exception:  # noqa: BLE001 - a fault
            return FAULT


FAULT: Any = object()
"""Instead of the value of a part that cannot be evaluated."""


# --- words of a test


class _Words(Struct, frozen=True):
    """Field, operator and constant of a test, as far as it has them; `comparand` instead of a constant."""

    field: Node | None = None
    operator: str | UnsetType = UNSET
    wanted: Any = UNSET
    comparand: Node | None = None
    field_text: str | UnsetType = UNSET


def _words_of(condition: Condition) -> _Words:
    """Return the words of a test, which are kept as long as the condition."""
    field, operator, wanted, comparand = _find_words(condition)
    if isinstance(wanted, list):
        wanted = [_shown(item) for item in wanted]
    elif wanted is not UNSET:
        wanted = _shown(wanted)
    field_text = print_tree(field).removeprefix("profile.") if field is not None and _is_path(field) else UNSET
    words = _Words(field, operator, wanted, comparand, field_text)
    object.__setattr__(condition, "words", words)
    return words


_Found: TypeAlias = tuple[Node | None, str | UnsetType, Any, Node | None]
"""Field, operator, constant and comparand of a test."""


def _find_words(condition: Condition) -> _Found:
    (tree,) = condition.trees
    subject = without_reading(condition.subject)
    match tree:
        case Binary(sign, _, Literal(value) | Constant(value)):
            return subject, sign, value, None
        case Call(name, _):
            return subject, name, UNSET, None
    match subject:
        case Binary(sign, left, right) if sign in _COMPARISONS:
            left, right = without_reading(left), without_reading(right)
            if isinstance(right, Literal | Constant):
                return left, sign, right.value, None
            if isinstance(left, Literal | Constant) and sign in _EXCHANGED:
                return right, _EXCHANGED[sign], left.value, None
            return left, sign, UNSET, right
        case Call(name, (first, *rest)) if _is_path(field := without_reading(first)):
            constants = [part.value for part in map(without_reading, rest) if isinstance(part, Literal | Constant)]
            if not constants or len(constants) < len(rest):
                return field, name, UNSET, None
            return field, name, constants[0] if len(constants) == 1 else constants, None
        case _ if _is_path(subject):
            return subject, "is true", UNSET, None
        case _:
            return None, UNSET, UNSET, None


def _shown(value: Any) -> Any:
    """Return what is shown of a value: scalars, long texts cut; UNSET for others."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_SHOWN_CHARACTERS else value[:_MAX_SHOWN_CHARACTERS] + "…"
    if isinstance(value, bool | int | float):
        return value
    return str(value) if isinstance(value, date) else UNSET


def _is_path(node: Node) -> bool:
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Root | Context)
