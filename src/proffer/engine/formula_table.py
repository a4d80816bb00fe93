"""What formulas need of each offer, worked out when the library is published."""

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
"""Offers that are looked at before others get a turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One formula for offers of a pool: `offers`, and by position the values of the part per offer.

    None stands for an offer of which the formula has to be asked whole. `bulk` is for many offers at once;
    its rows are the offers in the order of their positions.
    """

    formula: BoundFormula
    pool: Pool
    offers: Bits
    rows: Mapping[int, Values | None]
    bulk: "Bulk | None" = None
    by_position: Mapping[int, int] | None = None
    """The number of each row; None where that is its position."""

    def numbers(self, positions: Sequence[int]) -> Sequence[int]:
        """The numbers of the rows of these offers."""
        known = self.by_position
        return positions if known is None else [known[position] for position in positions]


class Parts:
    """The part per offer of one formula, of every offer that was asked about. Forgets those that change."""

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
        """The table of these offers, made in short steps."""
        rows: dict[int, Values | None] = {}
        for number, position in enumerate(positions):
            rows[position] = self.of(pool.offers[position].offer)
            if number % _STEP == 0:
                yield
        bulk = None
        if self.formula.split is not None and pool.bulk is not None and len(rows) > pool.few:
            from proffer.pql.columns.score_columns import (
                bulk_of,  # numpy: slow to import, and not for everybody
            )

            bulk = yield from bulk_of(self.formula.split, list(rows.values()))
        by_position = None
        if len(rows) < len(pool.offers):
            by_position = {position: number for number, position in enumerate(positions)}
        return Table(self.formula, pool, offers, rows, bulk, by_position)
