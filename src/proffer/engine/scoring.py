"""Scoring of offers by ranking formula, or by priority (spec 8.1, R18)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from proffer.engine.compiled import BoundFormula
from proffer.engine.formula_table import Table
from proffer.pql import Environment
from proffer.pql.index.partial_eval import Split, Values

if TYPE_CHECKING:
    from proffer.pql.columns.score_columns import Bulk


class Scores:
    """Scores offers for one request.

    `faults`: formula id → number of offers for which it returned no number.
    """

    __slots__ = ("_environment", "_of_request", "faults")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._of_request: dict[str, Values | None] = {}
        self.faults: dict[str, int] = {}

    def of(
        self, table: Table, positions: Sequence[int], *, count_faults: bool = True
    ) -> list[float]:
        """Return the score of each offer; its priority where the formula gives no finite number.

        Pass `count_faults=False` for offers scored only for a trace.
        """
        formula, offers = table.formula, table.pool.offers
        asked = self._asked(table, positions)
        faults = asked.count(None)
        if not faults:
            return cast("list[float]", asked)
        scores = [
            offers[position].offer.priority if score is None else score
            for position, score in zip(positions, asked, strict=True)
        ]
        if count_faults:
            self.faults[formula.id] = self.faults.get(formula.id, 0) + faults
        return scores

    def _asked(self, table: Table, positions: Sequence[int]) -> list[float | None]:
        split = table.formula.split
        request = None if split is None else self._request(table.formula)
        if split is None or request is None:
            return [self._whole(table, position) for position in positions]
        if table.bulk is not None and len(positions) > table.pool.few:
            found = self._in_bulk(table, table.bulk, request, positions)
            if found is not None:
                return found
        return self._one_by_one(table, split, request, positions)

    def _in_bulk(
        self, table: Table, bulk: "Bulk", request: Values, positions: Sequence[int]
    ) -> list[float | None] | None:
        """Score with arrays, and offers arrays cannot decide one by one; None if arrays cannot be used."""
        found = bulk.listed(self._environment, request, table.numbers(positions))
        if found is None:
            return None
        scores, doubtful = found
        for at in doubtful:
            scores[at] = self._whole(table, positions[at])
        return scores

    def _one_by_one(
        self, table: Table, split: Split, request: Values, positions: Sequence[int]
    ) -> list[float | None]:
        rest, rows, environment = split.rest, table.rows, self._environment
        found: list[float | None] = []
        for position in positions:
            row = rows[position]
            if row is None:
                found.append(self._whole(table, position))
                continue
            try:
                found.append(rest(environment, request, row))
            except Exception:  # noqa: BLE001 - the whole formula decides whether it is a fault
                found.append(self._whole(table, position))
        return found

    def _request(self, formula: BoundFormula) -> Values | None:
        """Return the request-only terms, evaluated on first use; None if that raises."""
        if formula.id not in self._of_request:
            assert formula.split is not None
            try:
                self._of_request[formula.id] = formula.split.of_request(self._environment)
            except Exception:  # noqa: BLE001 - no fault if the branch is not taken
                self._of_request[formula.id] = None
        return self._of_request[formula.id]

    def _whole(self, table: Table, position: int) -> float | None:
        compiled = table.formula.compiled
        assert compiled is not None
        self._environment.offer = table.pool.offers[position].offer.attributes
        score = compiled.score(self._environment)
        self._environment.offer = None
        return score
