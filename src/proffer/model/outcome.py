"""Result of a decision: for each scope either options or a fallback."""

from collections.abc import Mapping

from msgspec import Struct, field

from proffer.model.capping import CapKey
from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.trace import ScopeTrace


class OfferChoice(Struct, frozen=True, kw_only=True):
    """An option: offer and component. `score` is set only by a formula or model (R20).

    `formula` is the id of the formula that scored it, if any. `criterion` is the index of the criterion
    among those of the decision.
    """

    offer: PersonalizedOffer
    component: Component
    score: float | None = None
    formula: str | None = None
    criterion: int | None = None


class FallbackChoice(Struct, frozen=True, kw_only=True):
    """The fallback offer. `component` is None without content (R11) or if its template fails."""

    offer: FallbackOffer
    component: Component | None


class Proposition(Struct, frozen=True, kw_only=True):
    """The result of one scope: `options`, best first, or `fallback` if there are none.

    `dropped` counts excluded candidates in decisions that record it; see `ScopeAnswer`.
    """

    decision: Decision
    placement: Placement
    options: tuple[OfferChoice, ...]
    fallback: FallbackChoice | None
    dropped: tuple[int, ...] = ()


class UnknownScope(Struct, frozen=True, kw_only=True):
    """A scope that cannot be decided (R8), and the reason."""

    decision: str
    placement: str
    reason: str


class DecisionOutcome(Struct, frozen=True, kw_only=True):
    """One result per scope, in request order. `ineligible` counts distinct ineligible offers.

    `formula_errors` counts, by ranking formula, how often it gave no number and the priority was used
    (R18); `content_errors`, by offer, how often its content could not be rendered (R23);
    `threshold_errors`, by offer, how many of its limits have a threshold that gave no whole number.
    `thresholds`: those by which the options were given. `trace` has one entry per scope, in the same order,
    and is None unless requested.
    """

    scopes: tuple[Proposition | UnknownScope, ...]
    ineligible: int
    formula_errors: Mapping[str, int] = field(default_factory=dict)
    content_errors: Mapping[str, int] = field(default_factory=dict)
    threshold_errors: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[CapKey, int] = field(default_factory=dict)
    trace: tuple[ScopeTrace, ...] | None = None

    @property
    def unknown_scopes(self) -> tuple[UnknownScope, ...]:
        return tuple([scope for scope in self.scopes if isinstance(scope, UnknownScope)])
