"""How many different offers were not for this customer, over all scopes of a request."""

from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool


class Ineligible:
    """Collects sets of offers by pool. Scopes mostly share a pool, and then there is little to count."""

    __slots__ = ("_by_pool",)

    def __init__(self) -> None:
        self._by_pool: dict[Pool, Bits] = {}

    def enter(self, pool: Pool, offers: Bits) -> None:
        """Add offers of this pool. An offer may be entered again and again."""
        if offers:
            self._by_pool[pool] = self._by_pool.get(pool, 0) | offers

    def count(self) -> int:
        """How many there are; one in several pools counts once."""
        if len(self._by_pool) == 1:
            (offers,) = self._by_pool.values()
            return offers.bit_count()
        found: set[str] = set()
        for pool, offers in self._by_pool.items():
            found.update(pool.ids(offers))
        return len(found)
