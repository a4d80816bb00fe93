"""An edit that leaves a limit's own members alone leaves what it counted alone (R46)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proffer.model.capping import CapSubjects, OfferLimits
from proffer.model.ids import EntityKind
from proffer.model.limit_index import with_indexes
from proffer.model.parse import limits_of, offer_caps
from proffer.store.ports import Store
from proffer.testing.builders import an_instance, an_offer, id_of
from proffer.testing.caps_contract import ANN, a_decision
from proffer.testing.store_contract import NOON, a_container
from properties.test_caps_oracle import Opening, in_a_file, in_memory, on_a_server

Document = Mapping[str, Any]
CAPS = "xdm:frequencyCappingConstraints"
GOLD, WEB = id_of(EntityKind.OFFER, "gold"), id_of(EntityKind.PLACEMENT, "web")
LABEL = "label"
"""A member of our own, by which the tests recognise a limit. Equal limits differ in nothing else."""

limits = st.fixed_dictionaries(
    {
        "xdm:limit": st.integers(99, 100),
        "xdm:scope": st.sampled_from(["global", "profile"]),
        "xdm:entity": st.sampled_from(["offer", "placement"]),
    },
    optional={
        "xdm:events": st.sampled_from([["decisioning"], ["decisioning", "click"]]),
        "xdm:placements": st.just([WEB]),
        "xdm:repeat": st.sampled_from([{"xdm:enabled": True}, {"xdm:enabled": True, "xdm:unit": "week"}]),
    },
)
edits = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 9), limits),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("order"), st.randoms(use_true_random=False)),
    st.tuples(st.sampled_from(["switch", "raise", "decide"]), st.integers(0, 9)),
    st.tuples(st.just("legacy"), st.none() | st.integers(90, 100)),
)


def without_index(cap: Document) -> Document:
    return {name: value for name, value in cap.items() if name != "xdm:index"}


def edited(caps: Sequence[Document], edit: tuple[Any, ...], label: int) -> list[Document]:
    """The list of limits after this edit."""
    kind, *rest = edit
    changed = list(caps)
    if kind == "insert":
        changed.insert(rest[0] % (len(caps) + 1), {**rest[1], LABEL: label})
    elif kind == "remove" and caps:
        del changed[rest[0] % len(caps)]
    elif kind == "order":
        rest[0].shuffle(changed)
    elif kind in {"switch", "raise"} and caps:
        place = rest[0] % len(caps)
        cap = changed[place]
        new = {"xdm:enabled": not cap.get("xdm:enabled", True)} if kind == "switch" else {"xdm:limit": 80 + label}
        changed[place] = {**cap, **new}
    return changed


def is_ambiguous(document: Document) -> bool:
    """Whether two of the limits count the same, so that only their indexes tell them apart."""
    found = [limit.identity for limit in limits_of(document)]
    return any(one in found[:place] for place, one in enumerate(found))


async def keep_counting(store: Store, first: Sequence[Document], steps: Sequence[Any], sends_indexes: bool) -> None:
    await store.ensure_container(a_container())
    document = an_offer("gold", caps=[{**cap, LABEL: -place} for place, cap in enumerate(first, 1)])

    stored, used, revision = with_indexes(document, {}), dict[Any, int](), 0
    for label, step in enumerate([("first",), *steps]):
        if step[0] != "decide":
            caps = edited(stored.get(CAPS, ()), step, label)
            sent = {**stored, CAPS: caps if sends_indexes else [without_index(cap) for cap in caps]}
            if step[0] == "legacy":
                sent["xdm:cappingConstraint"] = {} if step[1] is None else {"xdm:profileCap": step[1]}
            assume(sends_indexes or not is_ambiguous(sent))
            stored = with_indexes(sent, stored)
            revision += 1
            version = replace(an_instance(stored, etag=revision), modified_us=NOON)
            await store.ensure_caps("c1", revision, [offer_caps(version)])
        else:
            await store.record("c1", a_decision((GOLD, WEB)))
            for limit, name in labelled(stored):
                used[name] = used.get(name, 0) + (1 if limit.enabled else 0)
        present = {name for _, name in labelled(stored)}
        used = {name: count for name, count in used.items() if name in present}
        await store.catch_up(NOON)
        for limit, name in labelled(stored):
            if limit.enabled and name in used:
                usage = await store.usage("c1", OfferLimits([(GOLD, limit)]), CapSubjects((), (ANN,)), NOON)
                assert usage.counts.get(limit.counter_key(GOLD, WEB), 0) >= used[name], (step, limit)


def labelled(document: Document) -> list[tuple[Any, Any]]:
    """Each limit with what it is recognised by."""
    labels = [cap[LABEL] for cap in document.get(CAPS, ())]
    found = limits_of(document)
    return list(zip(found, [*("legacy" for _ in range(len(found) - len(labels))), *labels], strict=True))


@pytest.mark.parametrize("opening", [in_memory, in_a_file, on_a_server], ids=["memory", "SQLite", "PostgreSQL"])
@given(st.lists(limits, max_size=3), st.lists(edits, max_size=12), st.booleans())
@settings(max_examples=60, deadline=None)
async def test_no_edit_takes_from_a_limit_what_it_counted(
    opening: Opening, first: list[Document], steps: list[Any], sends_indexes: bool
) -> None:
    """Whatever is inserted, removed, reordered, switched or raised, and whether indexes are sent or not."""
    with TemporaryDirectory() as folder:
        store = await opening(Path(folder))
        try:
            await keep_counting(store, first, steps, sends_indexes)
        finally:
            await store.close()
