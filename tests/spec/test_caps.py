"""The cases of `spec/caps`: what is counted, for whom, and until when, played to every store that needs no server."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from proffer.model.customer import ProfileRecord
from proffer.model.documents import document_violations
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.parse import offer_caps
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing import builders
from proffer.testing.builders import an_instance, an_offer, id_of
from proffer.testing.caps_contract import parse_us, try_record
from proffer.testing.store_contract import a_container

SPEC = Path(__file__).parents[2] / "spec" / "caps"
GOLD = id_of(EntityKind.OFFER, "gold")


def cases() -> list[Any]:
    return [
        pytest.param(case, id=case["name"])
        for path in sorted(SPEC.glob("*.yaml"))
        for case in YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    ]


def moment(value: Any) -> int:
    return parse_us(str(value).replace(" ", "T"))


def prefixed(cap: dict[str, Any]) -> dict[str, Any]:
    """A cap as it is written in a document."""
    made: dict[str, Any] = {}
    for name, value in cap.items():
        if name == "placement":
            value = id_of(EntityKind.PLACEMENT, value)  # noqa: PLW2901
        elif name == "placements":
            value = [id_of(EntityKind.PLACEMENT, one) for one in value]  # noqa: PLW2901
        made[f"xdm:{name}"] = prefixed(value) if isinstance(value, dict) else value
    return made


def document(offer: dict[str, Any]) -> dict[str, Any]:
    made = an_offer(
        "gold",
        status=offer.get("status", "approved"),
        cap=offer.get("globalCap"),
        profile_cap=offer.get("profileCap"),
        caps=[prefixed(dict(one)) for one in offer.get("caps", ())],
    )
    made["xdm:selectionConstraint"] = {
        f"xdm:{name}Date": builders.moment(moment(offer[name])) for name in ("start", "end") if name in offer
    }
    return made


def listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def identity(name: str) -> IdentityKey:
    namespace, _, key = name.rpartition(":")
    return IdentityKey(namespace or "Email", key)


async def play(store: Store, case: dict[str, Any]) -> None:
    await store.ensure_container(a_container())
    offer, revision = dict(case["offer"]), 0
    first = moment(case["steps"][0]["at"])
    for step in [{"at": None, "offer": {}}, *case["steps"]]:
        now = first if step["at"] is None else moment(step["at"])
        if "offer" in step:
            offer |= step["offer"]
            revision += 1
            version = replace(an_instance(document(offer), etag=revision), modified_us=now)
            await store.ensure_caps("c1", revision, [offer_caps(version)])
        elif "one" in step:
            identities = tuple(map(identity, step["one"]))
            record = ProfileRecord(identities=identities, dataset="crm", stamped_us=now)
            await store.apply_changes("c1", [record], now_us=now)
        else:
            who = [identity(name) for name in listed(step.get("to", "ann"))]
            places = [id_of(EntityKind.PLACEMENT, one) for one in listed(step.get("in", "web"))]
            given = [(GOLD, place) for place in places]
            assert await try_record(store, *given, who=who, now=now) is step["given"], step


async def in_memory(_: Path) -> Store:
    return MemoryStore()


async def in_a_file(folder: Path) -> Store:
    return await SqliteStore.open(folder / "proffer.db", synchronous="OFF")


@pytest.mark.parametrize("case", cases())
def test_a_limit_that_is_counted_can_be_saved(case: dict[str, Any]) -> None:
    """No check of offers refuses the limits of these cases."""
    offer: dict[str, Any] = {}
    for step in [{"offer": case["offer"]}, *case["steps"]]:
        offer |= step.get("offer", {})
        refused = document_violations(EntityKind.OFFER, document(offer))
        assert not [violation for violation in refused if "cappingConstraints" in (violation.path or "").lower()]


@pytest.mark.parametrize("opening", [in_memory, in_a_file], ids=["memory", "SQLite"])
@pytest.mark.parametrize("case", cases())
async def test_caps_count_as_written(
    tmp_path: Path,
    case: dict[str, Any],
    opening: Callable[[Path], Coroutine[Any, Any, Store]],
) -> None:
    """Step by step, as the file says."""
    store = await opening(tmp_path)
    try:
        await play(store, case)
    finally:
        await store.close()
