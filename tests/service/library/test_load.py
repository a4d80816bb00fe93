"""A library from a file: what is new is created, what differs changed, and the rest left alone."""

import copy
from collections.abc import Generator
from typing import Any

import pytest

from proffer.app import Services
from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.errors import Conflict, Invalid
from proffer.model.ids import SERVED_KINDS, EntityKind
from proffer.service.library.diff import diff_libraries
from proffer.service.library.load import SECTIONS, LoadReport, library_entries, load
from support.containers import access_to, make, open_services, tag

HTML = "https://ns.adobe.com/experience/offer-management/content-component-html"
PLACEMENT = "xcore:offer-placement:a1"


def offer(name: str, **members: Any) -> dict[str, Any]:
    return {
        "xdm:name": name,
        "xdm:status": "draft",
        "xdm:representations": [],
        "xdm:rank": {"xdm:priority": 1},
        **members,
    }


LIBRARY: dict[str, Any] = {
    "comment": "anything",
    "decisions": [
        {
            "@id": "xcore:offer-activity:1",
            "xdm:name": "d",
            "xdm:status": "live",
            "xdm:fallback": "xcore:fallback-offer:1",
            "xdm:placement": PLACEMENT,
            "xdm:filter": "xcore:offer-filter:1",
        }
    ],
    "fallbacks": [
        {
            "@id": "xcore:fallback-offer:1",
            "xdm:name": "f",
            "xdm:status": "approved",
            "xdm:representations": [
                {
                    "xdm:placement": PLACEMENT,
                    "xdm:components": [{"@type": HTML, "dc:format": "text/html"}],
                }
            ],
        }
    ],
    "collections": [
        {
            "@id": "xcore:offer-filter:1",
            "xdm:name": "c",
            "xdm:filterType": "anyTags",
            "xdm:ids": ["xcore:tag:1"],
        }
    ],
    "tags": [{"@id": "xcore:tag:1", "xdm:name": "t"}, {"xdm:name": "u"}],
    "offers": [offer("o", **{"xdm:tags": ["xcore:tag:1"], "strange": {"x": [1, True, None]}})],
    "rules": [{"xdm:name": "r", "condition": {"type": "PQL", "format": "pql/text", "value": "true"}}],
    "placements": [{"@id": PLACEMENT, "xdm:name": "p", "xdm:channel": "web", "xdm:componentType": HTML}],
}


async def loaded(services: Services, content: Any) -> tuple[int, int, int]:
    """How many were created, changed, and the same."""
    report: LoadReport = await load(services.catalog, access_to(services), copy.deepcopy(content))
    made = (report.created, report.changed, report.unchanged)
    return tuple(sum(one.values()) for one in made)  # type: ignore[return-value]


def changed(section: str, index: int, **members: Any) -> dict[str, Any]:
    content = copy.deepcopy(LIBRARY)
    content[section][index] |= {name.replace("__", ":"): each for name, each in members.items()}
    return content


async def test_loading_twice_changes_nothing() -> None:
    """In whatever order the file has its lists; the second time not even an etag rises."""
    async with open_services() as services:
        assert await loaded(services, LIBRARY) == (8, 0, 0)
        catalog = access_to(services).state.catalog
        revision = catalog.revision
        assert await loaded(services, LIBRARY) == (0, 0, 8)
        assert catalog.revision == revision
        assert {one.etag for one in catalog} == {1}


async def test_what_differs_is_replaced() -> None:
    """Matched by `@id` in either spelling, else by kind and name; members the file lacks are dropped."""
    async with open_services() as services:
        await loaded(services, LIBRARY)
        catalog = access_to(services).state.catalog

        renamed = changed("tags", 0, xdm__name="renamed", **{"@id": "dps:tag:1"})
        assert await loaded(services, renamed) == (0, 1, 7)
        tags = {one.id: (one.name, one.etag) for one in catalog.of_kind(EntityKind.TAG).values()}
        assert tags["xcore:tag:1"] == ("renamed", 2)

        assert await loaded(services, changed("rules", 0, more=1)) == (0, 2, 6)
        (rule,) = catalog.of_kind(EntityKind.RULE).values()
        assert rule.document["more"] == 1
        assert await loaded(services, LIBRARY) == (0, 1, 7)
        (rule,) = catalog.of_kind(EntityKind.RULE).values()
        assert "more" not in rule.document
        # The same to Python, and not the same JSON.
        assert await loaded(services, changed("offers", 0, strange={"x": [1, 1, None]})) == (
            0,
            1,
            7,
        )
        assert await loaded(services, changed("offers", 0, strange={"x": [1, 1.0, None]})) == (
            0,
            1,
            7,
        )


