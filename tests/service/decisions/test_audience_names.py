"""The trace of a decision names audiences as the library does."""

from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest
from proffer.testing import builders as b
from support.containers import access_to, create_library, open_services


async def test_a_trace_names_the_audience() -> None:
    """Those of the library by name, in a decision and its replay; those of others by namespace and id."""
    async with open_services(clock=lambda: b.NOON) as services:
        access = access_to(services)
        expression = {"type": "PQL", "format": "pql/text", "value": "person.age >= 18"}
        made = await services.audiences.create(access, {"name": "No open in 14 days", "expression": expression})
        own, other = made.instance.instance_id, "crm/unknown"
        library = b.a_library(
            b.an_offer("own", constraint=b.a_constraint(all_audiences=[own])),
            b.an_offer("any", constraint=b.a_constraint(any_audience=[own, other])),
        )
        await create_library(services, library)
        request = DecisionRequest(scopes=(b.a_scope(),))
        result = await services.decide.decide(access, request, Profile(), surface="test", explain=True)
        assert result.outcome.trace is not None
        replay = await services.replay.replay(access, result.proposition_id)

    for traces in (result.outcome.trace, replay.traces):
        assert {verdict.name: verdict.reason for verdict in traces[0].candidates} == {
            "own": "not a member of audience `No open in 14 days`",
            "any": "not a member of audience `No open in 14 days` or `crm/unknown`",
        }
