"""Eligibility of offers for one request. Rules that do not read `offer` are evaluated at most once."""

from proffer.engine.compiled import BoundConstraint, BoundRule
from proffer.engine.index.audiences import qualifies
from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool
from proffer.model.constraint import ConstraintType
from proffer.model.offer import PersonalizedOffer
from proffer.pql import Environment


class _PoolResults:
    """Results for one pool: offers that may still pass, and those with unevaluated residuals."""

    __slots__ = ("passing", "residual_results", "unresolved")

    def __init__(self, passing: Bits, unresolved: Bits) -> None:
        self.passing = passing
        self.unresolved = unresolved
        self.residual_results: dict[int, bool] = {}


class Eligibility:
    """Evaluates constraints for one request and memoises the results.

    `eligible` evaluates many offers by the index, `holds` the rules of one. Results of rules that read
    `offer` are not memoised.
    """

    __slots__ = ("_environment", "_results_by_pool", "_rule_results")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._rule_results: dict[str, bool] = {}
        self._results_by_pool: dict[Pool, _PoolResults] = {}

    def eligible(self, pool: Pool, offers: Bits) -> Bits:
        """Return those of the offers whose own constraints hold."""
        results = self._results_by_pool.get(pool)
        if results is None:
            index = pool.index
            results = _PoolResults(index.lookup(self._environment), index.residual)
            self._results_by_pool[pool] = results
        passing = results.passing & offers
        unresolved = passing & results.unresolved
        if unresolved:
            self._evaluate_residuals(pool, unresolved, results)
            passing = results.passing & offers
        return passing

    def _evaluate_residuals(self, pool: Pool, offers: Bits, results: _PoolResults) -> None:
        """Evaluate the residual predicates of these unresolved offers."""
        positions = pool.positions(offers)
        failing = pool.index.residual_failures(positions, self._environment, results.residual_results)
        results.passing = pool.without(results.passing, failing)
        results.unresolved ^= offers

    def eligible_for_criterion(self, constraint: BoundConstraint | None, pool: Pool, offers: Bits) -> Bits:
        """Return those of the offers for which the criterion's constraint holds."""
        if constraint is None or not constraint.per_offer:
            return offers if self.holds(constraint) else 0
        failing = [
            position for position in pool.positions(offers) if not self.holds(constraint, pool.offers[position].offer)
        ]
        return pool.without(offers, failing)

    def holds(self, constraint: BoundConstraint | None, offer: PersonalizedOffer | None = None) -> bool:
        """Return whether the constraint holds for this profile; None always holds.

        Missing rules and rules that do not compile are false. Only rules that read `offer` are
        evaluated again for each offer.
        """
        if constraint is None:
            return True
        if constraint.per_offer and offer is not None:
            return self._holds_for(constraint, offer)
        constraint_type = constraint.declared.type
        if constraint_type is ConstraintType.RULE or constraint_type is ConstraintType.RULES:
            if constraint.missing or not constraint.rules:
                return False
            for rule in constraint.rules:  # noqa: SIM110 - hot path: no generator
                if not self.rule_holds(rule):
                    return False
            return True
        return qualifies(self._environment.profile, constraint.declared)

    def _holds_for(self, constraint: BoundConstraint, offer: PersonalizedOffer) -> bool:
        self._environment.offer = offer.attributes
        result = self.holds(constraint)
        self._environment.offer = None
        return result

    def rule_holds(self, rule: BoundRule) -> bool:
        result = self._rule_results.get(rule.id)
        if result is None:
            result = rule.compiled is not None and rule.compiled.holds(self._environment)
            if not rule.per_offer:
                self._rule_results[rule.id] = result
        return result
