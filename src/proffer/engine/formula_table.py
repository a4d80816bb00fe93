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
    from proffer.pql.columns.score_columns import VectorizedFormula

_STEP = 64
"""Offers processed between two yields."""


@dataclass(frozen=True, slots=True, eq=False)
class OfferTerms:
    """Precomputed offer-only terms of one formula for `offers` of a pool.

    `rows`: position → values of the terms; None where the formula must be evaluated as a whole.
    `vectorized` scores many offers at once; its rows are in order of position.
    """

    formula: BoundFormula
    pool: Pool
    offers: Bits
    rows: Mapping[int, Values | None]
    vectorized: "VectorizedFormula | None" = None
    row_by_position: Mapping[int, int] | None = None
    """Position → row number; None if they are equal."""

    def row_numbers(self, positions: Sequence[int]) -> Sequence[int]:
        """Return the row numbers of these positions."""
        row_by_position = self.row_by_position
        return positions if row_by_position is None else [row_by_position[position] for position in positions]


class OfferTermCache:
    """Cache of the offer-only terms of one formula: offer id → values."""

    __slots__ = ("_entries", "formula")

    def __init__(self, formula: BoundFormula) -> None:
        self.formula = formula
        self._entries: dict[str, tuple[PersonalizedOffer, Values | None]] = {}

    def get(self, offer: PersonalizedOffer) -> Values | None:
        entry = self._entries.get(offer.id)
        if entry is None or entry[0] is not offer:
            split = self.formula.split
            values = None if split is None else split.eval_offer(offer.attributes)
            entry = self._entries[offer.id] = (offer, values)
        return entry[1]

    def forget(self, offer: str) -> None:
        self._entries.pop(offer, None)

    def build_terms(self, pool: Pool, offers: Bits, positions: Sequence[int]) -> Generator[None, None, OfferTerms]:
        """Build the terms of these offers in short steps."""
        rows: dict[int, Values | None] = {}
        for number, position in enumerate(positions):
            rows[position] = self.get(pool.offers[position].offer)
            if number % _STEP == 0:
                yield
        vectorized = None
        if self.formula.split is not None and pool.arrays is not None and len(rows) > pool.max_scalar_offers:
            from proffer.pql.columns.score_columns import (
                vectorize,  # NumPy: slow to import, used for large pools only
            )

            vectorized = yield from vectorize(self.formula.split, list(rows.values()))
        row_by_position = None
        if len(rows) < len(pool.offers):
            row_by_position = {position: number for number, position in enumerate(positions)}
        return OfferTerms(self.formula, pool, offers, rows, vectorized, row_by_position)
