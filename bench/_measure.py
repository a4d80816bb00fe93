"""Rows, the results of every benchmark, and measurement in alternating rounds.

A module of the suite has `rows(*, quick: bool) -> Iterable[Row]`. The page shows its docstring; `PARTS` in
`run.py` gives its name in `make bench ONLY=…`.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A result. `ratio` is relative to the row or quantity of the same run that `baseline` names.

    `spread` is the minimum and maximum of the rounds: of the ratio if there is one, else of the value.
    `table` groups rows; rows of one table with an `at` (a number of offers, scopes, …) are also drawn as
    lines, one per name. `goal` is the target as text; `note` is further information for the reader.
    """

    name: str
    value: float
    unit: str
    baseline: str | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    table: str = ""
    at: float | None = None
    goal: str = ""
    note: str = ""


def by_turns(
    calls: Mapping[str, Callable[[], object]], *, seconds: float = 0.5, rounds: int = 7
) -> dict[str, list[float]]:
    """Return processor microseconds per call, by name and round; the rounds alternate.

    `seconds` bounds one call's rounds together. Other load on the machine affects all calls alike.
    """
    counts = {name: _count(call, seconds / rounds) for name, call in calls.items()}
    took: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.process_time()
            for _ in range(counts[name]):
                call()
            took[name].append((time.process_time() - begun) / counts[name] * 1e6)
    return took


def _count(call: Callable[[], object], seconds: float) -> int:
    """Return how often the call fits into so many seconds of processor time: at least once."""
    begun = time.process_time()
    count = 0
    while (spent := time.process_time() - begun) < seconds / 4:
        call()
        count += 1
    return max(1, int(count * seconds / spent)) if spent else max(1, count)


def compare_rounds(ours: Sequence[float], yardstick: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the median, minimum and maximum of the rounds' ratios `ours / yardstick`."""
    ratios = [value / baseline for value, baseline in zip(ours, yardstick, strict=True)]
    return statistics.median(ratios), (min(ratios), max(ratios))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile: one of the values, not interpolated.

    `percent` of the values, rounded down, come before it in ascending order.
    """
    return sorted(values)[len(values) * percent // 100]


def print_rows(rows: Iterable[Row]) -> None:
    """Print rows as they arrive."""
    table = None
    for row in rows:
        if row.table != table:
            table = row.table
            print(f"\n{table}" if table else "")
        at = "" if row.at is None else f" @ {row.at:,.0f}"
        line = f"  {row.name + at:<52}{row.value:>12,.4g} {row.unit:<10}"
        if row.ratio is not None:
            line += f"{row.ratio:>9,.3g} × {row.baseline}"
        if row.spread is not None:
            line += f"   ({row.spread[0]:,.3g} to {row.spread[1]:,.3g})"
        print("   ".join(part for part in (line, row.goal, row.note) if part), flush=True)


def run_standalone(rows: Callable[..., Iterable[Row]], doc: str | None) -> None:
    """Run a benchmark module from the command line."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter rounds, smaller libraries")
    print_rows(rows(quick=parser.parse_args().quick))
