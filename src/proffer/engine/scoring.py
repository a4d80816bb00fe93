"""Scoring of offers by ranking formula, or by priority (spec 8.1, R18)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from proffer.engine.compiled import BoundFormula
from proffer.engine.formula_table import OfferTerms
from proffer.pql import Environment
from proffer.pql.index.partial_eval import SplitFormula, Values

if TYPE_CHECKING:
    from proffer.pql.columns.score_columns import VectorizedFormula


class OfferScorer:
    """Scores offers for one request.

    `faults`: formula id → number of offers for which it returned no number.
    """

    __slots__ = ("_environment", "_values_by_formula", "faults")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._values_by_formula: dict[str, Values | None] = {}
        self.faults: dict[str, int] = {}

    def score(self, table: OfferTerms, positions: Sequence[int], *, count_faults: bool = True) -> list[float]:
        """Return the score of each offer; its priority where the formula gives no finite number.

        Pass `count_faults=False` for offers scored only for a trace.
        """
        formula, offers = table.formula, table.pool.offers
        raw_scores = self._raw_scores(table, positions)
        fault_count = raw_scores.count(None)
        if not fault_count:
            return cast("list[float]", raw_scores)
        scores = [
            offers[position].offer.priority if score is None else score
            for position, score in zip(positions, raw_scores, strict=True)
        ]
        if count_faults:
            self.faults[formula.id] = self.faults.get(formula.id, 0) + fault_count
        return scores

    def _raw_scores(self, table: OfferTerms, positions: Sequence[int]) -> list[float | None]:
        split = table.formula.split
        request_values = None if split is None else self._request_values(table.formula)
        if split is None or request_values is None:
            return [self._score_whole(table, position) for position in positions]
        if table.vectorized is not None and len(positions) > table.pool.max_scalar_offers:
            scores = self._score_vectorized(table, table.vectorized, request_values, positions)
            if scores is not None:
                return scores
        return self._score_each(table, split, request_values, positions)

    def _score_vectorized(
        self,
        table: OfferTerms,
        vectorized: "VectorizedFormula",
        request_values: Values,
        positions: Sequence[int],
    ) -> list[float | None] | None:
        """Score with arrays, and offers arrays cannot decide one by one; None if arrays cannot be used."""
        result = vectorized.score_list(self._environment, request_values, table.row_numbers(positions))
        if result is None:
            return None
        scores, undecided = result
        for index in undecided:
            scores[index] = self._score_whole(table, positions[index])
        return scores

    def _score_each(
        self,
        table: OfferTerms,
        split: SplitFormula,
        request_values: Values,
        positions: Sequence[int],
    ) -> list[float | None]:
        evaluate, rows, environment = split.eval_residual, table.rows, self._environment
        scores: list[float | None] = []
        for position in positions:
            row = rows[position]
            if row is None:
                scores.append(self._score_whole(table, position))
                continue
            try:
                scores.append(evaluate(environment, request_values, row))
            except Exception:  # noqa: BLE001 - the whole formula decides whether it is a fault
                scores.append(self._score_whole(table, position))
        return scores

    def _request_values(self, formula: BoundFormula) -> Values | None:
        """Return the request-only terms, evaluated on first use; None if that raises."""
        if formula.id not in self._values_by_formula:
            assert formula.split is not None
            try:
                self._values_by_formula[formula.id] = formula.split.eval_request(self._environment)
            except Exception:  # noqa: BLE001 - no fault if the branch is not taken
                self._values_by_formula[formula.id] = None
        return self._values_by_formula[formula.id]

    def _score_whole(self, table: OfferTerms, position: int) -> float | None:
        compiled = table.formula.compiled
        assert compiled is not None
        self._environment.offer = table.pool.offers[position].offer.attributes
        score = compiled.score(self._environment)
        self._environment.offer = None
        return score
