"""incremental-is-scratch: a snapshot built change by change is the snapshot of the catalogue as it now is."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.engine.compile.compiler import SnapshotBuilder, build_snapshot
from proffer.engine.compiled import RuleEvaluator
from proffer.engine.decide import decide
from proffer.engine.index.pool import DEFAULT_TUNING, IndexTuning, Pool
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Snapshot
from proffer.model.ids import EntityKind
from proffer.model.parse import Entity
from proffer.pql import CompiledFormula
from proffer.pql.columns.score_columns import VectorizedFormula
from proffer.pql.index.conjuncts import Conjunction
from proffer.pql.index.partial_eval import SplitFormula
from proffer.pql.index.rule_tests import RuleTests
from proffer.testing import strategies
from proffer.testing.builders import ALWAYS_INDEXED, Document, an_entity, entities, id_of
from proffer.testing.oracle import Oracle, uncounted

Change = tuple[EntityKind, str, Mapping[str, Any] | None]


def plain(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """A snapshot as values that can be compared: a compiled rule is what it was compiled from and to.

    Of a pool it is the offers and their order that counts; that the index over them answers rightly is
    the oracle's affair. Objects that several others share are converted once: `seen`, by identity.
    """
    seen = {} if seen is None else seen
    if id(value) not in seen:
        seen[id(value)] = (_plain(value, seen), value)  # the reference keeps the identity
    return seen[id(value)][0]


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    if isinstance(value, RuleEvaluator):
        return (value.text, value.reads)
    if isinstance(value, CompiledFormula):
        return (value.text, value.source)
    if isinstance(value, SplitFormula):
        return (value.request_names, value.offer_names, repr(value.residual))
    if isinstance(value, Conjunction):
        return ([(one.name, one.key) for one in value.conditions], len(value.residuals))
    if isinstance(value, RuleTests):
        return (value.text, value.spans, value.shape, [(one.name, one.key) for one in value.conditions])
    if isinstance(value, VectorizedFormula):
        return "the same once more, as arrays"
    if isinstance(value, Pool):
        return plain((value.offers, value.levels, value.capped), seen)
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name), seen) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(member, seen) for key, member in value.items()}
    return tuple(plain(member, seen) for member in value) if isinstance(value, tuple) else value


def from_scratch(catalogue: Mapping[str, Entity], revision: int, sizes: IndexTuning = DEFAULT_TUNING) -> Snapshot:
    return build_snapshot("c1", catalogue.items(), revision, sizes)


@pytest.mark.parametrize("sizes", [DEFAULT_TUNING, ALWAYS_INDEXED], ids=["as small pools", "as large ones"])
@given(
    library=strategies.libraries,
    changes=strategies.changes,
    cuts=st.lists(st.integers(0, 8), max_size=3),
)
def test_a_snapshot_built_in_steps_is_the_one_built_at_once(
    sizes: IndexTuning, library: list[Document], changes: list[Change], cuts: list[int]
) -> None:
    """incremental-is-scratch: after writes, deletions and creations anew, in batches of any size."""
    catalogue = entities(library)
    builder = SnapshotBuilder("c1", tuning=sizes)
    builder.apply(catalogue.items(), 0)
    for revision, (start, end) in enumerate(pairwise(sorted({0, *cuts, 99})), 1):
        batch: list[tuple[str, Entity | None]] = []
        for kind, name, document in changes[start:end]:
            entity = None if document is None else an_entity(document)
            batch.append((id_of(kind, name), entity))
            catalogue.pop(id_of(kind, name), None)
            if entity is not None:
                catalogue[id_of(kind, name)] = entity
        snapshot = builder.apply(batch, revision)

        scratch = from_scratch(catalogue, revision, sizes)
        assert plain(scratch) == plain(snapshot)
        assert plain(scratch.diagnostics) == plain(snapshot.diagnostics)


@given(strategies.libraries, st.randoms(use_true_random=False))
def test_the_order_of_the_catalogue_does_not_matter(library: list[Document], random: Any) -> None:
    """incremental-is-scratch: objects may come before or after what they refer to, all at once or one by one."""
    catalogue = list(entities(library).items())
    shuffled = random.sample(catalogue, len(catalogue))
    builder = SnapshotBuilder("c1")
    for change in shuffled:
        builder.apply([change], 1)

    assert plain(build_snapshot("c1", catalogue, 1)) == plain(builder.apply([], 1))


@given(strategies.libraries)
def test_nothing_is_left_of_what_is_deleted(library: list[Document]) -> None:
    """incremental-is-scratch: with everything deleted the builder is as new, indexes and all."""
    keys = list(entities(library))
    builder = SnapshotBuilder("c1")
    builder.apply(entities(library).items(), 1)
    builder.apply(((key, None) for key in keys), 2)

    left = vars(builder)
    assert left.pop("_pools").is_empty
    assert left.pop("_find_formula").args == ({},)
    new = vars(SnapshotBuilder("c1"))
    assert {name: value for name, value in new.items() if name not in {"_pools", "_find_formula"}} == left


@given(strategies.libraries, strategies.changes, strategies.requests)
def test_a_snapshot_built_in_steps_decides_as_the_naive_engine_does(
    library: list[Document], changes: list[Change], inputs: Inputs
) -> None:
    """oracle: after changes to a library that is indexed already, whatever of the index was kept."""
    catalogue = entities(library)
    builder = SnapshotBuilder("c1", tuning=ALWAYS_INDEXED)
    builder.apply(catalogue.items(), 0)
    for revision, (kind, name, document) in enumerate(changes, 1):
        entity = None if document is None else an_entity(document)
        builder.apply([(id_of(kind, name), entity)], revision)
        catalogue.pop(id_of(kind, name), None)
        if entity is not None:
            catalogue[id_of(kind, name)] = entity
    snapshot = builder.apply([], len(changes) + 1)

    assert Oracle(catalogue).decide(inputs) == uncounted(decide(snapshot, inputs))
