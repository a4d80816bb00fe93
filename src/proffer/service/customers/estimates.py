"""Asynchronous estimate jobs, kept in the memory of this process."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proffer.errors import NotFound, ProfferError
from proffer.service.customers.audiences import AudienceService, Estimate
from proffer.service.library.registry import AuthorizedContainer

_MAX_JOBS = 100
_MAX_RUNNING = 2
"""Estimates that run at once: each holds a page of customers in memory."""


@dataclass(frozen=True, slots=True)
class EstimateJob:
    """One estimate job. `result` is None while it runs, or the error if it failed."""

    container: str
    task: asyncio.Task[Estimate]

    @property
    def result(self) -> Estimate | ProfferError | None:
        if not self.task.done():
            return None
        failure = None if self.task.cancelled() else self.task.exception()
        if isinstance(failure, ProfferError):
            return failure
        return self.task.result()


class EstimateJobs:
    """The last hundred estimate jobs; lost at a restart."""

    def __init__(self, audiences: AudienceService) -> None:
        self._audiences = audiences
        self._jobs: dict[str, EstimateJob] = {}
        self._turns = asyncio.Semaphore(_MAX_RUNNING)

    def start(self, access: AuthorizedContainer, condition: str | Mapping[str, Any]) -> str:
        """Start an estimate and return the job's id."""
        key = str(uuid.uuid4())
        task = asyncio.create_task(self._run(access, condition))
        self._jobs[key] = EstimateJob(access.id, task)
        while len(self._jobs) > _MAX_JOBS:
            oldest = next(iter(self._jobs))
            self._jobs.pop(oldest).task.cancel()
        return key

    async def _run(self, access: AuthorizedContainer, condition: str | Mapping[str, Any]) -> Estimate:
        async with self._turns:
            return await self._audiences.estimate(access, condition)

    def get(self, access: AuthorizedContainer, key: str) -> EstimateJob:
        """Return the job of this id, if it belongs to the container; otherwise raise `NotFound`."""
        job = self._jobs.get(key)
        if job is None or job.container != access.id:
            raise NotFound(f"there is no estimate `{key[:100]}`", code="estimate-not-found")
        return job

    def delete(self, access: AuthorizedContainer, key: str) -> None:
        """Forget a job, and cancel it if it runs. Raises `NotFound`."""
        self.get(access, key).task.cancel()
        del self._jobs[key]

    async def stop(self) -> None:
        """Cancel the running jobs."""
        running = [job.task for job in self._jobs.values() if not job.task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
