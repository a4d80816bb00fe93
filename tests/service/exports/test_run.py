"""An export may be stopped anywhere: whatever files there are in the end hold every row exactly once."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.errors import Conflict, Invalid, Unavailable
from proffer.service.exports import run as export_run
from proffer.service.exports.run import ExportJob, ExportResult, RowBatch, run_export

COLUMNS = {"n": "integer"}


class Stopped(BaseException):
    """The process is gone."""


class Log:
    """Numbered batches, as many as were added so far; stops the reader when it is told to."""

    def __init__(self) -> None:
        self.batches: list[RowBatch] = []
        self.rows = 0
        self.stop_after: int | None = None

    def add(self, *sizes: int) -> None:
        for size in sizes:
            number = (self.batches[-1][0] if self.batches else 0) + 3  # numbers may leave gaps
            self.batches.append((number, [{"n": self.rows + n} for n in range(size)]))
            self.rows += size

    async def __call__(self, after: int, limit: int) -> Sequence[RowBatch]:
        if self.stop_after is not None:
            if not self.stop_after:
                raise Stopped
            self.stop_after -= 1
        return [one for one in self.batches if one[0] > after][: min(limit, 2)]


def job(folder: Path, name: str = "a.jsonl", state: str | None = None, **about: str) -> ExportJob:
    return ExportJob(
        out=folder / name,
        columns=COLUMNS,
        about=about,
        state=folder / state if state else None,
    )


def rows(*paths: Path) -> list[int]:
    return [json.loads(line)["n"] for path in paths for line in path.read_text().splitlines()]


def export(one: ExportJob, log: Log) -> ExportResult:
    return asyncio.run(run_export(one, log))


def test_all_rows_come_in_order(tmp_path: Path) -> None:
    """Without a state, all of them every time; the older file is replaced."""
    log = Log()
    log.add(3, 0, 5)
    for _ in range(2):
        done = export(job(tmp_path), log)
        assert (done.rows, done.resumed_rows, done.path) == (8, 0, tmp_path / "a.jsonl")
        assert rows(tmp_path / "a.jsonl") == list(range(8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_state_makes_it_incremental(tmp_path: Path) -> None:
    """Each run writes what is new into a file of its own; where nothing is, no file."""
    log = Log()
    log.add(3)
    assert export(job(tmp_path, "1.jsonl", "state"), log).rows == 3
    assert export(job(tmp_path, "2.jsonl", "state"), log).path is None
    log.add(2, 2)
    assert export(job(tmp_path, "3.jsonl", "state"), log).rows == 4

    assert rows(tmp_path / "1.jsonl") == [0, 1, 2]
    assert rows(tmp_path / "3.jsonl") == [3, 4, 5, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.jsonl", "3.jsonl", "state"]


def test_a_file_of_an_earlier_run_is_not_replaced(tmp_path: Path) -> None:
    """With a state its rows would not come again."""
    log = Log()
    log.add(3)
    export(job(tmp_path, state="state"), log)
    with pytest.raises(Conflict, match=r"a\.jsonl"):
        export(job(tmp_path, state="state"), log)
    assert rows(tmp_path / "a.jsonl") == [0, 1, 2]


def test_parts_of_another_export_are_not_taken_up(tmp_path: Path) -> None:
    """What was begun for other events, or from elsewhere, is begun anew."""
    log = Log()
    log.add(1, 1, 1)
    log.stop_after = 2
    with pytest.raises(Stopped):
        export(job(tmp_path, what="decisions"), log)
    log.stop_after = None

    assert export(job(tmp_path, what="feedback"), log).resumed_rows == 0
    assert rows(tmp_path / "a.jsonl") == [0, 1, 2]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"about": {}, "after": "x"}', "\0"])
def test_a_strange_state_is_refused(tmp_path: Path, text: str) -> None:
    """The message names the file; nothing is written."""
    (tmp_path / "state").write_text(text)
    with pytest.raises(Invalid, match="state"):
        export(job(tmp_path, state="state", what="decisions"), Log())
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """In words."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot write"):
        export(job(tmp_path / "file"), Log())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=4),
    st.lists(st.integers(0, 12), max_size=8),
)
def test_stopped_anywhere_it_goes_on(
    tmp_path_factory: pytest.TempPathFactory, growth: list[list[int]], stops: list[int]
) -> None:
    """However often it is stopped, at whichever step on disk: all files together hold each row once."""
    folder = tmp_path_factory.mktemp("export")
    patch = pytest.MonkeyPatch()
    patch.setattr(export_run, "_PART_ROWS", 3)
    left = [0]

    def stopping(step: Any) -> Any:
        def stepped(*arguments: Any, **named: Any) -> Any:
            if left[0] == 0:
                raise Stopped
            left[0] -= 1
            made = step(*arguments, **named)
            if left[0] == 0:
                raise Stopped
            left[0] -= 1
            return made

        return stepped

    for step in ("commit_file", "_save"):
        patch.setattr(export_run, step, stopping(getattr(export_run, step)))
    log = Log()
    try:
        for number, sizes in enumerate(growth):
            log.add(*sizes)
            for stop in [*stops, 1_000]:
                left[0] = stop
                try:
                    export(job(folder, f"{number}.jsonl", "state"), log)
                    break
                except Stopped:
                    continue
                except Conflict:  # it was stopped when all was done
                    break
    finally:
        patch.undo()
    files = sorted(folder.glob("*.jsonl"), key=lambda path: int(path.stem))
    assert rows(*files) == list(range(log.rows))


def test_parts_with_other_columns_are_written_anew(tmp_path: Path) -> None:
    """A run that an earlier version began is not continued with parts that have its columns."""
    log = Log()
    log.add(3, 3, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_run, "_PART_ROWS", 3)
        log.stop_after = 2
        with pytest.raises(Stopped):
            export(job(tmp_path), log)
        log.stop_after = None

        done = export(replace(job(tmp_path), columns={"n": "integer", "new": "text"}), log)
    assert (done.rows, done.resumed_rows) == (9, 0)
    assert rows(tmp_path / "a.jsonl") == list(range(9))
