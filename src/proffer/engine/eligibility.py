"""Eligibility of offers for one request. Each rule is evaluated at most once per request."""

from collections.abc import Mapping, Sequence
from typing import Any

from proffer.engine.compiled import BoundConstraint, BoundRule
from proffer.engine.index.audiences import MEMBER, qualifies, status_of
from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool
from proffer.model.constraint import ConstraintType
from proffer.model.offer import PersonalizedOffer
from proffer.pql import Environment


class _Answers:
    """Results for one pool: offers that may still pass, and those with unevaluated residuals."""

    __slots__ = ("open", "passing", "said")

    def __init__(self, passing: Bits, open_: Bits) -> None:
        self.passing = passing
        self.open = open_
        self.said: dict[int, bool] = {}


class Eligibility:
    """Evaluates constraints for one request and memoises the results.

    `eligible` evaluates many offers by the index; `holds` and `failure_reason` evaluate the rules of
    one.
    """

    __slots__ = ("_answers", "_environment", "_said")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._said: dict[str, bool] = {}
        self._answers: dict[Pool, _Answers] = {}

    def among(self, pool: Pool, offers: Bits) -> Bits:
        """Return those of the offers whose own constraints hold."""
        answers = self._answers.get(pool)
        if answers is None:
            index = pool.index
            answers = _Answers(index.passing(self._environment), index.asked)
            self._answers[pool] = answers
        passing = answers.passing & offers
        asked = passing & answers.open
        if asked:
            self._ask(pool, asked, answers)
            passing = answers.passing & offers
        return passing

    def _ask(self, pool: Pool, offers: Bits, answers: _Answers) -> None:
        """Evaluate the residual predicates of these unresolved offers."""
        positions = pool.positions(offers)
        failing = pool.index.failing(positions, self._environment, answers.said)
        answers.passing = pool.without(answers.passing, failing)
        answers.open ^= offers

    def meant(self, constraint: BoundConstraint | None, pool: Pool, offers: Bits) -> Bits:
        """Return those of the offers for which the criterion's constraint holds."""
        if constraint is None or not constraint.per_offer:
            return offers if self.holds(constraint) else 0
        failing = [
            position
            for position in pool.positions(offers)
            if not self.holds(constraint, pool.offers[position].offer)
        ]
        return pool.without(offers, failing)

    def holds(
        self, constraint: BoundConstraint | None, offer: PersonalizedOffer | None = None
    ) -> bool:
        """Return whether the constraint holds for this profile; None always holds.

        Missing rules and rules that do not compile are false. Only rules that read `offer` are
        evaluated again for each offer.
        """
        if constraint is None:
            return True
        if constraint.per_offer and offer is not None:
            return self._holds_for(constraint, offer)
        kind = constraint.declared.type
        if kind is ConstraintType.RULE or kind is ConstraintType.RULES:
            if constraint.missing or not constraint.rules:
                return False
            for rule in constraint.rules:  # noqa: SIM110 - hot path: no generator
                if not self.rule_holds(rule):
                    return False
            return True
        return qualifies(self._environment.profile, constraint.declared)

    def _holds_for(self, constraint: BoundConstraint, offer: PersonalizedOffer) -> bool:
        self._environment.offer = offer.attributes
        said, self._said = self._said, {}
        held = self.holds(constraint)
        self._said = said
        self._environment.offer = None
        return held

    def rule_holds(self, rule: BoundRule) -> bool:
        said = self._said.get(rule.id)
        if said is None:
            said = rule.compiled is not None and rule.compiled.holds(self._environment)
            self._said[rule.id] = said
        return said

    def why_not(self, constraint: BoundConstraint, offer: PersonalizedOffer) -> str:
        """Return why `holds` is false for this offer, with the relevant values."""
        if not constraint.per_offer:
            return self._why_not(constraint)
        self._environment.offer = offer.attributes
        said, self._said = self._said, {}
        words = self._why_not(constraint)
        self._said = said
        self._environment.offer = None
        return words

    def _why_not(self, constraint: BoundConstraint) -> str:
        if constraint.missing:
            return f"rule `{constraint.missing[0]}` is not in the library"
        for rule in constraint.rules:
            if not self.rule_holds(rule):
                return self._why_rule(rule)
        named = ", ".join(f"`{a.namespace}/{a.id}`" for a in constraint.declared.audiences)
        if constraint.type is ConstraintType.ANY_AUDIENCE:
            return f"the profile is in none of the audiences {named}"
        profile = self._environment.profile
        outside = [
            audience
            for audience in constraint.declared.audiences
            if status_of(profile, audience) not in MEMBER
        ]
        if outside:
            return f"the profile is not in audience `{outside[0].namespace}/{outside[0].id}`"
        return "the constraint names nobody"

    def _why_rule(self, rule: BoundRule) -> str:
        if rule.compiled is None:
            problem = rule.diagnostics[0].message if rule.diagnostics else "unknown"
            return f"rule `{rule.name}` does not compile and counts as false: {problem}"
        values = ", ".join(
            f"{path} {self._shown(path)}" for path in sorted(rule.compiled.reads)[:8]
        )
        return f"rule `{rule.name}` does not hold" + (f": {values}" if values else "")

    def _shown(self, path: str) -> str:
        """Describe the value at a path for a sentence: `= "FR"`, or `is missing`."""
        root, _, rest = path.partition(".")
        found: Any
        if root == "profile":
            found = self._environment.profile
        elif root == "offer":
            found = self._environment.offer
        else:
            return "was read"
        for step in rest.split(".") if rest else ():
            if isinstance(found, Sequence) and not isinstance(found, str):
                break  # the path continues in each item of the list
            found = found.get(step) if isinstance(found, Mapping) else None
        if found is None:
            return "is missing"
        if isinstance(found, bool):
            return f"= {str(found).lower()}"
        if isinstance(found, str):
            return f'= "{found[:60]}"'
        if isinstance(found, int | float):
            return f"= {found}"
        return "is a list or an object"
