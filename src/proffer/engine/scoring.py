"""Scoring: what a formula makes of each offer for this customer, or the offer's priority (spec 8.1, R18)."""

from proffer.engine.bound import BoundFormula
from proffer.model.offer import PersonalizedOffer
from proffer.pql import Environment


class Scores:
    """Scores offers for one request.

    `faults` counts, by formula, how often one gave no number, while `counting`: what is looked at for a
    trace alone changes nothing.
    """

    __slots__ = ("_environment", "counting", "faults")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.faults: dict[str, int] = {}
        self.counting = True

    def of(self, offer: PersonalizedOffer, formula: BoundFormula | None) -> float:
        """The formula's number, or the priority where there is none or it gives null, NaN, infinity or no number."""
        if formula is None or formula.compiled is None:
            return offer.priority
        self._environment.offer = offer.attributes
        score = formula.compiled.score(self._environment)
        self._environment.offer = None
        if score is None:
            self._fault(formula)
            return offer.priority
        return score

    def _fault(self, formula: BoundFormula) -> None:
        if self.counting:
            self.faults[formula.id] = self.faults.get(formula.id, 0) + 1
