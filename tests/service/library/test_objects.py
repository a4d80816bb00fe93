"""The library as a service: what is kept of every write, and the limits of how much there may be."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proffer.app import Services
from proffer.errors import Invalid, NotFound
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from support.containers import access_to, make, open_services, tag

HTML = "https://ns.adobe.com/experience/offer-management/content-component-html"


def renamed(name: str) -> Any:
    return lambda _: {"xdm:name": name}


async def test_every_revision_is_kept() -> None:
    """Each version there was, the deletion last, whatever has become of the object since."""
    async with open_services() as services:
        catalog, access = services.catalog, access_to(services)
        made = await tag(services, "1")
        for name in "23":
            await catalog.revise(access, made.instance_id, renamed(name))
        await catalog.delete(access, made.instance_id)
        with pytest.raises(NotFound):
            catalog.get(access, made.instance_id)
        versions = await access.state.history(made.instance_id)
    assert [(one.etag, one.revision, one.deleted, one.name) for one in versions] == [
        (1, 1, False, "1"),
        (2, 2, False, "2"),
        (3, 3, False, "3"),
        (4, 4, True, "3"),
    ]


# Limits (R32).


async def refused(write: Coroutine[Any, Any, object]) -> list[tuple[str, str]]:
    """Path and message of what refuses the write, for limits."""
    with pytest.raises(Invalid) as error:
        await write
    assert {one.code for one in error.value.violations} <= {"limit", "range"}
    return [(one.path or "", one.message) for one in error.value.violations]


@pytest.mark.parametrize(
    ("kind", "members", "word"),
    [
        (EntityKind.TAG, {}, "1,000 tags"),
        (
            EntityKind.PLACEMENT,
            {"xdm:channel": "web", "xdm:componentType": HTML},
            "1,000 placements",
        ),
    ],
)
async def test_a_container_holds_so_many(kind: EntityKind, members: dict[str, Any], word: str) -> None:
    """A thousand fit; the next is refused with the limit in words, until one has gone."""
    async with open_services() as services:

        async def one(number: int) -> Instance:
            return await make(services, kind, xdm__name=f"n{number}", **members)

        made = await asyncio.gather(*(one(number) for number in range(1_000)))
        ((path, message),) = await refused(one(1_000))
        assert path == "$"
        assert word in message
        await services.catalog.revise(
            access_to(services),
            made[0].instance_id,
            lambda before: {**before.document, "more": 1},
        )
        await services.catalog.delete(access_to(services), made[0].instance_id)
        results = await asyncio.gather(one(1_001), one(1_002), return_exceptions=True)
        assert [type(result) for result in results] == [Instance, Invalid]


async def offer(services: Services, **members: Any) -> Instance:
    return await make(
        services,
        EntityKind.OFFER,
        xdm__name="o",
        xdm__status="draft",
        **{"xdm:representations": [], "xdm:rank": {"xdm:priority": 1}, **members},
    )


async def test_documents_keep_the_documented_limits() -> None:
    """Tags, attributes and caps of an offer; members of a collection; placements of a decision; bytes of a rule."""
    async with open_services() as services:
        tags = [(await tag(services, f"t{number}")).id for number in range(21)]
        ids = [(await offer(services)).id for _ in range(501)]
        cap = {"xdm:limit": 1, "xdm:scope": "global", "xdm:entity": "offer"}
        await offer(services, **{"xdm:tags": tags[:20]})
        assert await refused(offer(services, **{"xdm:tags": tags}))
        many = {str(number): "x" for number in range(31)}
        assert await refused(offer(services, **{"xdm:characteristics": many}))
        caps = {"xdm:frequencyCappingConstraints": [cap] * 11}
        assert await refused(offer(services, **caps))
        # As if 19,995 rules were there already: one across all placements counts for each.
        access_to(services).state.catalog.cap_rule_count = 19_995
        ten = {"xdm:frequencyCappingConstraints": [cap] * 10}
        assert await refused(offer(services, **ten)) == [
            (
                "$.xdm:frequencyCappingConstraints",
                "20,005 capping rules is more than the limit of 20,000 capping rules per container",
            )
        ]
        await offer(services, **{"xdm:frequencyCappingConstraints": [cap] * 5})
        access_to(services).state.catalog.cap_rule_count = 5

        def collection(filter_type: str, members: list[str]) -> Coroutine[Any, Any, Instance]:
            return make(
                services,
                EntityKind.COLLECTION,
                xdm__name="c",
                xdm__filterType=filter_type,
                xdm__ids=members,
            )

        await collection("offers", ids[:500])
        ((path, message),) = await refused(collection("offers", ids))
        assert (path, "500 offers per collection" in message) == ("$.xdm:ids", True)
        await collection("anyTags", tags[:20])
        ((path, message),) = await refused(collection("allTags", tags))
        assert (path, "20 tags per collection" in message) == ("$.xdm:ids", True)

        def rule(size: int) -> Coroutine[Any, Any, Instance]:
            start = '_acme.text = "'
            condition = {
                "xdm:type": "PQL",
                "xdm:format": "pql/text",
                "xdm:value": start + "x" * (size - len(start) - 1) + '"',
            }
            return make(services, EntityKind.RULE, xdm__name="r", xdm__condition=condition)

        await rule(15 * 1024)
        ((path, _),) = await refused(rule(15 * 1024 + 1))
        assert path == "$.xdm:condition.xdm:value"


async def test_a_decision_names_thirty_placements_at_most() -> None:
    """Counted over all its criteria; the same goes for collections."""
    async with open_services() as services:
        placements = [
            await make(
                services,
                EntityKind.PLACEMENT,
                xdm__name=f"p{number}",
                xdm__channel="web",
                xdm__componentType=HTML,
            )
            for number in range(31)
        ]
        fallback = await make(
            services,
            EntityKind.FALLBACK,
            xdm__name="f",
            xdm__status="draft",
            **{"xdm:representations": []},
        )
        collection = await make(
            services,
            EntityKind.COLLECTION,
            xdm__name="c",
            xdm__filterType="offers",
            xdm__ids=[],
        )

        def decision(count: int) -> Coroutine[Any, Any, Instance]:
            criteria = [
                {
                    "xdm:placements": [placement.id],
                    "xdm:optionSelection": {"xdm:filter": collection.id},
                }
                for placement in placements[:count]
            ]
            return make(
                services,
                EntityKind.DECISION,
                xdm__name="d",
                xdm__status="draft",
                xdm__fallback=fallback.id,
                xdm__criteria=criteria,
            )

        await decision(30)
        ((path, message),) = await refused(decision(31))
        assert path == "$.xdm:criteria"
        assert "30 placements per decision" in message


@pytest.mark.parametrize("kind", [EntityKind.OFFER, EntityKind.FALLBACK])
async def test_an_offer_with_all_it_carries_is_300_kb_at_most(kind: EntityKind) -> None:
    """However it grew, and whatever fills it; the refusal names the limit. Other kinds have none."""
    async with open_services() as services:

        def sized(size: int) -> Coroutine[Any, Any, Instance]:
            members: dict[str, Any] = {
                "@id": f"xcore:{kind}:1",
                "xdm:name": "o",
                "xdm:status": "draft",
                "xdm:representations": [],
                "xdm:rank": {"xdm:priority": 1},
                "filling": "",
            }
            import msgspec

            members["filling"] = "é" * ((size - len(msgspec.json.encode(members))) // 2)
            return make(services, kind, **members)

        ((path, message),) = await refused(sized(300 * 1024 + 2))
        assert path == "$"
        assert "307,200 bytes per offer" in message
        made = await sized(300 * 1024)
        await refused(
            services.catalog.revise(
                access_to(services),
                made.instance_id,
                lambda before: {**before.document, "more": "xx"},
            )
        )
        await make(services, EntityKind.TAG, xdm__name="t", filling="x" * 400_000)
