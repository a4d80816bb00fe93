"""Resumable, incremental exports: after an interruption no row is repeated or lost.

Rows come in numbered batches. They are written as part files, named by the batches they cover, in a
folder beside the output; at the end the parts are joined into the output. A state file records the
last exported batch, where the next run begins.
"""

import json
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from proffer.errors import Conflict, Invalid, Violation
from proffer.service.exports.files import Columns, Row, commit_file, format_for, write_error

RowBatch: TypeAlias = tuple[int, Sequence[Row]]
"""(batch number, rows): numbers increase; a batch may be empty."""
BatchSource: TypeAlias = Callable[[int, int], Awaitable[Sequence[RowBatch]]]
"""Returns the batches after a number, up to a limit; an empty result is the end."""

_READ_LIMIT = 20
_PART_ROWS = 10_000
_PART = re.compile(r"(\d+)-(\d+)-(\d+)\.part")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """One export. `about` identifies the rows; parts and state with another `about` are not reused."""

    out: Path
    columns: Columns
    about: Mapping[str, str]
    state: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """Result of an export: rows written, and rows reused from an interrupted run.

    `path` is None if there were no new rows; no file is written then.
    """

    path: Path | None
    rows: int
    resumed_rows: int


async def run_export(job: ExportJob, source: BatchSource) -> ExportResult:
    """Export the rows after earlier runs. Raises `Conflict` if the output file exists."""
    try:
        return await _run_export(job, source)
    except OSError as error:
        raise write_error(Path(error.filename or job.out), error) from None


async def _run_export(job: ExportJob, source: BatchSource) -> ExportResult:
    file_format = format_for(job.out)
    after, finished = _load_state(job) if job.state is not None else (0, None)
    if finished is not None:
        return finished
    if job.state is not None and job.out.exists():
        raise Conflict(
            f"`{job.out}` already exists, and its rows would be lost",
            code="file-exists",
        )
    parts = _PartFiles(job, after)
    resumed = parts.rows
    while batches := await source(parts.after, _READ_LIMIT):
        await parts.write_part(batches, source)
    if not parts.rows and job.state is not None:
        parts.remove()
        return ExportResult(path=None, rows=0, resumed_rows=0)
    joined = parts.folder / "whole"
    file_format.join(joined, job.columns, parts.paths)
    pending = {"then": parts.after, "file": str(job.out.absolute()), "rows": parts.rows}
    _save(job, {"after": after, **pending})
    commit_file(joined, job.out)
    _save(job, {"after": parts.after})
    parts.remove()
    return ExportResult(path=job.out, rows=parts.rows, resumed_rows=resumed)


class _PartFiles:
    """Part files of an export. They are contiguous from the batch that it begins after."""

    def __init__(self, job: ExportJob, after: int) -> None:
        self.folder = job.out.with_name(f".{job.out.name}.parts")
        self.after = after
        self.paths: list[Path] = []
        self.rows = 0
        self._job = job
        self._format = format_for(job.out)
        self._resume({**job.about, "after": str(after), "columns": json.dumps(job.columns)})

    async def write_part(self, batches: Sequence[RowBatch], source: BatchSource) -> None:
        """Write these batches as one part file. More are added until the part has enough rows."""
        rows = [row for _, batch_rows in batches for row in batch_rows]
        last = batches[-1][0]
        while len(rows) < _PART_ROWS and (more := await source(last, _READ_LIMIT)):
            rows += [row for _, batch_rows in more for row in batch_rows]
            last = more[-1][0]
        path = self.folder / f"{self.after}-{last}-{len(rows)}.part"
        temporary = path.with_suffix(".writing")
        self._format.write(temporary, self._job.columns, rows)
        commit_file(temporary, path)
        self.paths.append(path)
        self.rows += len(rows)
        self.after = last

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _resume(self, about: Mapping[str, str]) -> None:
        """Reuse the parts of an interrupted run of this export; delete others."""
        note = self.folder / "about.json"
        if _read_json(note) != about:
            self.remove()
            self.folder.mkdir(parents=True)
            note.write_text(json.dumps(dict(about)), encoding="utf-8")
        part_by_start = {}
        for path in self.folder.iterdir():
            match = _PART.fullmatch(path.name)
            if match is not None:
                first, last, rows = map(int, match.groups())
                part_by_start[first] = (path, last, rows)
        while self.after in part_by_start:
            path, last, rows = part_by_start[self.after]
            self.paths.append(path)
            self.rows += rows
            self.after = last


def _load_state(job: ExportJob) -> tuple[int, ExportResult | None]:
    """Return the last exported batch and, if complete, an interrupted run's result."""
    assert job.state is not None
    if not job.state.exists():
        return 0, None
    saved = _read_json(job.state)
    about = saved.get("about") if isinstance(saved, dict) else None
    after = saved.get("after") if isinstance(saved, dict) else None
    if about != dict(job.about) or not isinstance(after, int):
        raise Invalid.of(
            [
                Violation(
                    code="export-state",
                    message=f"`{job.state}` belongs to another export",
                    help="pass another file with `--state`; it is created if missing",
                )
            ]
        )
    pending_after, file, rows = saved.get("then"), saved.get("file"), saved.get("rows")
    if not (isinstance(pending_after, int) and isinstance(file, str) and isinstance(rows, int)):
        return after, None
    # A run was interrupted around its final rename. If that was done, the output is complete.
    pending_file = Path(file)
    parts = pending_file.with_name(f".{pending_file.name}.parts")
    done = pending_file.exists() and not (parts / "whole").exists()
    if done:
        after = pending_after
    if done or pending_file != job.out.absolute():
        shutil.rmtree(parts, ignore_errors=True)
    _save(job, {"after": after})
    if done and pending_file == job.out.absolute():
        return after, ExportResult(path=job.out, rows=rows, resumed_rows=rows)
    return after, None


def _save(job: ExportJob, values: Mapping[str, Any]) -> None:
    if job.state is None:
        return
    temporary = job.state.with_name(f".{job.state.name}.writing")
    temporary.write_text(json.dumps({"about": dict(job.about), **values}) + "\n", encoding="utf-8")
    commit_file(temporary, job.state)


def _read_json(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
