"""What people do with whole objects: duplicate one, and move many through their lifecycle (spec 1.10)."""

import asyncio
from typing import Any

import pytest

from proffer.app import DEV_CONTAINER, Services
from proffer.errors import Invalid, NotFound
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.lifecycle import DecisionStatus, OfferStatus, may_become
from proffer.testing.builders import (
    a_collection,
    a_criterion,
    a_decision,
    a_fallback,
    a_placement,
    a_tag,
    an_offer,
)
from support.containers import OWNER, opened


async def write(services: Services, kind: EntityKind, document: Any) -> Instance:
    return await services.catalog.create(OWNER, DEV_CONTAINER, kind, document)


async def a_small_library(services: Services) -> dict[str, Instance]:
    return {
        "placement": await write(services, EntityKind.PLACEMENT, a_placement("web")),
        "tag": await write(services, EntityKind.TAG, a_tag("red")),
        "offer": await write(services, EntityKind.OFFER, an_offer("o1", tags=["red"])),
        "other": await write(services, EntityKind.OFFER, an_offer("o2", status="draft")),
        "gone": await write(services, EntityKind.OFFER, an_offer("o3", status="archived")),
        "collection": await write(services, EntityKind.COLLECTION, a_collection("c1", ["o1"])),
        "fallback": await write(services, EntityKind.FALLBACK, a_fallback("f1")),
        "decision": await write(
            services,
            EntityKind.DECISION,
            a_decision("d1", a_criterion("c1", placements=["web"]), fallback="f1"),
        ),
    }


def test_a_duplicate_is_a_draft_of_the_same() -> None:
    """Everything is copied but id and status; the name is one that is free, or the one given."""

    async def story() -> None:
        async with opened() as services:
            made = await a_small_library(services)
            editing = services.editing
            for kind, name in (
                (EntityKind.OFFER, "offer"),
                (EntityKind.DECISION, "decision"),
                (EntityKind.TAG, "tag"),
            ):
                before = made[name]
                first = await editing.duplicate(OWNER, DEV_CONTAINER, kind, before.id)
                second = await editing.duplicate(OWNER, DEV_CONTAINER, kind, before.id)
                third = await editing.duplicate(OWNER, DEV_CONTAINER, kind, before.id, "mine")
                assert [one.name for one in (first, second, third)] == [
                    f"{before.name} (copy)",
                    f"{before.name} (copy 2)",
                    "mine",
                ]
                assert first.id != before.id
                own = {"@id", "xdm:name", "xdm:status"}
                assert {k: v for k, v in first.document.items() if k not in own} == {
                    k: v for k, v in before.document.items() if k not in own
                }
                assert first.document.get("xdm:status", "draft") == "draft"
            with pytest.raises(NotFound):
                await editing.duplicate(OWNER, DEV_CONTAINER, EntityKind.TAG, made["offer"].id)

    asyncio.run(story())


def test_many_change_their_status_at_once() -> None:
    """Those whose lifecycle has the step change; each of the others says why it does not."""

    async def story() -> list[tuple[str | None, bool]]:
        async with opened() as services:
            made = await a_small_library(services)
            names = ("other", "gone", "offer", "placement")
            ids = [made[name].id for name in names] + ["xcore:tag:99"]
            moved = await services.editing.move(OWNER, DEV_CONTAINER, [*ids, ids[0]], "approved")
            assert [one.id for one in moved] == ids
            return [
                (str(one.version.document["xdm:status"]) if one.version else None, bool(one.reason))
                for one in moved
            ]

    assert asyncio.run(story()) == [("approved", False), *[(None, True)] * 4]


def test_the_guarantee_holds_for_many_too() -> None:
    """A fallback offer that a live decision needs stays approved, whoever else changes (R11)."""

    async def story() -> None:
        async with opened() as services:
            made = await a_small_library(services)
            ids = [made["fallback"].id, made["offer"].id]
            first, second = await services.editing.move(OWNER, DEV_CONTAINER, ids, "draft")
            assert first.version is None
            assert "live decision" in (first.reason or "")
            assert second.version is not None
            with pytest.raises(Invalid):
                await services.editing.move(OWNER, DEV_CONTAINER, ["x"] * 1001, "draft")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "now", "status", "may"),
    [
        (EntityKind.OFFER, "draft", "approved", True),
        (EntityKind.OFFER, "approved", "draft", True),
        (EntityKind.OFFER, "archived", "draft", False),
        (EntityKind.OFFER, "approved", "approved", False),
        (EntityKind.DECISION, "live", "complete", True),
        (EntityKind.DECISION, "complete", "live", False),
        (EntityKind.DECISION, "complete", "archived", True),
        (EntityKind.DECISION, "archived", "draft", False),
        (EntityKind.TAG, "draft", "approved", False),
    ],
)
def test_the_steps_of_a_lifecycle(kind: EntityKind, now: str, status: str, may: bool) -> None:
    """As documented: archived and complete are ends, from which only archiving is left."""
    assert may == may_become(kind, now, status)


def test_archived_is_the_end() -> None:
    """No status follows it, for either kind."""
    for kind, statuses in ((EntityKind.OFFER, OfferStatus), (EntityKind.DECISION, DecisionStatus)):
        for status in statuses:
            assert not may_become(kind, "archived", status)
