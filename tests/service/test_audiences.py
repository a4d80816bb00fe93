"""Audiences over everybody: evaluated in batch, while others write, and sampled when there are many."""

import asyncio
import math
from pathlib import Path

import pytest

from proffer.app import Services
from proffer.auth.principal import Permission, Principal
from proffer.model.customer import Record, Status
from proffer.model.identity import IdentityKey
from proffer.service import audiences as module
from proffer.service.audiences import Estimate
from proffer.store.memory import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite import SqliteStore

BY = Principal(
    organisation="acme",
    sandbox="prod",
    permissions=frozenset({Permission.ADMIN}),
    user="u",
    client="c",
)
BATCH = {"batch": {"enabled": True}, "continuous": {"enabled": False}}


async def filled(store: Store, count: int) -> tuple[Services, str]:
    services = Services(store)
    container = await services.access.container("acme", "prod")
    await services.libraries.catch_up()
    await store.take_in(
        container.id,
        [
            Record(
                identities=(IdentityKey("CRMID", str(n)),),
                dataset="crm",
                stamped_us=1,
                attributes={"n": n},
            )
            for n in range(count)
        ],
        now_us=1,
    )
    return services, container.id


async def define(services: Services, container: str, pql: str) -> str:
    document = {
        "name": pql,
        "expression": {"type": "PQL", "format": "pql/text", "value": pql},
        "evaluationInfo": BATCH,
    }
    return (await services.audiences.create(BY, container, document)).instance_id


def test_a_batch_moves_everybody_on(tmp_path: Path) -> None:
    """Realized by the first, existing by the second, unchanged by the third, exited when the rule is another."""

    async def story() -> None:
        store = await SqliteStore.open(tmp_path / "a.db")
        services, container = await filled(store, 1_200)
        audience = await define(services, container, "n >= 1000")
        changed = []
        seen = []
        for _ in range(3):
            changed.append((await services.audiences.evaluate(BY, container)).changed)
            *_, last = await store.page(container, 0, 2_000)
            seen.append(last.membership[audience].status)
        assert changed == [200, 200, 0]
        assert seen == [Status.REALIZED, Status.EXISTING, Status.EXISTING]
        rule = {"expression": {"type": "PQL", "format": "pql/text", "value": "n < 0"}}
        await services.audiences.revise(BY, container, audience, rule)
        assert (await services.audiences.evaluate(BY, container)).changed == 200
        *_, last = await store.page(container, 0, 2_000)
        assert last.membership[audience].status is Status.EXITED
        await store.close()

    asyncio.run(story())


def test_an_estimate_of_many_is_sampled_and_says_how_sure_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is that of a share of the sample; the true size lies in the interval."""
    monkeypatch.setattr(module, "EXACT_BELOW", 1_000)
    monkeypatch.setattr(module, "_SAMPLED", 2_000)

    async def story() -> Estimate:
        services, container = await filled(MemoryStore(), 3_000)
        return await services.audiences.estimate(BY, container, "n >= 2000")

    found = asyncio.run(story())
    share = found.matched / found.asked
    assert (found.total, found.asked) == (3_000, 2_000)
    assert found.error == pytest.approx(3_000 * math.sqrt(share * (1 - share) / 2_000))
    low, high = found.interval
    assert low <= 1_000 <= high
    assert high - low < 300