async def test_a_limit_without_an_index_is_the_one_that_has_it() -> None:
    """The server gives the index; a file without it changes nothing, and one in another order keeps it."""
    caps = [
        {"xdm:limit": 5, "xdm:scope": scope, "xdm:entity": "offer", "xdm:enabled": True}
        for scope in ("global", "profile")
    ]
    member = "xdm:frequencyCappingConstraints"
    async with open_services() as services:
        assert await loaded(services, {"offers": [offer("o", **{member: caps})]}) == (1, 0, 0)
        assert await loaded(services, {"offers": [offer("o", **{member: caps})]}) == (0, 0, 1)
        access = access_to(services)
        (stored,) = access.state.catalog.of_kind(EntityKind.OFFER).values()
        assert [cap["xdm:index"] for cap in stored.document[member]] == [1, 2]
        assert await loaded(services, {"offers": [offer("o", **{member: caps[::-1]})]}) == (0, 1, 0)
        (stored,) = access.state.catalog.of_kind(EntityKind.OFFER).values()
        assert [cap["xdm:index"] for cap in stored.document[member]] == [2, 1]


def test_an_index_that_one_library_lacks_is_no_difference() -> None:
    """In either direction; another order of the limits is one."""
    caps = [{"xdm:limit": 5, "xdm:scope": scope, "xdm:entity": "offer"} for scope in ("global", "profile")]
    indexed = [{**cap, "xdm:index": index} for index, cap in enumerate(caps, 1)]
    plain, full, turned = (
        library_entries({"offers": [offer("o", **{"xdm:frequencyCappingConstraints": found})]})
        for found in (caps, indexed, indexed[::-1])
    )
    assert not list(diff_libraries(plain, full))
    assert not list(diff_libraries(full, plain))
    assert list(diff_libraries(full, turned))


async def test_an_id_that_is_nobodys_is_a_new_object() -> None:
    """Even if its name is somebody's; a tag's name is then taken, as in any write."""
    async with open_services() as services:
        await loaded(services, {"offers": [offer("o")]})
        new = {"offers": [offer("o", **{"@id": "xcore:personalized-offer:9"})]}
        assert await loaded(services, new) == (1, 0, 0)
        await tag(services, "t")
        with pytest.raises(Conflict) as error:
            await loaded(services, {"tags": [{"@id": "xcore:tag:9", "xdm:name": "t"}]})
        assert error.value.detail.startswith("$.tags[0]: ")
        assert error.value.code == "name-taken"


async def test_two_of_one_name_cannot_be_told_apart() -> None:
    """In the library, without an `@id` to say which: an error that says where; with it, fine."""
    async with open_services() as services:
        for number in "12":
            await make(
                services,
                EntityKind.OFFER,
                **offer("o", **{"@id": f"xcore:personalized-offer:{number}"}),
            )
        with pytest.raises(Invalid) as error:
            await loaded(services, {"offers": [offer("x"), offer("o")]})
        assert [one.path for one in error.value.violations] == ["$.offers[1].xdm:name"]
        which = {"offers": [offer("o", more=1, **{"@id": "xcore:personalized-offer:2"})]}
        assert await loaded(services, which) == (0, 1, 0)


