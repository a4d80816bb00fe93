"""The library as a service: what is kept of every write, and the limits of how much there may be."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proffer.app import DEV_CONTAINER, Services
from proffer.auth.principal import Permission, Principal
from proffer.errors import Forbidden, Invalid, NotFound
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from support.containers import OWNER, make, opened, tag

HTML = "https://ns.adobe.com/experience/offer-management/content-component-html"


def renamed(name: str) -> Any:
    return lambda _: {"xdm:name": name}


async def test_every_revision_is_kept() -> None:
    """Each version there was, the deletion last, whatever has become of the object since."""
    async with opened() as services:
        catalog = services.catalog
        made = await tag(services, "1")
        for name in "23":
            await catalog.revise(OWNER, DEV_CONTAINER, made.instance_id, renamed(name))
        await catalog.delete(OWNER, DEV_CONTAINER, made.instance_id)
        with pytest.raises(NotFound):
            catalog.get(OWNER, DEV_CONTAINER, made.instance_id)
        with pytest.raises(NotFound):
            await catalog.history(OWNER, DEV_CONTAINER, "nothing")
        versions = await catalog.history(OWNER, DEV_CONTAINER, made.instance_id.upper())
    assert [(one.etag, one.revision, one.deleted, one.name) for one in versions] == [
        (1, 1, False, "1"),
        (2, 2, False, "2"),
        (3, 3, False, "3"),
        (4, 4, True, "3"),
    ]


async def test_nobody_writes_or_reads_without_permission() -> None:
    """The service itself asks, whatever surface it is called by; what does not exist makes no difference."""

    def without(permission: Permission) -> Principal:
        return Principal(
            organisation=OWNER.organisation,
            sandbox=OWNER.sandbox,
            permissions=frozenset(Permission) - {permission, Permission.ADMIN},
            user="u",
            client="c",
        )

    async with opened() as services:
        catalog = services.catalog
        reader, writer = without(Permission.LIBRARY_WRITE), without(Permission.LIBRARY_READ)
        made = await tag(services, "a")
        for container in (DEV_CONTAINER, "nowhere"):
            for instance in (made.instance_id, "nothing"):
                with pytest.raises(Forbidden):
                    await catalog.revise(reader, container, instance, renamed("b"))
                with pytest.raises(Forbidden):
                    await catalog.delete(reader, container, instance)
                with pytest.raises(Forbidden):
                    catalog.get(writer, container, instance)
                with pytest.raises(Forbidden):
                    await catalog.history(writer, container, instance)
            with pytest.raises(Forbidden):
                await catalog.create(reader, container, EntityKind.TAG, {"xdm:name": "b"})
        assert catalog.get(reader, DEV_CONTAINER, made.instance_id).etag == 1


# Limits (R32).


async def refused(write: Coroutine[Any, Any, Instance]) -> list[tuple[str, str]]:
    """Path and message of what refuses the write, for limits."""
    with pytest.raises(Invalid) as error:
        await write
    assert {one.code for one in error.value.findings} <= {"limit", "range"}
    return [(one.path or "", one.message) for one in error.value.findings]


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
async def test_a_container_holds_so_many(
    kind: EntityKind, members: dict[str, Any], word: str
) -> None:
    """A thousand fit; the next is refused with the limit in words, until one has gone."""
    async with opened() as services:

        async def one(number: int) -> Instance:
            return await make(services, kind, xdm__name=f"n{number}", **members)

        made = await asyncio.gather(*(one(number) for number in range(1_000)))
        ((path, message),) = await refused(one(1_000))
        assert path == "$"
        assert word in message
        await services.catalog.revise(
            OWNER,
            DEV_CONTAINER,
            made[0].instance_id,
            lambda before: {**before.document, "more": 1},
        )
        await services.catalog.delete(OWNER, DEV_CONTAINER, made[0].instance_id)
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
    async with opened() as services:
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
        services.libraries.find(OWNER, DEV_CONTAINER).catalog.cap_rules = 19_995
        ten = {"xdm:frequencyCappingConstraints": [cap] * 10}
        assert await refused(offer(services, **ten)) == [
            (
                "$.xdm:frequencyCappingConstraints",
                "20,005 capping rules is more than the limit of 20,000 capping rules per container",
            )
        ]
        await offer(services, **{"xdm:frequencyCappingConstraints": [cap] * 5})
        services.libraries.find(OWNER, DEV_CONTAINER).catalog.cap_rules = 5

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
            text = "true or " * 2_000
            condition = {
                "xdm:type": "PQL",
                "xdm:format": "pql/text",
                "xdm:value": f'"{text}"'[: size - 1] + '"',
            }
            return make(services, EntityKind.RULE, xdm__name="r", xdm__condition=condition)

        await rule(15 * 1024)
        ((path, _),) = await refused(rule(15 * 1024 + 1))
        assert path == "$.xdm:condition.xdm:value"


async def test_a_decision_names_thirty_placements_at_most() -> None:
    """Counted over all its criteria; the same goes for collections."""
    async with opened() as services:
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
    async with opened() as services:

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
                OWNER,
                DEV_CONTAINER,
                made.instance_id,
                lambda before: {**before.document, "more": "xx"},
            )
        )
        await make(services, EntityKind.TAG, xdm__name="t", filling="x" * 400_000)
