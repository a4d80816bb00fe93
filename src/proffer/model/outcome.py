"""What a decision gives back: for each scope options or a fallback, never both, never neither."""

from collections.abc import Mapping

from msgspec import Struct, field

from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.trace import ScopeTrace


class OfferChoice(Struct, frozen=True, kw_only=True):
    """An option: the offer and its component; `score` only where a formula or model gave one (R20).

    `formula` is the id of the formula that scored it, where there is one.
    """

    offer: PersonalizedOffer
    component: Component
    score: float | None = None
    formula: str | None = None


class FallbackChoice(Struct, frozen=True, kw_only=True):
    """The fallback offer. `component` is None where content lacks (R11) or its template is at fault."""

    offer: FallbackOffer
    component: Component | None


class Proposition(Struct, frozen=True, kw_only=True):
    """The answer for one scope: `options`, best first, or a `fallback` when there is none."""

    decision: Decision
    placement: Placement
    options: tuple[OfferChoice, ...]
    fallback: FallbackChoice | None


class UnknownScope(Struct, frozen=True, kw_only=True):
    """A scope nobody can answer (R8), and why."""

    decision: str
    placement: str
    reason: str


class DecisionOutcome(Struct, frozen=True, kw_only=True):
    """One answer per scope, in the order asked. `ineligible` counts distinct offers whose constraint did not hold.

    `faults` counts, by ranking formula, how often one gave no number and the priority stood in (R18);
    `content_faults`, by offer, how often its content could not be made (R23).
    `trace` has one entry per scope, in the same order, and is None unless it was asked for.
    """

    scopes: tuple[Proposition | UnknownScope, ...]
    ineligible: int
    faults: Mapping[str, int] = field(default_factory=dict)
    content_faults: Mapping[str, int] = field(default_factory=dict)
    trace: tuple[ScopeTrace, ...] | None = None

    @property
    def unknown(self) -> tuple[UnknownScope, ...]:
        return tuple([scope for scope in self.scopes if isinstance(scope, UnknownScope)])
