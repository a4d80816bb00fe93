"""Spool files: what was acknowledged is recovered, whatever the disk and other processes do."""

import asyncio
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.store import spool as spool_module
from proffer.store.spool import FileSpool, SpoolFull

MEGABYTE = 1_000_000
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
"""For processes that import this module."""
ROUNDS = int(os.environ.get("PROFFER_SPOOL_ROUNDS", "1000"))
"""Files that each writer makes in the test of a shared folder."""
TEXTS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5)


class TextSpool(FileSpool[bytes]):
    """A spool of plain bytes."""

    suffix = ".text"
    content = "texts"

    def encode(self, event: bytes) -> bytes:
        return event

    def decode(self, text: bytes) -> bytes:
        return text


def drain(spool: FileSpool[bytes]) -> list[bytes]:
    """Return everything in files that nobody writes, and finish these files."""
    events: list[bytes] = []
    for file in spool.unowned_files():
        for batch in file.batches(3):
            events += batch
        file.finish()
    return events


def record(text: bytes) -> bytes:
    """Return a record as all versions write it."""
    return len(text).to_bytes(4) + zlib.crc32(text).to_bytes(4) + text


class SmallDisk(FileIO):
    """A file on a disk with little room that writes in pieces and may refuse to truncate."""

    room = 0
    piece = 1
    can_truncate = True

    def write(self, content: Any) -> int:
        size = min(len(content), SmallDisk.piece, SmallDisk.room)
        if not size:
            raise OSError(28, "No space left on device")
        SmallDisk.room -= size
        return super().write(content[:size])

    def truncate(self, size: int | None = None) -> int:
        if not SmallDisk.can_truncate:
            raise OSError(5, "Input/output error")
        SmallDisk.room += self.tell() - (size or 0)
        return super().truncate(size)


@given(
    st.lists(st.tuples(TEXTS, st.integers(0, 120), st.integers(1, 40)), max_size=8),
    st.booleans(),
)
@settings(max_examples=50)
def test_what_was_acknowledged_is_recovered_from_a_disk_that_fills(
    steps: Sequence[tuple[list[bytes], int, int]], can_truncate: bool
) -> None:
    """Short writes are completed or undone; a record that cannot be undone hides none behind it."""

    async def keep_all(spool: TextSpool) -> list[bytes]:
        acknowledged: list[bytes] = []
        for texts, SmallDisk.room, SmallDisk.piece in steps:
            results = await asyncio.gather(*map(spool.keep, texts), return_exceptions=True)
            assert all(result is None or isinstance(result, SpoolFull) for result in results)
            acknowledged += [text for text, result in zip(texts, results, strict=True) if result is None]
        await spool.seal()
        return acknowledged

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "open_unbuffered", lambda path: SmallDisk(path, "xb"))
        SmallDisk.can_truncate = can_truncate
        spool = TextSpool(Path(name), MEGABYTE)
        acknowledged = asyncio.run(keep_all(spool))
        recovered = drain(spool)
    for text in acknowledged:
        recovered.remove(text)
    assert recovered == [] or not can_truncate


FULL = """
import asyncio, resource, sys
from pathlib import Path
from store.test_spool import TextSpool
async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    spool = TextSpool(Path(sys.argv[1]), 1_000_000)
    async def keep(number):
        text = str(number).encode() * 100
        try:
            await spool.keep(text)
        except Exception:
            print("refused", flush=True)
        else:
            print(number, flush=True)
    for start in range(100, 200, 7):
        await asyncio.gather(*map(keep, range(start, start + 7)))
asyncio.run(main())
"""


def test_what_was_acknowledged_is_recovered_when_the_kernel_writes_short(tmp_path: Path) -> None:
    """With a limit on the size of files, the kernel writes a part without an error, then nothing more."""
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    words = child.stdout.split()
    acknowledged = [word for word in words if word != "refused"]
    assert acknowledged
    assert len(acknowledged) < len(words) == 105
    assert sorted(drain(TextSpool(tmp_path, MEGABYTE))) == sorted(word.encode() * 100 for word in acknowledged)
    assert list(tmp_path.iterdir()) == []


