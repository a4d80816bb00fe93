"""Whoever is erased is on no record any more, in the file neither; what was given still adds up."""

import asyncio
from pathlib import Path

from proffer.app import Services
from proffer.model.customer import RedactionResult
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.ingest_parse import IngestMessage
from proffer.model.profile import Profile, ProfileIdentity
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.service.decisions.decide import DecisionResult
from proffer.store.sqlite.store import SqliteStore
from proffer.store.sqlite.vacuum import vacuum
from proffer.testing import builders as b
from support.containers import access_to, on_file, open_services

ANN = IdentityKey("Email", "ann-secret@example.org")
OTHER = IdentityKey("CRMID", "ann-secret-7")
SCOPE = ScopeRequest(b.id_of(EntityKind.DECISION, "decision"), b.id_of(EntityKind.PLACEMENT, "web"))


async def a_library(services: Services) -> None:
    from proffer.service.library.load import SECTIONS

    order = list(SECTIONS.values())
    offer = b.an_offer("gold", rule="city", window=(0, 4_000_000_000_000_000))
    documents = b.a_library(offer, b.a_rule("city", 'homeAddress.city = "Secretville"'))
    for document in sorted(documents, key=lambda one: order.index(_kind(one["@id"]))):
        kind = _kind(document["@id"])
        await services.catalog.create(access_to(services), kind, document)


def _kind(entity_id: str) -> EntityKind:
    return EntityKind(entity_id.split(":")[1])


async def decide(services: Services, who: IdentityKey) -> DecisionResult:
    asked = Profile(identities=(ProfileIdentity(namespace=who.namespace, id=who.id, primary=True),))
    profile = await services.profiles.resolve(access_to(services), asked)
    request = DecisionRequest(scopes=(SCOPE,), context={"any": {"note": "ann-secret"}})
    return await services.decide.decide(access_to(services), request, profile, surface="test")


async def report(services: Services, key: str, decided: DecisionResult, who: IdentityKey | None) -> None:
    event = Feedback(
        id=key,
        kind=FeedbackKind.DISPLAY,
        at_us=decided.decided_us,
        propositions=(PropositionReport(decided.proposition_id),),
        identities=(who,) if who is not None else (),
        document={"_id": key, "note": "ann-secret"},
    )
    await services.feedback.record(access_to(services), [event])


async def test_nothing_of_an_erased_person_is_left(tmp_path: Path) -> None:
    """Decisions by any identity and their feedback, also what events said; after a vacuum the file has none of it."""
    path = tmp_path / "proffer.db"

    async with on_file(path) as services:
        await a_library(services)
        entity = {
            "identityMap": {one.namespace: [{"id": one.id}] for one in (ANN, OTHER)},
            "homeAddress": {"city": "Secretville"},
        }
        await services.ingest.ingest(access_to(services), [IngestMessage(entity=entity)])
        decided = [await decide(services, who) for who in (ANN, OTHER)]
        await report(services, "e1", decided[0], None)
        await report(services, "e2", decided[1], OTHER)

        erased = await services.profiles.erase(access_to(services), OTHER)

        assert erased is not None
        assert (erased.decisions, erased.feedback, len(erased.identities)) == (2, 2, 2)
        for one in decided:
            event = await services.replay.find(access_to(services), one.proposition_id)
            assert event.redacted
            assert [len(each.selections) for each in event.answers if each] == [1]
        assert await services.profiles.erase(access_to(services), OTHER) is None
    await asyncio.to_thread(vacuum, path)
    for file in tmp_path.iterdir():
        if file.suffix in {".db", ".db-wal"}:
            content = file.read_bytes()
            assert b"ann-secret" not in content
            assert b"Secretville" not in content.replace(b'homeAddress.city = \\"Secretville', b"")


async def test_browsers_that_are_nobodys_can_be_erased() -> None:
    """Who is on record by an identity alone is found by it."""
    async with open_services() as services:
        await a_library(services)
        decided = await decide(services, ANN)
        erased = await services.profiles.erase(access_to(services), ANN)
        assert erased is not None
        assert (erased.identities, erased.decisions) == ((ANN,), 1)
        event = await services.replay.find(access_to(services), decided.proposition_id)
        assert event.identities == ()


async def test_what_is_decided_meanwhile_is_found_too(tmp_path: Path) -> None:
    """A decision that comes between the sweep of the record and the end of the person names nobody either."""
    late: list[DecisionResult] = []

    class Slow(SqliteStore):
        """Somebody asks for a decision when the record has been looked through."""

        services: Services
        calls = 0

        async def redact(self, *arguments: object, **named: object) -> RedactionResult:
            found = await super().redact(*arguments, **named)  # type: ignore[arg-type]
            self.calls += 1
            if self.calls == 1:
                late.append(await decide(self.services, ANN))
            return found

    store = await Slow.open(tmp_path / "proffer.db")
    async with open_services(store) as services:
        store.services = services
        await a_library(services)
        await decide(services, ANN)
        erased = await services.profiles.erase(access_to(services), ANN)
        assert erased is not None
        assert erased.decisions == 2
        event = await services.replay.find(access_to(services), late[0].proposition_id)
        assert event.redacted
