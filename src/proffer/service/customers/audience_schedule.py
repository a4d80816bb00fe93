"""Evaluation of audiences by the servers themselves: when one is defined, and once a day.

Rules read the time, so memberships change although no customer does. One server evaluates, page by
page and with pauses; the others go on without it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from proffer.errors import ProfferError
from proffer.model.audience import AudienceEvaluation
from proffer.model.capping import DAY_US
from proffer.model.ids import EntityKind
from proffer.pql import MEANING_VERSION
from proffer.service.customers.audiences import AudienceService, EvaluationCallback
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.leases import ExclusiveTask
from proffer.service.runtime.periodic import PeriodicTask
from proffer.store.ports import LeaseStore
from proffer.telemetry import log_failure

CHECK_SECONDS = 5
LEASE = "audience-evaluation"
_RETRY_US = 3_600_000_000
"""Time until an evaluation that failed is tried again."""
_PAUSE_FACTOR = 3
"""Pause between pages, as a multiple of the time that a page took."""
_INPUTS = frozenset({EntityKind.AUDIENCE, EntityKind.SCHEMA, EntityKind.MERGE_POLICY})
"""Kinds whose changes may change memberships."""


@dataclass(frozen=True, slots=True)
class DailyTime:
    """A time of day in UTC at which all audiences are evaluated."""

    offset_us: int

    @classmethod
    def parse(cls, text: str) -> "DailyTime | None":
        """Return the time of `HH:MM`, or None for `never`. Raises ValueError for another text."""
        if text == "never":
            return None
        moment = time.strptime(text, "%H:%M")
        return cls((moment.tm_hour * 60 + moment.tm_min) * 60_000_000)

    def next_after(self, moment_us: int) -> int:
        """Return the first time of day after a moment."""
        return (moment_us - self.offset_us) // DAY_US * DAY_US + DAY_US + self.offset_us


class AudienceSchedule:
    """Keeps the memberships of all audiences current."""

    def __init__(
        self,
        store: LeaseStore,
        registry: ContainerRegistry,
        audiences: AudienceService,
        clock: Clock,
        daily_time: DailyTime | None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._audiences = audiences
        self._clock = clock
        self._daily_time = daily_time
        self._retry_us: dict[str, int] = {}
        self._exclusive = ExclusiveTask(store, clock, LEASE)
        self._task = PeriodicTask(self.run_due, CHECK_SECONDS, "evaluating audiences")

    def start(self) -> None:
        """Evaluate what is due, again and again, until `stop`."""
        self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def run_due(self) -> None:
        """Evaluate the audiences of every container where it is due, unless another server does."""
        if await self._due():
            await self._exclusive.run(self._evaluate_due)

    async def last(self, container_id: str) -> AudienceEvaluation | None:
        """Return the last complete evaluation of a container."""
        return await self._store.audience_evaluation(container_id)

    async def next_us(self, state: ContainerState) -> int | None:
        """Return when a container's audiences are evaluated next; None: not while nothing changes."""
        if not _rules(state):
            return None
        last = await self.last(state.container.id)
        if last is None or _is_outdated(state, last):
            return self._clock()
        return None if self._daily_time is None else self._daily_time.next_after(last.started_us)

    async def _due(self) -> list[ContainerState]:
        due: list[ContainerState] = []
        for state in self._registry.all_states():
            next_us = await self.next_us(state)
            is_due = next_us is not None and next_us <= self._clock()
            if is_due and self._clock() >= self._retry_us.get(state.container.id, 0):
                due.append(state)
        return due

    async def evaluate(
        self, state: ContainerState, on_progress: EvaluationCallback | None = None, *, pause_factor: float = 0
    ) -> AudienceEvaluation:
        """Evaluate every audience for every customer of a container, and record that it was done."""
        revision, started_us = state.catalog.revision, self._clock()
        result = await self._audiences.evaluate(state, on_progress, pause_factor=pause_factor)
        evaluation = AudienceEvaluation(
            container=state.container.id,
            revision=revision,
            meaning=MEANING_VERSION,
            started_us=started_us,
            finished_us=self._clock(),
            customers=result.customers,
            changed=result.changed,
        )
        await self._store.put_audience_evaluation(evaluation)
        return evaluation

    async def _evaluate_due(self) -> None:
        for state in await self._due():
            try:
                await self.evaluate(state, pause_factor=_PAUSE_FACTOR)
            except ProfferError:
                raise  # the store is unavailable for all
            except Exception as error:  # noqa: BLE001 - the other containers must still be evaluated
                log_failure(f"evaluating the audiences of container {state.container.id} failed", error)
                self._retry_us[state.container.id] = self._clock() + _RETRY_US


def _rules(state: ContainerState) -> Mapping[str, object]:
    """Return the audiences with a rule that compiles."""
    return {key: bound for key, bound in state.customer_schema.audiences.items() if bound.rule is not None}


def _is_outdated(state: ContainerState, last: AudienceEvaluation) -> bool:
    """Return whether what the last evaluation evaluated has changed."""
    if last.meaning != MEANING_VERSION:
        return True
    return any(
        instance.revision > last.revision for kind in _INPUTS for instance in state.catalog.of_kind(kind).values()
    )
