"""The dataset row of one stored decision, which clients read."""

from collections.abc import Sequence
from functools import partial

from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest
from proffer.store.memory.store import MemoryStore
from proffer.testing import builders as b
from support.containers import access_to, create_library, open_services

LIBRARY = [
    b.a_placement("web"),
    b.a_tag("t"),
    b.a_fallback(content=["web"]),
    b.a_collection("all", any_tags=["t"]),
    b.an_offer("gold", tags=["t"], content={"web": [b.a_component("html", "hello")]}),
    b.a_decision("home", b.a_criterion("all", placements=["web"])),
]


class CountingStore(MemoryStore):
    """A store that counts the versions that are read of it."""

    versions_read = 0

    async def since(self, container_id: str, revision: int) -> Sequence[Instance]:
        versions = await super().since(container_id, revision)
        self.versions_read += len(versions)
        return versions

    async def history(self, container_id: str, instance_id: str) -> Sequence[Instance]:
        versions = await super().history(container_id, instance_id)
        self.versions_read += len(versions)
        return versions

    async def version_at(self, container_id: str, revision: int, key: str) -> Instance | None:
        self.versions_read += 1
        return await super().version_at(container_id, revision, key)


def _replaced_by(document: b.Document, _: Instance) -> b.Document:
    return document


async def test_it_names_what_was_delivered_and_reads_little_however_long_the_history() -> None:
    """Names are those of the time: of an offer that is deleted, and of a decision that has another name now."""
    store = CountingStore()
    async with open_services(store, clock=lambda: b.NOON) as services:
        access = access_to(services)
        await create_library(services, LIBRARY)
        request = DecisionRequest(scopes=(b.a_scope("home", "web"),))
        result = await services.decide.decide(access, request, Profile(), surface="test")
        catalog = access.state.catalog
        decision = catalog.by_id(request.scopes[0].decision)
        offer = next(iter(catalog.of_kind(EntityKind.OFFER).values()))
        assert decision is not None
        for number in range(50):
            renamed = {**decision.document, "xdm:name": f"name {number}"}
            await services.catalog.revise(access, decision.instance_id, partial(_replaced_by, renamed))
        await services.catalog.delete(access, offer.instance_id)
        store.versions_read = 0
        row = await services.event_export.row(access, await services.replay.find(access, result.proposition_id))

    assert store.versions_read == 2
    (detail,) = row["_experience"]["decisioning"]["propositionDetails"]
    assert detail["activity"]["name"] == decision.name
    assert [item["name"] for item in detail["selections"]] == ["gold"]
