"""Audiences are kept current by the servers: when one is defined, once a day, and after an upgrade."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from proffer.app import Services
from proffer.auth.principal import Permission, Principal
from proffer.model.customer import MembershipStatus, ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.service.customers.audience_schedule import LEASE, AudienceSchedule, DailyTime
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.memory.store import MemoryStore
from proffer.testing.builders import NOON
from support.clock import SetClock

pytestmark = pytest.mark.anyio
BY = Principal(organisation="acme", sandbox="prod", permissions=frozenset({Permission.ADMIN}), user="u", client="c")
HOUR = 3_600_000_000
DAY = 24 * HOUR
RECENT = "_acme.opened occurs < 14 days before now"


async def _services(store: MemoryStore, clock: SetClock) -> tuple[Services, AuthorizedContainer]:
    services = Services(store, clock, audience_time=DailyTime.parse("03:00"))
    container = await services.tokens.container("acme", "prod")
    await services.registry.catch_up()
    return services, services.registry.authorize(BY, container.id)


async def _customer(store: MemoryStore, container: str, attributes: Mapping[str, Any]) -> None:
    record = ProfileRecord(
        identities=(IdentityKey("CRMID", "1"),), dataset="crm", stamped_us=1, attributes=dict(attributes)
    )
    await store.apply_changes(container, [record], now_us=NOON)


async def _define(services: Services, access: AuthorizedContainer, name: str, rule: str) -> str:
    document = {"name": name, "expression": {"type": "PQL", "format": "pql/text", "value": rule}}
    return (await services.audiences.create(access, document)).instance.instance_id


async def _is_member(store: MemoryStore, container: str, audience: str) -> bool:
    (customer,) = await store.page(container, 0, 10)
    membership = customer.membership.get(audience)
    return membership is not None and membership.status is not MembershipStatus.EXITED


@pytest.mark.parametrize(
    ("text", "hours"),
    [("03:00", 15), ("12:00", 24), ("12:01", 1 / 60), ("11:59", 24 - 1 / 60), ("00:00", 12)],
)
def test_the_daily_time_is_the_next_one(text: str, hours: float) -> None:
    daily_time = DailyTime.parse(text)
    assert daily_time is not None
    assert daily_time.next_after(NOON) == NOON + round(hours * HOUR)


def test_never_is_no_daily_time() -> None:
    assert DailyTime.parse("never") is None
    with pytest.raises(ValueError, match="does not match"):
        DailyTime.parse("25:00")


async def test_an_audience_is_evaluated_by_a_clock_that_advances_between_two_readings() -> None:
    class RunningClock(SetClock):
        def __call__(self) -> int:
            self.now_us += 1
            return self.now_us

    store = MemoryStore()
    services, access = await _services(store, RunningClock())
    await _customer(store, access.id, {"n": 5})
    audience = await _define(services, access, "Many", "n > 3")

    await services.audience_schedule.run_due()

    assert await _is_member(store, access.id, audience)


async def test_an_audience_is_evaluated_soon_after_it_is_defined() -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    await _customer(store, access.id, {"n": 5})
    await services.audience_schedule.run_due()
    assert await store.audience_evaluation(access.id) is None
    audience = await _define(services, access, "fives", "n = 5")
    assert not await _is_member(store, access.id, audience)
    assert await services.audience_schedule.next_us(access.state) == clock()
    await services.audience_schedule.run_due()
    assert await _is_member(store, access.id, audience)
    evaluation = await store.audience_evaluation(access.id)
    assert evaluation is not None
    assert (evaluation.customers, evaluation.changed, evaluation.revision) == (1, 1, access.state.catalog.revision)
    assert await services.audience_schedule.next_us(access.state) == NOON + 15 * HOUR


async def test_memberships_follow_the_time_once_a_day() -> None:
    """A customer leaves an audience of the last 14 days although nothing about the customer changes."""
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    await _customer(store, access.id, {"_acme": {"opened": "2026-01-01T06:00:00Z"}})
    audience = await _define(services, access, "recent", RECENT)
    await services.audience_schedule.run_due()
    assert await _is_member(store, access.id, audience)
    clock.now_us = NOON + 14 * DAY
    await services.audience_schedule.run_due()
    assert not await _is_member(store, access.id, audience)


async def test_it_is_not_evaluated_again_before_its_time() -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    await _define(services, access, "fives", "n = 5")
    await services.audience_schedule.run_due()
    first = await store.audience_evaluation(access.id)
    clock.now_us += 15 * HOUR - 1
    await services.audience_schedule.run_due()
    assert await store.audience_evaluation(access.id) == first
    clock.now_us += 1
    await services.audience_schedule.run_due()
    assert await store.audience_evaluation(access.id) != first


async def test_a_change_of_the_rule_or_of_the_schema_is_evaluated_at_once() -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    await _customer(store, access.id, {"n": "9"})
    audience = await _define(services, access, "many", 'n > "10"')
    await services.audience_schedule.run_due()
    assert await _is_member(store, access.id, audience)
    await services.schemas.load(access, "profile", {"n": "integer"})
    await services.audience_schedule.run_due()
    assert not await _is_member(store, access.id, audience)


async def test_memberships_of_an_earlier_meaning_are_evaluated_at_the_first_start() -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    await _define(services, access, "fives", "n = 5")
    await services.audience_schedule.run_due()
    stored = await store.audience_evaluation(access.id)
    assert stored is not None
    await store.put_audience_evaluation(replace(stored, meaning=1))
    await services.audience_schedule.run_due()
    assert await store.audience_evaluation(access.id) == stored


async def test_only_the_holder_of_the_lease_evaluates() -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    await _define(services, access, "fives", "n = 5")
    lease = await store.lease(LEASE)
    await store.put_lease(replace(lease, owner="another", until_us=clock() + 60_000_000))
    await services.audience_schedule.run_due()
    assert await store.audience_evaluation(access.id) is None


async def test_without_a_daily_time_only_changes_are_evaluated() -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    schedule = AudienceSchedule(store, services.registry, services.audiences, clock, None)
    await _define(services, access, "fives", "n = 5")
    await schedule.run_due()
    assert await store.audience_evaluation(access.id) is not None
    assert await schedule.next_us(access.state) is None


async def test_lists_are_not_evaluated() -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    await services.audiences.create(access, {"name": "list", "expression": {"type": "LIST"}})
    assert await services.audience_schedule.next_us(access.state) is None


async def test_a_container_that_cannot_be_evaluated_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, clock = MemoryStore(), SetClock()
    services, access = await _services(store, clock)
    other_container = await services.tokens.container("acme", "dev")
    await services.registry.catch_up()
    other = services.registry.authorize(replace(BY, sandbox="dev"), other_container.id)
    for each in (access, other):
        await _define(services, each, "fives", "n = 5")
    evaluate = services.audiences.evaluate
    attempts: list[str] = []

    async def failing(state: ContainerState, *arguments: Any, **options: Any) -> Any:
        attempts.append(state.container.id)
        if state.container.id == access.id:
            raise RuntimeError("broken")
        return await evaluate(state, *arguments, **options)

    monkeypatch.setattr(services.audiences, "evaluate", failing)
    for _ in range(3):
        await services.audience_schedule.run_due()
    assert sorted(attempts) == sorted([access.id, other.id])
    assert await store.audience_evaluation(other.id) is not None
    assert "failed" in caplog.text
    clock.now_us += HOUR
    await services.audience_schedule.run_due()
    assert attempts.count(access.id) == 2
