"""Count of distinct ineligible offers over all scopes of a request."""

from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool


class IneligibleCounter:
    """Collects bitsets of offers per pool. In the common case all scopes share one pool."""

    __slots__ = ("_by_pool",)

    def __init__(self) -> None:
        self._by_pool: dict[Pool, Bits] = {}

    def add(self, pool: Pool, offers: Bits) -> None:
        """Add offers of a pool; repeated additions have no effect."""
        if offers:
            self._by_pool[pool] = self._by_pool.get(pool, 0) | offers

    def count(self) -> int:
        """Return the number of distinct offers; one that is in several pools counts once."""
        if len(self._by_pool) == 1:
            (offers,) = self._by_pool.values()
            return offers.bit_count()
        ids: set[str] = set()
        for pool, offers in self._by_pool.items():
            ids.update(pool.ids(offers))
        return len(ids)
