"""Compiled records of rules, formulas, constraints and offers, with references resolved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from sys import intern

from proffer.model.constraint import Constraint, ConstraintType
from proffer.model.content import Component
from proffer.model.offer import PersonalizedOffer
from proffer.pql import CompiledFormula, CompiledRule, Diagnostic, Environment, Schema
from proffer.pql.compile import load_rule
from proffer.pql.index.conjuncts import Conjunction
from proffer.pql.index.partial_eval import SplitFormula
from proffer.pql.index.rule_tests import RuleTests


class RuleEvaluator:
    """The evaluable part of a compiled rule, without its syntax trees.

    The function is loaded on first use: the index evaluates most rules as separate predicates.
    """

    __slots__ = ("_holds", "_source", "reads", "text")

    def __init__(self, rule: CompiledRule) -> None:
        self.text = rule.text
        self.reads = frozenset(map(intern, rule.reads))  # share path strings between rules
        self._source: tuple[str, str] | None = (rule.source, rule.name)
        self._holds: Callable[[Environment], bool] | None = None

    @property
    def holds(self) -> Callable[[Environment], bool]:
        """The rule as a function; see `CompiledRule.holds`."""
        if self._holds is None:
            assert self._source is not None
            self._holds = load_rule(*self._source)
            self._source = None
        return self._holds


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRule:
    """An eligibility rule with its evaluator.

    `compiled` is None where the text does not compile; the rule then counts as false (R33).
    `per_offer`: whether the rule reads `offer`, so that results may differ between offers.
    `conjunction` is the same rule as a conjunction of predicates, for the index. `tests` are its parts for
    the reasons of a trace; None where it does not compile.
    """

    id: str
    name: str
    etag: int
    instance_id: str
    compiled: RuleEvaluator | None
    per_offer: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    conjunction: Conjunction | None = field(default=None, compare=False, repr=False)
    tests: RuleTests | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundFormula:
    """A ranking formula with its evaluator.

    `compiled` is None where it does not compile; offers are then scored by priority (R33).
    `split` is the partially evaluated formula; None where it can only be evaluated as a whole.
    """

    id: str
    name: str
    etag: int
    instance_id: str
    compiled: CompiledFormula | None
    diagnostics: tuple[Diagnostic, ...] = ()
    split: SplitFormula | None = field(default=None, compare=False, repr=False)


RULE_TYPES = (ConstraintType.RULE, ConstraintType.RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundConstraint:
    """A constraint with its rules resolved.

    `missing` are the ids of rules the catalog lacks; they count as false. `conjunction` is the
    conjunction of all rules; None for audience constraints and for constraints that can never hold.
    """

    declared: Constraint
    rules: tuple[BoundRule, ...]
    missing: tuple[str, ...] = ()
    per_offer: bool = False
    conjunction: Conjunction | None = field(default=None, compare=False, repr=False)

    @property
    def type(self) -> ConstraintType:
        return self.declared.type


@dataclass(frozen=True, slots=True)
class BoundThreshold:
    """The formula that gives the maximum of a limit.

    `compiled` is None where the text does not compile; the offer is then excluded (R33).
    """

    compiled: CompiledFormula | None
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundOffer:
    """An offer with its bound constraint, and the schema by which its content compares values.

    `id_hash` is the 64-bit hash of the id from which tie-break keys are computed. `sort_key` orders
    offers by priority, highest first, then by id. `thresholds`: by the name of the limit.
    """

    offer: PersonalizedOffer
    constraint: BoundConstraint | None
    id_hash: int
    sort_key: tuple[int, str]
    schema: Schema
    thresholds: Mapping[str, BoundThreshold] = field(default_factory=dict)


def sort_key(offer: PersonalizedOffer) -> tuple[int, str]:
    """Return the sort key (−priority, id) of an offer."""
    return -offer.priority, offer.id


@dataclass(frozen=True, slots=True)
class Candidate:
    """An approved offer with a representation for the placement.

    `components` are those of the representation that the placement accepts. `formula` is the offer's
    own ranking formula; without one, its priority is the score unless the criterion has a formula.
    """

    bound_offer: BoundOffer
    components: tuple[Component, ...]
    formula: BoundFormula | None = None
