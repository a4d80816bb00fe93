"""The engine alone, compared with other rule engines and a C kernel.

    python bench/engine.py [--quick]

Times are processor time; every call is for another customer. "Eligibility and rank" goes from a profile to
the eligible offers, best first: all of them, or only the best one. A whole `decide()` returns options with
their content; it also evaluates calendar, caps, duplicates and fallbacks and counts the ineligible offers,
which the other engines do not do: they get only the rules, and the whole profile. Ties of priority are
broken by a hash, in Proffer and in C. Among the rules of three to six tests, one in five has a test that is
not on a single field (a sum, a text function, two fields, an `or`). "One in five unique" means that no other
rule has this test, so no table can answer it. cel-python gets only fifty rules, and its time is multiplied.
"""

import gc
import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from _kernel import compile_kernel, kernel
from _library import Library, Profile, a_library, profiles
from _measure import Row, by_turns, compare_rounds, run_standalone
from _peers import PEERS, by_hand
from proffer.api.kit.fragments import candidate_documents
from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.engine.decide import decide
from proffer.engine.eligibility import Eligibility
from proffer.engine.index.tie_break import hash64
from proffer.engine.snapshot import CompiledScope, Snapshot
from proffer.model.ids import EntityKind
from proffer.model.offer import PersonalizedOffer
from proffer.pql import Environment
from proffer.testing.builders import NOON, a_scope, id_of, some_inputs
from proffer.testing.oracle import Oracle
from proffer.wire.codec import encode

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEED = hash64("seed")
OURS = "Proffer"
Call = Callable[[], object]


def rows(*, quick: bool) -> Iterator[Row]:
    sizes = (100, 1_000) if quick else (100, 1_000, 10_000)
    yield from beside_others(1_000, seconds=0.3 if quick else 0.8)
    yield from eligibility_and_rank(sizes)
    yield from whole_decisions(sizes)
    yield from more_scopes(1_000, (1, 3, 10))
    yield from longer_rules(1_000)
    yield from publishing(sizes[-1])
    if not quick:
        yield from memory()


def build_snapshot(library: Library) -> Snapshot:
    return SnapshotBuilder("bench").apply(library.entities.items(), 1)


def the_scope(snapshot: Snapshot, place: str = "web") -> CompiledScope:
    decision = snapshot.decisions[id_of(EntityKind.DECISION, "decision")]
    return decision.scopes[id_of(EntityKind.PLACEMENT, place)]


def all_eligible(scope: CompiledScope) -> Callable[[Profile], list[int]]:
    """Return a function to the positions of all eligible offers, best first."""
    pool = scope.pool

    def ask(profile: Profile) -> list[int]:
        eligible = Eligibility(Environment(profile, NOW)).eligible(pool, pool.calendar.open_at(NOON))
        return list(pool.ranked_positions(eligible, SEED, order_all=True))

    return ask


def best_only(scope: CompiledScope) -> Callable[[Profile], int | None]:
    """Return a function to the position of the best offer; all are evaluated, not all are ordered."""
    pool = scope.pool

    def ask(profile: Profile) -> int | None:
        eligible = Eligibility(Environment(profile, NOW)).eligible(pool, pool.calendar.open_at(NOON))
        return next(pool.ranked_positions(eligible, SEED), None)

    return ask


def for_each_customer(ask: Callable[[Profile], object]) -> Call:
    customers = cycle(profiles())
    return lambda: ask(next(customers))


def beside_others(offers: int, *, seconds: float) -> Iterator[Row]:
    """All eligible offers for rules of three indexable tests and a whole profile, against other engines."""
    table = f"Rules of three tests, {offers:,} offers: all eligible offers"
    library = a_library(offers, plain=True)
    scope = the_scope(build_snapshot(library))
    ours, customers = all_eligible(scope), profiles(3)
    expected = [by_hand(library.rules)(item) for item in customers]
    names = [int(item.offer.name.removeprefix("offer ")) for item in scope.pool.offers]
    assert [sorted(names[at] for at in ours(item)) for item in customers] == expected
    took = by_turns({OURS: for_each_customer(ours)}, seconds=seconds)[OURS]
    yield Row(table=table, name=OURS, value=statistics.median(took), unit="µs")
    peers: dict[str, tuple[Callable[[Profile], list[int]], int, str]] = {
        "handwritten Python": (by_hand(library.rules), offers, "")
    }
    for name, (module, make, rule_count) in PEERS.items():
        if importlib.util.find_spec(module) is not None:
            ask = make(library.rules[:rule_count])
            expected_numbers = [[at for at in item if at < rule_count] for item in expected]
            assert [ask(item) for item in customers] == expected_numbers, name
            peers[name] = (ask, min(rule_count, offers), "at least 50 times")
    for name, (ask, peer_rules, goal) in peers.items():
        calls = {OURS: for_each_customer(ours), name: for_each_customer(ask)}
        turns = by_turns(calls, seconds=seconds)
        theirs = [item * offers / peer_rules for item in turns[name]]
        ratio, spread = compare_rounds(theirs, turns[OURS])
        yield Row(
            table=table,
            name=name,
            value=statistics.median(theirs),
            unit="µs",
            baseline=OURS,
            ratio=ratio,
            spread=spread,
            goal=goal,
        )
    yield from the_limit(table, library, ours, expected, seconds)


