"""oracle, replay, explain-is-silent: the engine means what the naive one says, always, and says so only if asked."""

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from proffer.engine.compile.compiler import build_snapshot
from proffer.engine.decide import decide
from proffer.engine.index.pool import DEFAULT_TUNING, IndexTuning
from proffer.engine.inputs import Inputs
from proffer.testing import strategies
from proffer.testing.builders import ALWAYS_INDEXED, Document, a_snapshot, entities
from proffer.testing.oracle import Oracle, uncounted
from support.values import values_of


@pytest.mark.parametrize("sizes", [DEFAULT_TUNING, ALWAYS_INDEXED], ids=["rule by rule", "by the index"])
@settings(max_examples=400)
@given(strategies.libraries, strategies.requests)
def test_the_engine_decides_as_the_naive_one_does(sizes: IndexTuning, library: list[Document], inputs: Inputs) -> None:
    """oracle: the same options and fallbacks, the same count of ineligible offers, the same reasons."""
    outcome = decide(a_snapshot(library, sizes), inputs, explain=True)

    assert values_of(Oracle(entities(library)).decide(inputs, explain=True)) == values_of(uncounted(outcome))


@pytest.mark.parametrize(("offers", "requests"), [(1, 20), (100, 40), (10_000, 6)])
def test_the_size_of_the_library_does_not_matter(offers: int, requests: int) -> None:
    """oracle: among one offer, a hundred and ten thousand."""
    library = entities(strategies.a_large_library(offers, offers))
    snapshot, oracle = build_snapshot("c1", library.items(), 1), Oracle(library)
    for seed in range(requests):
        inputs = strategies.a_random_request(seed, odd=1, scopes=2)

        assert values_of(oracle.decide(inputs)) == values_of(uncounted(decide(snapshot, inputs)))


@given(strategies.libraries, strategies.requests)
def test_a_decision_can_be_replayed(library: list[Document], inputs: Inputs) -> None:
    """replay: another snapshot of the same catalogue, in another order, gives the same outcome."""
    outcome = decide(a_snapshot(library), inputs, explain=True)

    again = decide(a_snapshot(reversed(library), ALWAYS_INDEXED), inputs, explain=True)
    assert values_of(outcome) == values_of(again)


@given(strategies.libraries, strategies.requests)
def test_explaining_changes_nothing(library: list[Document], inputs: Inputs) -> None:
    """explain-is-silent: the outcome without a trace is the outcome with one, less the trace."""
    snapshot = a_snapshot(library, ALWAYS_INDEXED)
    explained = decide(snapshot, inputs, explain=True)

    assert values_of(replace(explained, trace=None)) == values_of(decide(snapshot, inputs))
