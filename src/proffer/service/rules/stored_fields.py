"""Fields of a container's stored profiles, read from a bounded number of customers.

They tell a misspelt field from one that only these customers have.
"""

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass

from proffer.model.customer import Customer
from proffer.pql import observed_type
from proffer.pql.check.types import ANY, Type
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import StoreReader

MAX_CUSTOMERS = 2_000
"""Most customers that are read."""
_SAMPLER = random.Random()  # noqa: S311 - a sample
_PAGE = 500
_REUSE = 20
"""A result is reused for this many times as long as it took, unless the number of customers changes by 5 %."""


class StoredFields:
    """The observed type of the profiles of each container."""

    def __init__(self, store: StoreReader) -> None:
        self._store = store
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._observations: dict[str, _ObservedType] = {}

    async def of(self, container_id: str) -> Type:
        """Return the type of the container's profiles; `ANY` if there are none, or they cannot be read."""
        async with self._locks[container_id]:
            begun = time.monotonic()
            try:
                total, _, _ = await self._store.customer_count(container_id)
                observation = self._observations.get(container_id)
                if observation is None or not observation.is_current(total, begun):
                    profiles = [customer.attributes for customer in await sample_customers(self._store, container_id)]
                    observed = await asyncio.to_thread(observed_type, profiles)
                    ended = time.monotonic()
                    observation = _ObservedType(observed, total, ended + _REUSE * (ended - begun))
                    self._observations[container_id] = observation
            except StoreUnavailable:
                return ANY
            return observation.type


async def sample_customers(store: StoreReader, container_id: str) -> list[Customer]:
    """Return customers with attributes: all of up to `MAX_CUSTOMERS`, else the newest page and a random sample."""
    total, lowest, highest = await store.customer_count(container_id)
    customers: list[Customer] = []
    after = 0 if total <= MAX_CUSTOMERS else max(highest - _PAGE, 0)
    while len(customers) < MAX_CUSTOMERS and (page := await store.page(container_id, after, _PAGE)):
        customers += page
        after = page[-1].key
    if total > MAX_CUSTOMERS:
        for _ in range(_PAGE, MAX_CUSTOMERS, _PAGE):
            keys = [_SAMPLER.randint(lowest, highest) for _ in range(_PAGE)]
            customers += await store.customers_by_key(container_id, keys)
    return [customer for customer in customers if customer.attributes]


@dataclass(frozen=True, slots=True)
class _ObservedType:
    """The type of stored profiles: reused `until` a time, while the number of customers stays near `total`."""

    type: Type
    total: int
    until: float

    def is_current(self, total: int, now: float) -> bool:
        return now < self.until and abs(total - self.total) <= self.total // 20
