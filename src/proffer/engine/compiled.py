"""Rules, formulas, constraints and offers as the engine holds them: looked up, compiled and taken apart."""

from collections.abc import Callable
from dataclasses import dataclass, field
from sys import intern

from proffer.model.constraint import Constraint, ConstraintType
from proffer.model.content import Component
from proffer.model.offer import PersonalizedOffer
from proffer.pql import CompiledFormula, CompiledRule, Diagnostic, Environment
from proffer.pql.compile import load_rule
from proffer.pql.index.conjuncts import Apart
from proffer.pql.index.partial_eval import Split


class Asked:
    """What a decision needs of a compiled rule: its trees would take more room than all else.

    It becomes a function when it is first asked: those of large libraries are mostly asked in parts.
    """

    __slots__ = ("_holds", "_rule", "reads", "text")

    def __init__(self, rule: CompiledRule) -> None:
        self.text = rule.text
        self.reads = frozenset(map(intern, rule.reads))  # what many rules read alike is one text
        self._rule: tuple[str, str] | None = (rule.source, rule.name)
        self._holds: Callable[[Environment], bool] | None = None

    @property
    def holds(self) -> Callable[[Environment], bool]:
        """As `CompiledRule.holds`."""
        if self._holds is None:
            assert self._rule is not None
            self._holds = load_rule(*self._rule)
            self._rule = None
        return self._holds


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRule:
    """A rule as the engine holds it. `compiled` is None where the text does not compile: it counts as false (R33).

    `apart` is the same rule in parts, for the index.
    """

    id: str
    name: str
    etag: int
    instance_id: str
    compiled: Asked | None
    diagnostics: tuple[Diagnostic, ...] = ()
    apart: Apart | None = field(default=None, compare=False, repr=False)

    @property
    def per_offer(self) -> bool:
        """True when what the rule says may differ from offer to offer: it reads `offer`."""
        return self.compiled is not None and any(
            path == "offer" or path.startswith("offer.") for path in self.compiled.reads
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundFormula:
    """A ranking formula as the engine holds it. Where it does not compile, offers score their priority (R33).

    `split` is the same formula in its parts; None where it has to be asked whole.
    """

    id: str
    name: str
    etag: int
    instance_id: str
    compiled: CompiledFormula | None
    diagnostics: tuple[Diagnostic, ...] = ()
    split: Split | None = field(default=None, compare=False, repr=False)


BY_RULE = (ConstraintType.RULE, ConstraintType.RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundConstraint:
    """A constraint with its rules looked up. `missing` names those the catalogue lacks: they count as false.

    `apart` is what all its rules together come to; None where a constraint is not by rules, or can never
    hold.
    """

    declared: Constraint
    rules: tuple[BoundRule, ...]
    missing: tuple[str, ...] = ()
    per_offer: bool = False
    apart: Apart | None = field(default=None, compare=False, repr=False)

    @property
    def type(self) -> ConstraintType:
        return self.declared.type


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableOffer:
    """An offer with its constraint bound, and the number that its draws among ties are made from.

    `place` puts offers into the order of their priorities, highest first, equals by id.
    """

    offer: PersonalizedOffer
    constraint: BoundConstraint | None
    draw: int
    place: tuple[int, str]


def place_of(offer: PersonalizedOffer) -> tuple[int, str]:
    """What puts an offer into its `place`."""
    return -offer.priority, offer.id


@dataclass(frozen=True, slots=True)
class Candidate:
    """An approved offer with a representation for the placement, and the components of it that may stand there.

    `formula` is what scores it here: its criterion's, else its own; without one, its priority does.
    """

    playable: PlayableOffer
    components: tuple[Component, ...]
    formula: BoundFormula | None = None