@given(TEXTS, TEXTS, st.integers(0, 60), st.one_of(st.just(b""), st.binary(max_size=60)))
def test_a_damaged_record_hides_none_behind_it(before: list[bytes], after: list[bytes], cut: int, noise: bytes) -> None:
    """A record torn by an earlier version's short write, or overwritten; the file is kept, and not read again."""
    torn = record(b"a record that an earlier version tore")
    content = b"".join(map(record, before)) + torn[: min(cut, len(torn) - 1)] + noise + b"".join(map(record, after))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "left.text"
        path.write_bytes(content)
        spool = TextSpool(Path(name), MEGABYTE)
        recovered = drain(spool)
        assert recovered[: len(before)] == before
        assert recovered[-len(after) :] == after
        if cut or noise:
            assert [one.name for one in spool.damaged_files()] == ["left.text.damaged"]
            assert spool.damaged_files()[0].read_bytes() == content
        assert spool.waiting_bytes() == 0
        assert drain(spool) == []


def test_a_record_cut_short_by_a_kill_is_no_damage(tmp_path: Path) -> None:
    """It is the last one, and nobody was told that it is kept; a changed last record is damage."""
    spool = TextSpool(tmp_path, MEGABYTE)
    for end, damaged in ((record(b"cut")[:-1], 0), (record(b"cut")[:3], 0), (record(b"cut")[:-1] + b"?", 1)):
        (tmp_path / "left.text").write_bytes(record(b"whole") + end)
        assert drain(spool) == [b"whole"]
        assert len(spool.damaged_files()) == damaged


async def test_a_file_is_completed_before_it_is_large(tmp_path: Path) -> None:
    """So that draining frees space while it goes on, and reads little at once."""
    spool = TextSpool(tmp_path, 10 * MEGABYTE)
    for number in range(5):
        await spool.keep(bytes([number]) * 400_000)
    assert [len(text) for text in drain(spool)] == [400_000] * 3
    await spool.seal()
    assert drain(spool) == [bytes([3]) * 400_000, bytes([4]) * 400_000]


async def test_the_bound_holds_for_all_files_together(tmp_path: Path) -> None:
    """Whichever process wrote them."""
    first, second = TextSpool(tmp_path, 100), TextSpool(tmp_path, 100)
    await first.keep(b"a" * 50)
    with pytest.raises(SpoolFull):
        await second.keep(b"b" * 50)
    await second.keep(b"b" * 20)
    await first.seal()
    await second.seal()


WRITER = """
import asyncio, os, sys
from pathlib import Path
from store.test_spool import TextSpool
os.fsync = lambda _: None
async def main():
    spool = TextSpool(Path(sys.argv[1]), 100_000_000)
    for number in range(int(sys.argv[3])):
        text = f"{sys.argv[2]} {number}"
        await spool.keep(text.encode())
        await spool.seal()
        print(text)
asyncio.run(main())
"""


def test_processes_that_share_a_folder_lose_and_refuse_nothing(tmp_path: Path) -> None:
    """Two write a new file for each event while a third drains: every event is drained once."""
    outputs = [tmp_path / "first.out", tmp_path / "second.out"]
    folder = tmp_path / "spool"
    writers = []
    for output in outputs:
        with output.open("w") as file:
            command = [sys.executable, "-c", WRITER, str(folder), output.stem, str(ROUNDS)]
            writers.append(subprocess.Popen(command, stdout=file, env=ENVIRONMENT))
    spool = TextSpool(folder, 100 * MEGABYTE)
    recovered: list[bytes] = []
    while any(writer.poll() is None for writer in writers):
        recovered += drain(spool)
    recovered += drain(spool)
    assert [writer.returncode for writer in writers] == [0, 0]
    acknowledged = [line for output in outputs for line in output.read_bytes().splitlines()]
    assert len(acknowledged) == 2 * ROUNDS
    assert sorted(recovered) == sorted(acknowledged)
    assert list(folder.iterdir()) == []
