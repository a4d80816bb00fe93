"""Fields of a container's stored profiles, read from a bounded number of customers.

They tell a misspelt field from one that only these customers have.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from proffer.model.customer import Customer
from proffer.pql import Observation
from proffer.pql.check.types import ANY, Type
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import StoreReader

MAX_CUSTOMERS = 2_000
"""Most customers that are read."""
_SAMPLER = random.Random()  # noqa: S311 - a sample
_NEWEST = 500
"""Customers of a sample that are the newest; the others are chosen by chance."""
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
                    fields = Observation()
                    async for page in sample_pages(self._store, container_id):
                        await asyncio.to_thread(fields.add_all, [customer.attributes for customer in page])
                    ended = time.monotonic()
                    observation = _ObservedType(fields.type, total, ended + _REUSE * (ended - begun))
                    self._observations[container_id] = observation
            except StoreUnavailable:
                return ANY
            return observation.type


async def sample_pages(
    store: StoreReader, container_id: str, page_size: int = 100
) -> AsyncGenerator[Sequence[Customer], None]:
    """Yield pages of customers with attributes: all of up to `MAX_CUSTOMERS`, else the newest and a random sample."""
    total, lowest, highest = await store.customer_count(container_id)
    is_sample = total > MAX_CUSTOMERS
    after, wanted = (max(highest - _NEWEST, 0), _NEWEST) if is_sample else (0, MAX_CUSTOMERS)
    count = 0
    while count < wanted and (page := await store.page(container_id, after, min(page_size, wanted - count))):
        yield [customer for customer in page if customer.attributes]
        count, after = count + len(page), page[-1].key
    if is_sample:
        for start in range(wanted, MAX_CUSTOMERS, page_size):
            keys = [_SAMPLER.randint(lowest, highest) for _ in range(min(page_size, MAX_CUSTOMERS - start))]
            yield [each for each in await store.customers_by_key(container_id, keys) if each.attributes]


@dataclass(frozen=True, slots=True)
class _ObservedType:
    """The type of stored profiles: reused `until` a time, while the number of customers stays near `total`."""

    type: Type
    total: int
    until: float

    def is_current(self, total: int, now: float) -> bool:
        return now < self.until and abs(total - self.total) <= self.total // 20