def the_limit(
    table: str,
    library: Library,
    ours: Callable[[Profile], list[int]],
    expected: list[list[int]],
    seconds: float,
) -> Iterator[Row]:
    """The same index in C, if there is a compiler."""
    with tempfile.TemporaryDirectory() as folder:
        ask = compile_kernel(Path(folder))
        if ask is None:
            return
        limit: Any = kernel(library, ask, SEED)
        assert [sorted(limit.by_offer(customer)) for customer in profiles(3)] == expected
        assert [limit(customer) for customer in profiles(9)] == [ours(customer) for customer in profiles(9)]
        turns = by_turns({OURS: for_each_customer(ours), "C": for_each_customer(limit)}, seconds=seconds)
        ratio, spread = compare_rounds(turns["C"], turns[OURS])
        yield Row(
            table=table,
            name="the same index in C, called from Python",
            value=statistics.median(turns["C"]),
            unit="µs",
            baseline=OURS,
            ratio=ratio,
            spread=spread,
            note="lower limit",
        )


UNIQUE = "all, one in five unique"
GOALS = {
    ("all", 1_000): "20 µs",
    ("best only", 10_000): "60 µs, less than 4 times that of 1,000",
    ("all", 10_000): "150 µs",
    (UNIQUE, 1_000): "20 µs",
    (UNIQUE, 10_000): "150 µs",
    ("one option", 1_000): "40 µs",
    ("with a trace", 1_000): "2 ms",
    ("with a trace", 10_000): "20 ms",
}


def eligibility_and_rank(sizes: tuple[int, ...]) -> Iterator[Row]:
    """Rules of three to six tests.

    One in five has a test that is not on a single field; with `alone` no other rule has this test.
    """
    table = "Eligibility and rank, rules of three to six tests"
    calls: dict[str, Call] = {}
    for size in sizes:
        scope = the_scope(build_snapshot(a_library(size, plain=False)))
        calls[f"all {size}"] = for_each_customer(all_eligible(scope))
        calls[f"best only {size}"] = for_each_customer(best_only(scope))
        scope = the_scope(build_snapshot(a_library(size, plain=False, alone=True)))
        calls[f"{UNIQUE} {size}"] = for_each_customer(all_eligible(scope))
    took = by_turns(calls)
    for what in ("best only", "all", UNIQUE):
        for size in sizes:
            times = took[f"{what} {size}"]
            ratio, spread = compare_rounds(times, took[f"{what} {1_000}"])
            yield Row(
                table=table,
                name=what,
                at=size,
                value=statistics.median(times),
                unit="µs",
                baseline="1,000 offers",
                ratio=ratio,
                spread=spread,
                goal=GOALS.get((what, size), ""),
            )


def decide_call(snapshot: Snapshot, *places: str, item_count: int = 1) -> Call:
    scopes = [a_scope(placement=place, item_count=item_count) for place in places]
    inputs = cycle(
        [some_inputs(*scopes, profile=profile, seed=f"seed {number}") for number, profile in enumerate(profiles())]
    )
    return lambda: decide(snapshot, next(inputs))


def explain_call(snapshot: Snapshot, *, as_json: bool = False) -> Call:
    inputs = cycle([some_inputs(a_scope(), profile=profile) for profile in profiles()])

    def explain() -> object:
        outcome = decide(snapshot, next(inputs), explain=True)
        return [encode(candidate_documents(trace)) for trace in outcome.trace or ()] if as_json else outcome

    return explain


