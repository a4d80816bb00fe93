"""incremental-is-scratch: a snapshot built change by change is the snapshot of the catalogue as it now is."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.engine.compile.compiler import Builder, build
from proffer.engine.compiled import Asked
from proffer.engine.decide import decide
from proffer.engine.index.pool import SIZES, Pool, Sizes
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Snapshot
from proffer.model.ids import EntityKind
from proffer.model.parse import Entity
from proffer.pql import CompiledFormula
from proffer.pql.columns.score_columns import Bulk
from proffer.pql.index.conjuncts import Apart
from proffer.pql.index.partial_eval import Split
from proffer.testing import strategies
from proffer.testing.builders import INDEXED, Document, an_entity, entities, the
from proffer.testing.oracle import Oracle

Change = tuple[EntityKind, str, Mapping[str, Any] | None]


def plain(value: Any) -> Any:
    """A snapshot as values that can be compared: a compiled rule is what it was compiled from and to.

    Of a pool it is the offers and their order that counts; that the index over them answers rightly is
    the oracle's affair.
    """
    if isinstance(value, Asked):
        return (value.text, value.reads)
    if isinstance(value, CompiledFormula):
        return (value.text, value.source)
    if isinstance(value, Split):
        return (value.by_request, value.by_offer, repr(value.node))
    if isinstance(value, Apart):
        return ([(one.name, one.key) for one in value.conditions], len(value.parts))
    if isinstance(value, Bulk):
        return "the same once more, as arrays"
    if isinstance(value, Pool):
        return plain((value.offers, value.levels, value.capped))
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(member) for key, member in value.items()}
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def from_scratch(catalogue: Mapping[str, Entity], revision: int, sizes: Sizes = SIZES) -> Snapshot:
    return build("c1", catalogue.items(), revision, sizes)


@pytest.mark.parametrize("sizes", [SIZES, INDEXED], ids=["as small pools", "as large ones"])
@given(
    library=strategies.libraries,
    changes=strategies.changes,
    cuts=st.lists(st.integers(0, 8), max_size=3),
)
def test_a_snapshot_built_in_steps_is_the_one_built_at_once(
    sizes: Sizes, library: list[Document], changes: list[Change], cuts: list[int]
) -> None:
    """incremental-is-scratch: after writes, deletions and creations anew, in batches of any size."""
    catalogue = entities(library)
    builder = Builder("c1", sizes=sizes)
    builder.apply(catalogue.items(), 0)
    for revision, (start, end) in enumerate(pairwise(sorted({0, *cuts, 99})), 1):
        batch: list[tuple[str, Entity | None]] = []
        for kind, name, document in changes[start:end]:
            entity = None if document is None else an_entity(document)
            batch.append((the(kind, name), entity))
            catalogue.pop(the(kind, name), None)
            if entity is not None:
                catalogue[the(kind, name)] = entity
        snapshot = builder.apply(batch, revision)

        scratch = from_scratch(catalogue, revision, sizes)
        assert plain(scratch) == plain(snapshot)
        assert plain(scratch.faults) == plain(snapshot.faults)


@given(strategies.libraries, st.randoms(use_true_random=False))
def test_the_order_of_the_catalogue_does_not_matter(library: list[Document], random: Any) -> None:
    """incremental-is-scratch: objects may come before or after what they refer to, all at once or one by one."""
    catalogue = list(entities(library).items())
    shuffled = random.sample(catalogue, len(catalogue))
    builder = Builder("c1")
    for change in shuffled:
        builder.apply([change], 1)

    assert plain(build("c1", catalogue, 1)) == plain(builder.apply([], 1))


@given(strategies.libraries)
def test_nothing_is_left_of_what_is_deleted(library: list[Document]) -> None:
    """incremental-is-scratch: with everything deleted the builder is as new, indexes and all."""
    keys = list(entities(library))
    builder = Builder("c1")
    builder.apply(entities(library).items(), 1)
    builder.apply(((key, None) for key in keys), 2)

    left = vars(builder)
    assert left.pop("_pools").is_empty
    assert {name: value for name, value in vars(Builder("c1")).items() if name != "_pools"} == left


@given(strategies.libraries, strategies.changes, strategies.requests)
def test_a_snapshot_built_in_steps_decides_as_the_naive_engine_does(
    library: list[Document], changes: list[Change], inputs: Inputs
) -> None:
    """oracle: after changes to a library that is indexed already, whatever of the index was kept."""
    catalogue = entities(library)
    builder = Builder("c1", sizes=INDEXED)
    builder.apply(catalogue.items(), 0)
    for revision, (kind, name, document) in enumerate(changes, 1):
        entity = None if document is None else an_entity(document)
        builder.apply([(the(kind, name), entity)], revision)
        catalogue.pop(the(kind, name), None)
        if entity is not None:
            catalogue[the(kind, name)] = entity
    snapshot = builder.apply([], len(changes) + 1)

    assert Oracle(catalogue).decide(inputs) == decide(snapshot, inputs)
