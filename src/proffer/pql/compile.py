"""The front door: text to a rule or formula that can be evaluated, or to what is wrong with it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from proffer.pql.check.checker import FORMULA_ROOTS, RULE_ROOTS, Terms, check, check_size
from proffer.pql.check.schema import XDM, Schema
from proffer.pql.checked import CheckedRule
from proffer.pql.forms.from_json import from_json, unwrap
from proffer.pql.forms.printer import print_tree
from proffer.pql.forms.to_json import to_json
from proffer.pql.run.to_python import NAMESPACE, to_python
from proffer.pql.syntax.diagnostics import Diagnostic, NotPql
from proffer.pql.syntax.lexer import tokenize
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import Root, walk
from proffer.pql.syntax.parser import parse
from proffer.pql.syntax.source import Source
from proffer.pql.values.environment import Environment

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A text that is not a rule: every finding, the errors first."""

    text: str
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, eq=False)
class _Compiled:
    """What rules and formulas have in common. `text` is as given; for a tree it is the canonical text.

    `source` is the Python they are. It becomes a function when somebody first asks: most rules of a large
    library are never asked by themselves, and ten thousand functions are thirty megabytes.
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
        """The pql/json tree."""
        roots = {node.name for node in walk(self.checked.core) if isinstance(node, Root)}
        return to_json(self.checked.tree, roots)

    @property
    def reads(self) -> frozenset[str]:
        """The field paths used, with their roots: `profile.person.age`, `context:<reference>.weather`."""
        return self.checked.reads

    @property
    def type(self) -> str:
        """What the value is, as far as it is known: `Boolean`, `number`, `array`, `any value`…"""
        return self.checked.type

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Warnings; a rule with errors is `Rejected`."""
        return self.checked.diagnostics


@dataclass(frozen=True, eq=False)
class CompiledRule(_Compiled):
    """A rule that can be asked. `holds(env)` is true or false and never raises, for any environment."""

    @cached_property
    def holds(self) -> Callable[[Environment], bool]:
        return load_rule(self.source, self.name)


@dataclass(frozen=True, eq=False)
class CompiledFormula(_Compiled):
    """A formula that can be asked. `score(env)` is a finite number, or None for a fault (PQL D-RANK)."""

    @cached_property
    def score(self) -> Callable[[Environment], int | float | None]:
        return load(self.source, self.name, FORMULA_SPACE)


def compile_rule(
    text: str | Tree,
    *,
    roots: Collection[str] = RULE_ROOTS,
    name: str = "rule",
    schema: Schema = XDM,
    saving: bool = False,
) -> CompiledRule | Rejected:
    """A rule from its text or its pql/json tree. Never raises."""
    terms = Terms(kind=RuleKind.RULE, roots=roots, schema=schema, saving=saving)
    made = _made(text, terms, name)
    return made if isinstance(made, Rejected) else CompiledRule(*made)


def compile_formula(
    text: str | Tree,
    *,
    roots: Collection[str] = FORMULA_ROOTS,
    name: str = "formula",
    schema: Schema = XDM,
    saving: bool = False,
) -> CompiledFormula | Rejected:
    """A ranking formula from its text or its pql/json tree. Never raises."""
    terms = Terms(kind=RuleKind.FORMULA, roots=roots, schema=schema, saving=saving)
    made = _made(text, terms, name)
    return made if isinstance(made, Rejected) else CompiledFormula(*made)


def read_condition(condition: Mapping[str, Any]) -> str | Tree | Rejected:
    """The text or tree in a condition `{type, format, value}`, keys with or without `xdm:`. Never raises."""
    try:
        return unwrap(condition)
    except NotPql as refused:
        return Rejected("", (refused.diagnostic,))


def check_text(
    text: str | Tree,
    *,
    roots: Collection[str] | None = None,
    kind: str = "rule",
    saving: bool = False,
    schema: Schema = XDM,
) -> list[Diagnostic]:
    """Everything there is to say about a text, in reading order. Never raises, for a known kind."""
    rule_kind = RuleKind(kind)
    default = RULE_ROOTS if rule_kind is RuleKind.RULE else FORMULA_ROOTS
    terms = Terms(
        kind=rule_kind, roots=default if roots is None else roots, schema=schema, saving=saving
    )
    return _checked(text, terms, kind)[1]


_NO_ROOM = Diagnostic(
    "pql.too-deep", "there is no room left to read this rule", "split it into several rules"
)


def _made(
    text: str | Tree, terms: Terms, name: str
) -> Rejected | tuple[str, CheckedRule, str, str]:
    checked, findings, written = _checked(text, terms, name)
    if checked is None:
        return Rejected(written, tuple(sorted(findings, key=lambda found: not found.is_error)))
    try:
        return written, checked, to_python(checked), name
    except RecursionError:
        return Rejected(written, (_NO_ROOM,))


def _checked(
    text: str | Tree, terms: Terms, name: str
) -> tuple[CheckedRule | None, list[Diagnostic], str]:
    """The checked rule or None, every finding, and the text that they point into."""
    try:
        return _read(text, terms, name)
    except RecursionError:
        # The limits of nesting leave room; a caller who is deep down himself may have used it up.
        return None, [_NO_ROOM], text if isinstance(text, str) else ""


def _read(
    text: str | Tree, terms: Terms, name: str
) -> tuple[CheckedRule | None, list[Diagnostic], str]:
    if not isinstance(text, str):
        # A tree is written out first, so that findings have a text to point at.
        try:
            text = print_tree(from_json(text))
        except NotPql as refused:
            return None, [refused.diagnostic], ""
    source = Source(text, name)
    findings = check_size(source, terms.kind)
    if findings:
        return None, findings, text
    try:
        tree = parse(source)
    except NotPql as refused:
        wrong = tokenize(text)[1]
        return None, wrong or [refused.diagnostic], text
    return *check(tree, source, terms), text


# --- generated source


def load(source: str, name: str, space: dict[str, Any]) -> Callable[[Environment], Any]:
    """The function that generated source defines. Many share one space of names, which stays as it is."""
    own: dict[str, Any] = {}
    exec(compile(source, f"<pql {name!r}>", "exec"), space, own)  # noqa: S102 - written by to_python, from no text of the rule
    made: Callable[[Environment], Any] = own["rule"]
    return made


def load_rule(source: str, name: str) -> Callable[[Environment], bool]:
    """The function that the source of a compiled rule defines."""
    return load(source, name, RULE_SPACE)


def _score(value: Any) -> int | float | None:
    """A value as a score: a number that can be compared with others (PQL D-RANK)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if isfinite(value) else None
    except OverflowError:
        return None


def _is_false(_fault: Exception) -> bool:
    return False


def _no_score(_fault: Exception) -> None:
    return None


RULE_SPACE: dict[str, Any] = {**NAMESPACE, "failed": _is_false}
FORMULA_SPACE: dict[str, Any] = {**NAMESPACE, "failed": _no_score, "score": _score}
