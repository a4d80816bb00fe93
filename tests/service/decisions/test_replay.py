"""Replays share the server: one at a time holds a whole library in memory."""

import asyncio
from collections.abc import Collection

import pytest

from proffer.engine.snapshot import Snapshot
from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest
from proffer.service.decisions import replay
from proffer.service.library.library import ContainerState
from proffer.testing import builders as b
from support.containers import access_to, create_library, open_services


async def test_replays_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [0]
    load = replay.snapshot_at

    async def count_and_load(state: ContainerState, revision: int, decisions: Collection[str]) -> Snapshot:
        counts.append(counts[-1] + 1)
        await asyncio.sleep(0)  # so that another could begin
        snapshot = await load(state, revision, decisions)
        counts.append(counts[-1] - 1)
        return snapshot

    monkeypatch.setattr(replay, "snapshot_at", count_and_load)
    async with open_services(clock=lambda: b.NOON) as services:
        access = access_to(services)
        await create_library(services, b.a_library(b.an_offer("gold")))
        request = DecisionRequest(scopes=(b.a_scope(),))
        results = [await services.decide.decide(access, request, Profile(), surface="test") for _ in range(3)]
        replays = await asyncio.gather(*(services.replay.replay(access, result.proposition_id) for result in results))

    assert all(each.reproduced for each in replays)
    assert max(counts) == 1