def whole_decisions(sizes: tuple[int, ...]) -> Iterator[Row]:
    """One scope: with one option, thirty options, a trace, and by the naive engine of the tests."""
    table = "A whole decision, one scope, rules of three to six tests"
    for size in sizes:
        library = a_library(size, plain=False)
        snapshot = build_snapshot(library)
        calls = {
            "one option": decide_call(snapshot, "web"),
            "thirty options": decide_call(snapshot, "web", item_count=30),
        }
        if size >= 1_000:
            calls["with a trace"] = explain_call(snapshot)
            calls["with a trace and its JSON"] = explain_call(snapshot, as_json=True)
        if size <= 1_000:
            oracle = Oracle(library.entities)
            inputs = cycle([some_inputs(a_scope(), profile=profile) for profile in profiles()])
            calls["the naive engine"] = lambda oracle=oracle, inputs=inputs: oracle.decide(  # type: ignore[misc]
                next(inputs)
            )
        took = by_turns(calls)
        for name, times in took.items():
            ratio, spread = compare_rounds(times, took["one option"])
            yield Row(
                table=table,
                name=name,
                at=size,
                value=statistics.median(times),
                unit="µs",
                baseline="one option",
                ratio=ratio,
                spread=spread,
                goal=GOALS.get((name, size), ""),
            )


def more_scopes(offers: int, counts: tuple[int, ...]) -> Iterator[Row]:
    """Several placements of one decision in one request, without duplicate offers."""
    places = [f"place {number}" for number in range(max(counts))]
    snapshot = build_snapshot(a_library(offers, plain=False, places=places))
    took = by_turns({str(count): decide_call(snapshot, *places[:count]) for count in counts})
    for count in counts:
        ratio, spread = compare_rounds(took[str(count)], took["1"])
        yield Row(
            table=f"A whole decision for several scopes, {offers:,} offers",
            name="scopes",
            at=count,
            value=statistics.median(took[str(count)]),
            unit="µs",
            baseline="one scope",
            ratio=ratio,
            spread=spread,
        )


def longer_rules(offers: int) -> Iterator[Row]:
    """All eligible offers, by the number of tests per rule."""
    lengths = (2, 4, 6, 8)
    calls = {
        str(length): for_each_customer(
            all_eligible(the_scope(build_snapshot(a_library(offers, plain=True, tests=length))))
        )
        for length in lengths
    }
    took = by_turns(calls)
    for length in lengths:
        ratio, spread = compare_rounds(took[str(length)], took["2"])
        yield Row(
            table=f"Tests per rule, {offers:,} offers: all eligible offers",
            name="tests",
            at=length,
            value=statistics.median(took[str(length)]),
            unit="µs",
            baseline="two tests",
            ratio=ratio,
            spread=spread,
        )


def publishing(offers: int) -> Iterator[Row]:
    """From a changed offer to the snapshot with it, in total and per step."""
    library = a_library(offers, plain=False)
    builder = SnapshotBuilder("bench")
    builder.apply(library.entities.items(), 1)
    gc.collect()
    gc.freeze()  # as the server does with a library that it has read
    changed = library.entities[id_of(EntityKind.OFFER, "offer 1")]
    assert isinstance(changed, PersonalizedOffer)
    priorities = cycle(range(100))

    def publish() -> None:
        offer = replace(changed, priority=next(priorities))
        builder.apply([(offer.id, offer)], 2)

    took = by_turns({"publish": publish}, seconds=3)["publish"]
    gc.unfreeze()
    yield Row(
        table=f"One changed offer, {offers:,} offers in one decision",
        name="update of the snapshot",
        value=statistics.median(took) / 1e3,
        unit="ms",
        spread=(min(took) / 1e3, max(took) / 1e3),
        goal="in force in 200 ms",
        note="another priority each time; every ninth change rebuilds the index",
    )


def memory() -> Iterator[Row]:
    """Memory of a process with ten thousand offers and a thousand decisions, without documents."""
    command = [sys.executable, __file__, "--memory"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    for name, value in (("before", output[0]), ("compiled and indexed", output[1])):
        yield Row(
            table="Memory of the engine, 10,000 offers, 1,000 decisions of 100 each",
            name=name,
            value=float(value),
            unit="MB",
            goal="250 MB, including documents" if name != "before" else "",
        )


def resident_mb() -> float:
    """Return the resident memory of this process in megabytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 1024 / 1024


def print_memory() -> None:
    library = a_library(10_000, plain=False, decisions=1_000)
    gc.collect()
    before = resident_mb()
    builder = SnapshotBuilder("bench")
    snapshot = builder.apply(library.entities.items(), 1)
    gc.collect()
    assert len(snapshot.decisions) >= 1_000
    print(before, resident_mb())


if __name__ == "__main__":
    if sys.argv[1:] == ["--memory"]:
        print_memory()
    else:
        run_standalone(rows, __doc__)
