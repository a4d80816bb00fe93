"""Estimate jobs share the server: however many are requested, few run at once."""

import asyncio
from typing import Any, cast

from proffer.service.customers.audiences import AudienceService
from proffer.service.customers.estimates import EstimateJobs
from support.containers import access_to, open_services


class Counted:
    """Estimates that note how many run at once."""

    running = most = done = 0

    async def estimate(self, *_: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.done += 1


async def test_few_estimates_run_at_once() -> None:
    """Each holds a page of customers in memory; the others wait, and all are done in the end."""
    counted = Counted()
    jobs = EstimateJobs(cast("AudienceService", counted))
    async with open_services() as services:
        access = access_to(services)
        keys = [jobs.start(access, "true") for _ in range(50)]
        await asyncio.gather(*(jobs.get(access, key).task for key in keys))

    assert (counted.most, counted.done) == (2, 50)