SAME_ID = {"@id": "xcore:personalized-offer:1"}
BAD: list[tuple[Any, list[str]]] = [
    (None, ["$"]),
    ([], ["$"]),
    ("text", ["$"]),
    ({"offer": [], "rules": 7, "tags": "x", "placements": {"a": 1}}, ["$.offer", "$.placements", "$.tags", "$.rules"]),
    ({"tags": [{"xdm:name": "a"}, 7, None]}, ["$.tags[1]", "$.tags[2]"]),
    ({"offers": [offer("o"), offer("p"), offer("o")]}, ["$.offers[2].xdm:name"]),
    ({"offers": [offer("o", **SAME_ID), offer("o")]}, ["$.offers[1].xdm:name"]),
    ({"offers": [offer("o"), offer("o", **SAME_ID)]}, ["$.offers[1].xdm:name"]),
    ({"offers": [offer("o", **SAME_ID), offer("p", **SAME_ID)]}, ["$.offers[1].@id"]),
    (
        {"offers": [offer("o", **SAME_ID), offer("p", **{"@id": "dps:personalized-offer:1"})]},
        ["$.offers[1].@id"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content", "paths"), BAD)
async def test_a_file_that_cannot_be_meant_is_refused_whole(content: Any, paths: list[str]) -> None:
    """Every mistake at once, each with its path, and nothing is written."""
    async with open_services() as services:
        with pytest.raises(Invalid) as error:
            await loaded(services, content)
        assert [one.path for one in error.value.violations] == paths
        assert len(access_to(services).state.catalog) == 0


async def test_twins_with_ids_of_their_own_are_fine() -> None:
    """Two objects of one kind and name in the file, if each has its `@id`; and of different kinds anyway."""
    content = {
        "offers": [offer("o", **SAME_ID), offer("o", **{"@id": "xcore:personalized-offer:2"})],
        "tags": [{"xdm:name": "o"}],
    }

    async with open_services() as services:
        assert await loaded(services, content) == (3, 0, 0)
        assert await loaded(services, content) == (0, 0, 3)


async def test_loading_stops_at_what_is_refused_and_can_be_taken_up_again() -> None:
    """The path in the file is named; what came before stays, and the mended file is loaded to its end."""
    broken = changed("offers", 0, xdm__status="sold")

    async with open_services() as services:
        with pytest.raises(Invalid) as error:
            await loaded(services, broken)
        assert [one.path for one in error.value.violations] == ["$.offers[0].xdm:status"]
        assert await loaded(services, LIBRARY) == (4, 0, 4)


def test_sections_are_loaded_in_the_order_of_their_references() -> None:
    """Every kind has its list, and what is referred to comes first."""
    assert sorted(SECTIONS.values()) == sorted(SERVED_KINDS)
    assert list(SECTIONS) == [
        "placements",
        "tags",
        "rules",
        "formulas",
        "offers",
        "collections",
        "fallbacks",
        "decisions",
    ]


async def test_loading_many_offers_stays_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand offers beside a live decision: the work of each is the work of the first, counted in steps."""
    rebuilt = 0
    rebuild = SnapshotBuilder._rebuild

    def counted(builder: SnapshotBuilder, key: str) -> Generator[None, None, None]:
        nonlocal rebuilt
        rebuilt += 1
        return rebuild(builder, key)

    monkeypatch.setattr(SnapshotBuilder, "_rebuild", counted)
    steps: list[int] = []
    asked = 0

    class CountingDict(dict[Any, Any]):
        def get(self, *args: Any) -> Any:
            nonlocal asked
            asked += 1
            return super().get(*args)

    async with open_services() as services:
        await loaded(services, LIBRARY)
        catalog = access_to(services).state.catalog
        create = services.catalog.create

        async def noted(*args: Any, **more: Any) -> Any:
            made = await create(*args, **more)
            steps.append(rebuilt)
            return made

        monkeypatch.setattr(services.catalog, "create", noted)
        # How often a document is looked into shows a search through all of them.
        for instance in list(catalog):
            catalog.apply(_with_document(instance, CountingDict(instance.document)))
        before = asked
        some = [offer(f"n{number}") for number in range(500)]
        tagged = [offer(f"t{number}", **{"xdm:tags": ["xcore:tag:1"]}) for number in range(500)]
        assert await loaded(services, {"offers": some + tagged}) == (1_000, 0, 0)
        assert asked - before < 1_000
    # An offer that no live decision reaches rebuilds none; one that a decision reaches rebuilds that one.
    assert steps[499] == steps[0]
    assert steps[999] - steps[499] == 500


def _with_document(instance: Any, document: Any) -> Any:
    from dataclasses import replace

    return replace(instance, document=document)
