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

from proffer.errors import Conflict, Finding, Invalid
from proffer.service.exports.files import Columns, Row, form_of, settle, unwritable

Batch: TypeAlias = tuple[int, Sequence[Row]]
"""(batch number, rows): numbers increase; a batch may be empty."""
Source: TypeAlias = Callable[[int, int], Awaitable[Sequence[Batch]]]
"""Returns the batches after a number, up to a limit; an empty result is the end."""

_BATCHES = 20
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
class Exported:
    """Result of an export: rows written, rows reused from an interrupted run, last batch number.

    `path` is None if there were no new rows; no file is written then.
    """

    path: Path | None
    rows: int
    resumed: int
    after: int


async def run(job: ExportJob, source: Source) -> Exported:
    """Export the rows after earlier runs. Raises `Conflict` if the output file exists."""
    try:
        return await _run(job, source)
    except OSError as error:
        raise unwritable(Path(error.filename or job.out), error) from None


async def _run(job: ExportJob, source: Source) -> Exported:
    form = form_of(job.out)
    after, finished = _begun(job) if job.state is not None else (0, None)
    if finished is not None:
        return finished
    if job.state is not None and job.out.exists():
        raise Conflict(
            f"`{job.out}` is there already, and what it holds would not be written again",
            code="file-exists",
        )
    parts = _Parts(job, after)
    resumed = parts.rows
    while batches := await source(parts.after, _BATCHES):
        await parts.take(batches, source)
    if not parts.rows and job.state is not None:
        parts.remove()
        return Exported(path=None, rows=0, resumed=0, after=after)
    fresh = parts.folder / "whole"
    form.join(fresh, job.columns, parts.paths)
    pending = {"then": parts.after, "file": str(job.out.absolute()), "rows": parts.rows}
    _save(job, {"after": after, **pending})
    settle(fresh, job.out)
    _save(job, {"after": parts.after})
    parts.remove()
    return Exported(path=job.out, rows=parts.rows, resumed=resumed, after=parts.after)


class _Parts:
    """Part files of an export, contiguous from the batch that it begins after."""

    def __init__(self, job: ExportJob, after: int) -> None:
        self.folder = job.out.with_name(f".{job.out.name}.parts")
        self.after = after
        self.paths: list[Path] = []
        self.rows = 0
        self._job = job
        self._form = form_of(job.out)
        self._adopt({**job.about, "after": str(after)})

    async def take(self, batches: Sequence[Batch], source: Source) -> None:
        """Write these batches, and more until the part has enough rows, as one part file."""
        rows = [row for _, found in batches for row in found]
        last = batches[-1][0]
        while len(rows) < _PART_ROWS and (more := await source(last, _BATCHES)):
            rows += [row for _, found in more for row in found]
            last = more[-1][0]
        path = self.folder / f"{self.after}-{last}-{len(rows)}.part"
        fresh = path.with_suffix(".writing")
        self._form.write(fresh, self._job.columns, rows)
        settle(fresh, path)
        self.paths.append(path)
        self.rows += len(rows)
        self.after = last

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _adopt(self, about: Mapping[str, str]) -> None:
        """Reuse the parts of an interrupted run of this export; delete others."""
        note = self.folder / "about.json"
        if _read(note) != about:
            self.remove()
            self.folder.mkdir(parents=True)
            note.write_text(json.dumps(dict(about)), encoding="utf-8")
        found = {}
        for path in self.folder.iterdir():
            match = _PART.fullmatch(path.name)
            if match is not None:
                first, last, rows = map(int, match.groups())
                found[first] = (path, last, rows)
        while self.after in found:
            path, last, rows = found[self.after]
            self.paths.append(path)
            self.rows += rows
            self.after = last


def _begun(job: ExportJob) -> tuple[int, Exported | None]:
    """Return the last exported batch, and the result if an interrupted run was complete."""
    assert job.state is not None
    if not job.state.exists():
        return 0, None
    said = _read(job.state)
    about = said.get("about") if isinstance(said, dict) else None
    after = said.get("after") if isinstance(said, dict) else None
    if about != dict(job.about) or not isinstance(after, int):
        raise Invalid.of(
            [
                Finding(
                    code="export-state",
                    message=f"`{job.state}` is not the state of an export of these events",
                    help="name another file with `--state`; one that is not there is made",
                )
            ]
        )
    then, file, rows = said.get("then"), said.get("file"), said.get("rows")
    if not (isinstance(then, int) and isinstance(file, str) and isinstance(rows, int)):
        return after, None
    # A run was interrupted around its final rename. If that was done, the output is complete.
    named = Path(file)
    parts = named.with_name(f".{named.name}.parts")
    done = named.exists() and not (parts / "whole").exists()
    if done:
        after = then
    if done or named != job.out.absolute():
        shutil.rmtree(parts, ignore_errors=True)
    _save(job, {"after": after})
    if done and named == job.out.absolute():
        return after, Exported(path=job.out, rows=rows, resumed=rows, after=after)
    return after, None


def _save(job: ExportJob, said: Mapping[str, Any]) -> None:
    if job.state is None:
        return
    fresh = job.state.with_name(f".{job.state.name}.writing")
    fresh.write_text(json.dumps({"about": dict(job.about), **said}) + "\n", encoding="utf-8")
    settle(fresh, job.state)


def _read(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
