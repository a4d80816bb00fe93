"""Memberships of an earlier meaning of rules: evaluated anew once, by one worker, to the end."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from proffer.app import Services
from proffer.auth.principal import Permission, Principal
from proffer.model.customer import AudienceMembership, Customer, EventLoader, MembershipStatus, ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.service.customers import reevaluation
from proffer.service.customers.reevaluation import MembershipReevaluation
from proffer.store.memory.store import MemoryStore

BY = Principal(
    organisation="acme", sandbox="prod", permissions=frozenset({Permission.ADMIN}), user="u", client="c"
)  # fmt: skip
COUNT = 12


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reevaluation, "_PAGE", 5)


@dataclass
class Installation:
    """An audience that holds for nobody, although all customers are stored as its members."""

    store: MemoryStore = field(default_factory=MemoryStore)
    container: str = ""
    audience: str = ""

    def __post_init__(self) -> None:
        self.services = Services(self.store)

    async def fill(self) -> "Installation":
        container = await self.services.tokens.container("acme", "prod")
        self.container = container.id
        await self.services.registry.catch_up()
        records = [
            ProfileRecord(
                identities=(IdentityKey("CRMID", str(n)),),
                dataset="crm",
                stamped_us=1,
                attributes={"loyalty": {"points": "900"}},
            )
            for n in range(COUNT)
        ]
        await self.store.apply_changes(self.container, records, now_us=1)
        document: dict[str, Any] = {
            "name": "many points",
            "expression": {"type": "PQL", "format": "pql/text", "value": "loyalty.points >= 1000"},
            "evaluationInfo": {"batch": {"enabled": True}, "continuous": {"enabled": False}},
        }
        access = self.services.registry.authorize(BY, self.container)
        self.audience = (await self.services.audiences.create(access, document)).instance.instance_id

        def join(customer: Customer, _: EventLoader, now_us: int) -> dict[str, AudienceMembership]:
            del customer
            return {self.audience: AudienceMembership(MembershipStatus.REALIZED, now_us)}

        after: int | None = 0
        while after is not None:
            after, _ = await self.store.requalify(self.container, after, 500, now_us=1, qualify=join)
        return self

    def worker(self) -> MembershipReevaluation:
        return MembershipReevaluation(self.store, self.services.registry, lambda: 2)

    async def members(self) -> int:
        customers = await self.store.page(self.container, 0, COUNT)
        statuses = [customer.membership[self.audience].status for customer in customers]
        return sum(status is not MembershipStatus.EXITED for status in statuses)


async def test_memberships_of_an_earlier_meaning_are_evaluated_once() -> None:
    """At the second look, when no other worker has proceeded; not again by this worker or a later one."""
    installation = await Installation().fill()
    worker = installation.worker()

    await worker.look()
    assert await installation.members() == COUNT
    await worker.look()
    assert await installation.members() == 0

    # From here on, an evaluation would fail.
    later = installation.worker()
    installation.store.requalify = None  # type: ignore[assignment,method-assign]
    for one in (worker, later, later):
        await one.look()


async def test_an_evaluation_that_stopped_is_resumed_by_another_worker() -> None:
    """After the page at which it stopped; while it proceeds, others leave it alone."""
    installation = await Installation().fill()
    store, first, second = installation.store, installation.worker(), installation.worker()
    pages: list[int] = []
    requalify = store.requalify

    async def counted(container: str, after: int, *arguments: Any, **more: Any) -> tuple[int | None, int]:
        pages.append(after)
        if len(pages) == 2:
            await second.look()
        if len(pages) == 3:
            raise ConnectionError
        return await requalify(container, after, *arguments, **more)

    store.requalify = counted  # type: ignore[assignment,method-assign]
    await second.look()
    await first.look()
    with pytest.raises(ConnectionError):
        await first.look()
    assert (len(pages), await installation.members()) == (3, COUNT - 10)

    await second.look()
    assert len(pages) == 3
    await second.look()
    assert pages[3] == pages[2]
    assert await installation.members() == 0
