"""Offer-only terms of formulas, computed at publish time."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proffer.engine.compiled import BoundFormula
from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool
from proffer.model.offer import PersonalizedOffer
from proffer.pql.index.partial_eval import Values

if TYPE_CHECKING:
    from proffer.pql.columns.score_columns import Bulk

_STEP = 64
"""Offers processed between two yields."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Precomputed offer-only terms of one formula for `offers` of a pool.

    `rows`: position → values of the terms; None where the formula must be evaluated as a whole.
    `vectorized` scores many offers at once; its rows are in order of position.
    """

    formula: BoundFormula
    pool: Pool
    offers: Bits
    rows: Mapping[int, Values | None]
    bulk: "Bulk | None" = None
    by_position: Mapping[int, int] | None = None
    """Position → row number; None if they are equal."""

    def numbers(self, positions: Sequence[int]) -> Sequence[int]:
        """Return the row numbers of these positions."""
        known = self.by_position
        return positions if known is None else [known[position] for position in positions]


class Parts:
    """Cache of the offer-only terms of one formula: offer id → values."""

    __slots__ = ("_known", "formula")

    def __init__(self, formula: BoundFormula) -> None:
        self.formula = formula
        self._known: dict[str, tuple[PersonalizedOffer, Values | None]] = {}

    def of(self, offer: PersonalizedOffer) -> Values | None:
        known = self._known.get(offer.id)
        if known is None or known[0] is not offer:
            split = self.formula.split
            values = None if split is None else split.of_offer(offer.attributes)
            known = self._known[offer.id] = (offer, values)
        return known[1]

    def forget(self, offer: str) -> None:
        self._known.pop(offer, None)

    def table(
        self, pool: Pool, offers: Bits, positions: Sequence[int]
    ) -> Generator[None, None, Table]:
        """Build the terms of these offers in short steps."""
        rows: dict[int, Values | None] = {}
        for number, position in enumerate(positions):
            rows[position] = self.of(pool.offers[position].offer)
            if number % _STEP == 0:
                yield
        bulk = None
        if self.formula.split is not None and pool.bulk is not None and len(rows) > pool.few:
            from proffer.pql.columns.score_columns import (
                bulk_of,  # NumPy: slow to import, used for large pools only
            )

            bulk = yield from bulk_of(self.formula.split, list(rows.values()))
        by_position = None
        if len(rows) < len(pool.offers):
            by_position = {position: number for number, position in enumerate(positions)}
        return Table(self.formula, pool, offers, rows, bulk, by_position)
