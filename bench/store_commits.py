"""Durable commits per second of the SQLite store, compared with the disk.

    TMPDIR=. python bench/store_commits.py [--quick]

The baseline is a plain file in the same minute, to which the same document is appended with one `fdatasync`
each. One writer cannot exceed it; many writers can, because writers that wait together share a commit.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from _measure import Row, run_standalone
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.store_contract import a_container, a_version

WRITERS = (1, 8, 64)
DOCUMENT = {
    "@id": "xcore:personalized-offer:1",
    "xdm:name": "Free shipping for a month",
    "xdm:representations": [
        {"xdm:placement": f"xcore:offer-placement:{number:x}", "xdm:content": "x" * 200} for number in range(5)
    ],
}


def append_rate(folder: Path, seconds: float) -> float:
    """Return documents per second, appended to a file and synced one by one."""
    line = msgspec.json.encode(DOCUMENT)
    file = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        os.write(file, line)
        os.fdatasync(file)
        count += 1
    os.close(file)
    return count / (time.perf_counter() - begun)


async def commit_rate(folder: Path, writers: int, seconds: float) -> tuple[float, list[float]]:
    """Return commits per second of one new object each, and latencies; each writer has a container."""
    store = await SqliteStore.open(folder / f"{writers}.db")
    took: list[float] = []
    until = time.perf_counter() + seconds

    async def write(number: int) -> None:
        key = f"c{number}"
        await store.ensure_container(a_container(key, sandbox=key))
        revision = 0
        while (begun := time.perf_counter()) < until:
            revision += 1
            version = a_version(revision, f"n{revision}", container=key, document=DOCUMENT)
            await store.commit(key, revision - 1, [version])
            took.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(write(number) for number in range(writers)))
    rate = len(took) / (time.perf_counter() - begun)
    await store.close()
    return rate, took


def rows(*, quick: bool) -> Iterator[Row]:
    seconds = 0.7 if quick else 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = append_rate(folder, seconds)
        measured = [asyncio.run(commit_rate(folder, each, seconds)) for each in WRITERS]
        after = append_rate(folder, seconds)
    # A shared disk does not keep its pace: the yardstick before and after bound the ratios.
    yardstick, baseline = (before + after) / 2, "append and sync"
    yield Row(name=baseline, value=yardstick, unit="/s", spread=_ordered(before, after))
    for writers, (rate, took) in zip(WRITERS, measured, strict=True):
        cuts = statistics.quantiles(took, n=100)
        yield Row(
            name=f"{writers} writer{'s' * (writers > 1)}",
            value=rate,
            unit="/s",
            baseline=baseline,
            ratio=rate / yardstick,
            spread=_ordered(rate / before, rate / after),
            note=f"p50 {cuts[49] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms",
        )


def _ordered(first: float, second: float) -> tuple[float, float]:
    return min(first, second), max(first, second)


if __name__ == "__main__":
    run_standalone(rows, __doc__)
