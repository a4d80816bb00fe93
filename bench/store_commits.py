"""Durable commits per second of the SQLite store, beside what the disk itself can do in the same minute.

    python bench/store_commits.py [--seconds 2] [--folder .]

The yardstick is a plain file to which the same document is appended, one `fdatasync` each. One
writer cannot beat it; many writers can, since those who wait together share a commit.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from proffer.store.sqlite import SqliteStore
from proffer.testing.store_contract import a_container, a_version

WRITERS = (1, 8, 64)
DOCUMENT = {
    "@id": "xcore:personalized-offer:1",
    "xdm:name": "Free shipping for a month",
    "xdm:representations": [
        {"xdm:placement": f"xcore:offer-placement:{number:x}", "xdm:content": "x" * 200}
        for number in range(5)
    ],
}


def appended(folder: Path, seconds: float) -> float:
    """Documents per second, written to the end of a file and synced one by one."""
    line = msgspec.json.encode(DOCUMENT)
    file = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        os.write(file, line)
        os.fdatasync(file)
        count += 1
    os.close(file)
    return count / (time.perf_counter() - begun)


async def committed(folder: Path, writers: int, seconds: float) -> tuple[float, list[float]]:
    """Commits per second, each of one new object, and how long each took; every writer has a container."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=2, help="for each of the five measurements"
    )
    parser.add_argument(
        "--folder", default=".", help="where to write: it is the disk that is measured"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        before = appended(folder, given.seconds)
        measured = [asyncio.run(committed(folder, each, given.seconds)) for each in WRITERS]
        after = appended(folder, given.seconds)
    yardstick = (before + after) / 2  # a shared disk does not keep its pace
    print(f"{'':14}{'per second':>12}{'of yardstick':>14}{'p50 ms':>9}{'p99 ms':>9}")
    print(
        f"{'append + sync':14}{yardstick:12,.0f}{1:14.2f}    (before {before:,.0f}, after {after:,.0f})"
    )
    for writers, (rate, took) in zip(WRITERS, measured, strict=True):
        cuts = statistics.quantiles(took, n=100)
        label = f"{writers} writer{'s' * (writers > 1)}"
        ratio = rate / yardstick
        print(f"{label:14}{rate:12,.0f}{ratio:14.2f}{cuts[49] * 1e3:9.2f}{cuts[98] * 1e3:9.2f}")


if __name__ == "__main__":
    main()
