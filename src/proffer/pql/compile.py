"""Entry point: compile text to an executable rule or formula, or to diagnostics."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from proffer.pql.check.checker import FORMULA_ROOTS, RULE_ROOTS, CheckOptions, check, check_size
from proffer.pql.check.schema import XDM, Schema
from proffer.pql.checked import CheckedRule
from proffer.pql.forms.from_json import from_json, unwrap
from proffer.pql.forms.printer import print_tree
from proffer.pql.forms.to_json import to_json
from proffer.pql.run.to_python import NAMESPACE, to_python
from proffer.pql.syntax.diagnostics import Diagnostic, NotPql, sort_diagnostics
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import Root, walk
from proffer.pql.syntax.parser import parse
from proffer.pql.syntax.source import SourceText
from proffer.pql.values.environment import Environment

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CompileErrors:
    """Diagnostics of a text that cannot be compiled, errors first."""

    text: str
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, eq=False)
class _Compiled:
    """Base of compiled rules and formulas. `text`: the input; for a pql/json tree its canonical text.

    `source`: the generated Python. It is loaded on first use, because most rules of a large library are
    never evaluated on their own and ten thousand functions take 30 MB.
    """

    text: str
    checked: CheckedRule
    source: str
    name: str

    @property
    def canonical(self) -> str:
        return print_tree(self.checked.tree)

    @property
    def as_json(self) -> dict[str, Any]:
        """The rule as a pql/json tree."""
        roots = {node.name for node in walk(self.checked.core) if isinstance(node, Root)}
        return to_json(self.checked.tree, roots)

    @property
    def reads(self) -> frozenset[str]:
        """Field paths used, with roots: `profile.person.age`, `context:<reference>.weather`."""
        return self.checked.reads

    @property
    def type(self) -> str:
        """Name of the inferred value type: `Boolean`, `number`, `array`, `any value`…"""
        return self.checked.type

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Warnings; a rule with errors is `CompileErrors`."""
        return self.checked.diagnostics


@dataclass(frozen=True, eq=False)
class CompiledRule(_Compiled):
    """An executable rule. `holds(env)` returns a bool and never raises."""

    @cached_property
    def holds(self) -> Callable[[Environment], bool]:
        return load_rule(self.source, self.name)


@dataclass(frozen=True, eq=False)
class CompiledFormula(_Compiled):
    """An executable formula. `score(env)` returns a finite number, or None on a fault (PQL D-RANK)."""

    @cached_property
    def score(self) -> Callable[[Environment], int | float | None]:
        return load(self.source, self.name, FORMULA_NAMESPACE)


def compile_rule(
    text: str | Tree,
    *,
    roots: Collection[str] = RULE_ROOTS,
    name: str = "rule",
    schema: Schema = XDM,
    saving: bool = False,
    event_history: bool = False,
) -> CompiledRule | CompileErrors:
    """Compile a rule from text or a pql/json tree. Never raises."""
    options = CheckOptions(kind=RuleKind.RULE, roots=roots, schema=schema, saving=saving, event_history=event_history)
    outcome = _compile(text, options, name)
    return outcome if isinstance(outcome, CompileErrors) else CompiledRule(*outcome)


def compile_formula(
    text: str | Tree,
    *,
    roots: Collection[str] = FORMULA_ROOTS,
    name: str = "formula",
    schema: Schema = XDM,
    saving: bool = False,
) -> CompiledFormula | CompileErrors:
    """Compile a ranking formula from text or a pql/json tree. Never raises."""
    options = CheckOptions(kind=RuleKind.FORMULA, roots=roots, schema=schema, saving=saving)
    outcome = _compile(text, options, name)
    return outcome if isinstance(outcome, CompileErrors) else CompiledFormula(*outcome)


def read_condition(condition: Mapping[str, Any]) -> str | Tree | CompileErrors:
    """Return the text or tree in `{type, format, value}`. Keys may have the prefix `xdm:`. Never raises."""
    try:
        return unwrap(condition)
    except NotPql as error:
        return CompileErrors("", error.diagnostics)


def check_text(
    text: str | Tree,
    *,
    roots: Collection[str] | None = None,
    kind: str = "rule",
    saving: bool = False,
    schema: Schema = XDM,
) -> list[Diagnostic]:
    """Return all diagnostics of a text, by position. Raises only `ValueError` for an unknown kind."""
    rule_kind = RuleKind(kind)
    default_roots = RULE_ROOTS if rule_kind is RuleKind.RULE else FORMULA_ROOTS
    options = CheckOptions(
        kind=rule_kind,
        roots=default_roots if roots is None else roots,
        schema=schema,
        saving=saving,
    )
    return _check(text, options)[1]


_TOO_DEEP = Diagnostic("pql.too-deep", "this rule is nested too deeply", "split it into several rules")


def _compile(text: str | Tree, options: CheckOptions, name: str) -> CompileErrors | tuple[str, CheckedRule, str, str]:
    checked, findings, source_text = _check(text, options)
    if checked is None:
        return CompileErrors(source_text, tuple(sorted(findings, key=lambda diagnostic: not diagnostic.is_error)))
    try:
        return source_text, checked, to_python(checked), name
    except RecursionError:
        return CompileErrors(source_text, (_TOO_DEEP,))


def _check(text: str | Tree, options: CheckOptions) -> tuple[CheckedRule | None, list[Diagnostic], str]:
    """Return the checked rule or None, all findings, and the text. Spans of findings refer to this text."""
    try:
        return _parse_and_check(text, options)
    except RecursionError:
        # The nesting limits fit the stack, unless the caller is itself deep in a recursion.
        return None, [_TOO_DEEP], text if isinstance(text, str) else ""


def _parse_and_check(text: str | Tree, options: CheckOptions) -> tuple[CheckedRule | None, list[Diagnostic], str]:
    if not isinstance(text, str):
        # Print the tree first, so that the spans of findings refer to a text.
        try:
            text = print_tree(from_json(text))
        except NotPql as error:
            return None, list(error.diagnostics), ""
    source = SourceText(text)
    findings = check_size(source, options.kind)
    if findings:
        return None, findings, text
    try:
        tree = parse(source)
    except NotPql as error:
        return None, sort_diagnostics(list(error.diagnostics)), text
    return *check(tree, source, options), text


# --- generated source


def load(source: str, name: str, namespace: dict[str, Any]) -> Callable[[Environment], Any]:
    """Return the function defined by generated source. The shared `namespace` is not modified."""
    local_names: dict[str, Any] = {}
    exec(compile(source, f"<pql {name!r}>", "exec"), namespace, local_names)  # noqa: S102 - from to_python only
    function: Callable[[Environment], Any] = local_names["rule"]
    return function


def load_rule(source: str, name: str) -> Callable[[Environment], bool]:
    """Return the function defined by the source of a compiled rule."""
    return load(source, name, RULE_NAMESPACE)


def _score(value: Any) -> int | float | None:
    """Return the value if a finite number, else None (PQL D-RANK)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if isfinite(value) else None
    except OverflowError:
        return None


def _return_false(_fault: Exception) -> bool:
    return False


def _return_none(_fault: Exception) -> None:
    return None


RULE_NAMESPACE: dict[str, Any] = {**NAMESPACE, "failed": _return_false}
FORMULA_NAMESPACE: dict[str, Any] = {**NAMESPACE, "failed": _return_none, "score": _score}
VALUE_NAMESPACE: dict[str, Any] = {**FORMULA_NAMESPACE, "score": lambda value: value}
"""The globals of a formula, but the result is any value."""
