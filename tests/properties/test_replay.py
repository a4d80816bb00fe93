"""replay-on-record: what is on record of a decision, and the library's revisions, give the same answer for ever."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.app import Services
from proffer.errors import ProfferError
from proffer.model.ids import EntityKind, kind_of
from proffer.model.profile import Profile
from proffer.service.decisions.decide import DecisionResult
from proffer.service.library.load import SECTIONS
from proffer.testing.builders import NOON, Document
from proffer.testing.strategies import ODDNESS, SEEDS, Dice, a_random_library, a_random_request
from support.containers import access_to, open_services

ORDER = [EntityKind.AUDIENCE, *SECTIONS.values()]


async def load(services: Services, documents: Sequence[Document]) -> None:
    """Create what the library takes of these: random ones are not all valid."""
    for document in sorted(documents, key=lambda one: ORDER.index(_kind(one))):
        try:
            await services.catalog.create(access_to(services), _kind(document), document)
        except ProfferError:
            continue


async def decide(services: Services, seed: int, odd: int) -> DecisionResult | None:
    inputs = a_random_request(seed, odd, 3)
    who = Profile(attributes=inputs.profile.attributes, is_known=inputs.profile.is_known)
    profile = await services.profiles.resolve(access_to(services), who)
    decided = await services.decide.decide(access_to(services), inputs.request, profile, surface="test", partial=True)
    return decided if len(decided.outcome.unknown_scopes) < len(decided.outcome.scopes) else None


async def edit(services: Services, dice: Dice) -> None:
    """Change or delete something, where the library lets one."""
    library = access_to(services).state
    every = [one for kind in ORDER for one in library.catalog.of_kind(kind).values()]
    if not every:
        return
    one = dice.choose(every)
    try:
        if dice.number(0, 4) < 2:
            await services.catalog.delete(access_to(services), one.instance_id)
        else:
            changed: dict[str, Any] = {"xdm:name": f"changed {dice.number(0, 1000)}"}
            if "xdm:rank" in one.document:
                changed["xdm:rank"] = {"xdm:priority": dice.number(0, 4)}
            await services.catalog.revise(access_to(services), one.instance_id, lambda old: {**old.document, **changed})
    except ProfferError:
        return


@settings(max_examples=25, deadline=None)
@given(SEEDS, ODDNESS, st.integers(1, 8))
async def test_what_is_on_record_can_be_decided_again(seed: int, odd: int, edits: int) -> None:
    """Whatever became of the library since, bit for bit: offers, versions, ranks, scores, components."""
    moment = [NOON]
    dice = Dice(seed)
    async with open_services(clock=lambda: moment[0]) as services:
        await load(services, a_random_library(seed, odd, 8, 2))
        made = []
        for number in range(4):
            moment[0] += 1000
            made.append(await decide(services, seed + number, odd))
            await edit(services, dice)
        for _ in range(edits):
            moment[0] += 1000
            await edit(services, dice)
        for decided in made:
            if decided is not None:
                found = await services.replay.replay(access_to(services), decided.proposition_id)
                assert found.as_recorded == ()
                assert found.reproduced


def _kind(document: Document) -> Any:
    return kind_of(document["@id"])
