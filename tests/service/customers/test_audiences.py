"""Audiences over everybody: evaluated in batch, while others write, and sampled when there are many."""

import asyncio
import math
from pathlib import Path

import pytest

from proffer.app import Services
from proffer.auth.principal import Permission, Principal
from proffer.model.customer import MembershipStatus, ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.service.customers import audiences as module
from proffer.service.library import customer_rules_batch as customer_columns
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore

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
    container = await services.tokens.container("acme", "prod")
    await services.registry.catch_up()
    await store.apply_changes(
        container.id,
        [
            ProfileRecord(
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
    receipt = await services.audiences.create(services.registry.authorize(BY, container), document)
    return receipt.instance.instance_id


async def test_a_batch_moves_everybody_on(tmp_path: Path) -> None:
    """Realized by the first, existing by the second, unchanged by the third, exited when the rule is another."""
    store = await SqliteStore.open(tmp_path / "a.db")
    services, container = await filled(store, 1_200)
    audience = await define(services, container, "n >= 1000")
    changed = []
    seen = []
    for _ in range(3):
        changed.append((await services.audiences.evaluate(services.registry.authorize(BY, container).state)).changed)
        *_, last = await store.page(container, 0, 2_000)
        seen.append(last.membership[audience].status)
    assert changed == [200, 200, 0]
    assert seen == [MembershipStatus.REALIZED, MembershipStatus.EXISTING, MembershipStatus.EXISTING]
    rule = {"expression": {"type": "PQL", "format": "pql/text", "value": "n < 0"}}
    await services.audiences.revise(services.registry.authorize(BY, container), audience, rule)
    assert (await services.audiences.evaluate(services.registry.authorize(BY, container).state)).changed == 200
    *_, last = await store.page(container, 0, 2_000)
    assert last.membership[audience].status is MembershipStatus.EXITED
    await store.close()


async def test_an_audience_compares_by_the_types_of_the_loaded_schema() -> None:
    """Texts compare as numbers from the load on, in a batch and in an estimate; a field it lacks is no error."""
    store = MemoryStore()
    services, container = await filled(store, 0)
    access = services.registry.authorize(BY, container)
    record = ProfileRecord(
        identities=(IdentityKey("CRMID", "1"),), dataset="crm", stamped_us=1, attributes={"a": "9", "b": "10", "c": 1}
    )
    await store.apply_changes(container, [record], now_us=1)
    audience = await define(services, container, "a > b and c = 1")
    await services.audiences.evaluate(access.state)
    before = (await store.page(container, 0, 1))[0].membership[audience].status
    sizes = [(await services.audiences.estimate(access, "a > b")).size]

    await services.schemas.load(access, "profile", {"a": "integer", "b": "integer"})
    await services.audiences.evaluate(access.state)
    after = (await store.page(container, 0, 1))[0].membership[audience].status
    sizes.append((await services.audiences.estimate(access, "a > b")).size)

    assert (before, after) == (MembershipStatus.REALIZED, MembershipStatus.EXITED)
    assert sizes == [1, 0]


async def test_an_estimate_of_many_is_sampled_and_says_how_sure_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is that of a share of the sample; the true size lies in the interval."""
    monkeypatch.setattr(module, "EXACT_BELOW", 1_000)
    monkeypatch.setattr(module, "_SAMPLE_SIZE", 2_000)

    services, container = await filled(MemoryStore(), 3_000)
    found = await services.audiences.estimate(services.registry.authorize(BY, container), "n >= 2000")
    share = found.matched / found.evaluated
    assert (found.total, found.evaluated) == (3_000, 2_000)
    assert found.error == pytest.approx(3_000 * math.sqrt(share * (1 - share) / 2_000))
    low, high = found.interval
    assert low <= 1_000 <= high
    assert high - low < 300


RULES = (
    "n >= 600",
    "n % 2 = 0 and n < 500",
    'city = "Ulm" or n = 7',
    "not (n > 3)",
    "n.isNull()",
    'city.startsWith("B") and n in [1, 2, 3, 4]',
    "person.birthDate occurs after date(1990, 1, 1)",
    "orders[total > 10].count() > 0",
    'identityMap.get("CRMID").count() = 1',
)


def test_columns_say_what_rows_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a rule asks, a batch by columns gives the membership that asking one by one gives."""

    async def members(*, columns: bool) -> tuple[list[list[str]], frozenset[str], dict[str, str]]:
        if not columns:
            monkeypatch.setattr(customer_columns, "_plans", lambda _: ())
        store = MemoryStore()
        services, container = await filled(store, 800)
        changes = [
            ProfileRecord(
                identities=(IdentityKey("CRMID", str(n)),),
                dataset="web",
                stamped_us=2,
                attributes={
                    "city": ("Ulm", "Bonn", "Brest")[n % 3],
                    "person": {"birthDate": f"19{80 + n % 20}-05-01"},
                    "orders": [{"total": n % 13}],
                },
            )
            for n in range(0, 800, 2)
        ]
        await store.apply_changes(container, changes, now_us=2)
        ids = {await define(services, container, rule): rule for rule in RULES}
        first = next(iter(ids))
        later = await define(services, container, f'inSegment("{first}") and n < 700')
        ids[later] = "of another audience"
        await services.audiences.evaluate(services.registry.authorize(BY, container).state)
        qualify = services.registry.authorize(BY, container).state.customer_schema.qualify(batch=True)
        assert qualify is not None
        answered = qualify._batch.audiences  # type: ignore[attr-defined]
        kept = await store.page(container, 0, 1_000)
        found = [sorted(ids[audience] for audience in one.membership) for one in kept]
        return found, frozenset(ids[audience] for audience in answered), ids

    by_columns, answered, _ = asyncio.run(members(columns=True))
    by_rows, unanswered, _ = asyncio.run(members(columns=False))

    assert by_columns == by_rows
    assert any("of another audience" in one for one in by_rows)
    assert answered == frozenset(RULES[:7])
    assert unanswered == frozenset()
