"""The front door: text to a rule or formula that can be evaluated, or to what is wrong with it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from proffer.pql.checked import CheckedRule
from proffer.pql.checker import check, check_size
from proffer.pql.diagnostics import Diagnostic, NotPql
from proffer.pql.environment import Environment
from proffer.pql.lexer import tokenize
from proffer.pql.limits import RuleKind
from proffer.pql.parser import parse
from proffer.pql.printer import print_tree
from proffer.pql.source import Source
from proffer.pql.to_python import NAMESPACE, to_python

RULE_ROOTS = ("profile", "xEvent")
FORMULA_ROOTS = ("profile", "xEvent", "offer")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A text that is not a rule: every finding, errors among them."""

    text: str
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """A rule that can be asked. `holds(env)` is true or false and never raises, for any environment."""

    text: str
    checked: CheckedRule
    source: str
    holds: Callable[[Environment], bool]

    @property
    def canonical(self) -> str:
        return print_tree(self.checked.tree)

    @property
    def reads(self) -> frozenset[str]:
        return self.checked.reads

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self.checked.diagnostics


@dataclass(frozen=True, slots=True, eq=False)
class CompiledFormula:
    """A formula that can be asked. `score(env)` is a finite number, or None for a fault (PQL D-RANK)."""

    text: str
    checked: CheckedRule
    source: str
    score: Callable[[Environment], int | float | None]

    @property
    def canonical(self) -> str:
        return print_tree(self.checked.tree)

    @property
    def reads(self) -> frozenset[str]:
        return self.checked.reads

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self.checked.diagnostics


def compile_rule(
    text: str | Mapping[str, Any], *, roots: Collection[str] = RULE_ROOTS, name: str = "rule"
) -> CompiledRule | Rejected:
    """A rule from its text. Never raises."""
    checked, findings, written = _checked(text, roots, RuleKind.RULE, name)
    if checked is None:
        return Rejected(written, tuple(findings))
    source = to_python(checked)
    return CompiledRule(written, checked, source, load(source, name, _is_false))


def compile_formula(
    text: str | Mapping[str, Any], *, roots: Collection[str] = FORMULA_ROOTS, name: str = "formula"
) -> CompiledFormula | Rejected:
    """A ranking formula from its text. Never raises."""
    checked, findings, written = _checked(text, roots, RuleKind.FORMULA, name)
    if checked is None:
        return Rejected(written, tuple(findings))
    source = to_python(checked)
    return CompiledFormula(written, checked, source, load(source, name, _no_score))


def check_text(
    text: str | Mapping[str, Any],
    *,
    roots: Collection[str] | None = None,
    kind: str = "rule",
    saving: bool = False,
) -> list[Diagnostic]:
    """Everything there is to say about a text, in reading order. Never raises."""
    del saving
    rule_kind = RuleKind(kind)
    default = RULE_ROOTS if rule_kind is RuleKind.RULE else FORMULA_ROOTS
    return _checked(text, default if roots is None else roots, rule_kind, kind)[1]


def _checked(
    text: str | Mapping[str, Any], roots: Collection[str], kind: RuleKind, name: str
) -> tuple[CheckedRule | None, list[Diagnostic], str]:
    if not isinstance(text, str):
        return (
            None,
            [Diagnostic("pql.json-unsupported", "rules in pql/json form are not supported yet")],
            "",
        )
    source = Source(text, name)
    findings = check_size(source, kind)
    if findings:
        return None, findings, text
    try:
        tree = parse(source)
    except NotPql as refused:
        wrong = tokenize(text)[1]
        return None, wrong or [refused.diagnostic], text
    return *check(tree, source, roots=roots, kind=kind), text


def load(
    source: str, name: str, failed: Callable[[Exception], Any]
) -> Callable[[Environment], Any]:
    """The function that generated source defines, with the net under it."""
    space = {**NAMESPACE, "score": _score, "failed": failed}
    exec(compile(source, f"<pql {name}>", "exec"), space)  # noqa: S102 - written by to_python, from no text of the rule
    made: Callable[[Environment], Any] = space["rule"]
    return made


def _is_false(_fault: Exception) -> bool:
    return False


def _no_score(_fault: Exception) -> None:
    return None


def _score(value: Any) -> int | float | None:
    """A value as a score: a number that can be compared with others (PQL D-RANK)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if isfinite(value) else None
    except OverflowError:
        return None
