"""An export that can be stopped at any moment and goes on where it was: no row twice, none left out.

Rows come in numbered batches. What is read is written in parts, each named by the batches it covers, in a
folder beside the file to be; when nothing more is left, the parts are joined and the file gets its name. A
state file remembers up to which batch earlier runs have come, so that the next one begins there.
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
"""The number of a batch, above all before it, and its rows; it may have none."""
Source: TypeAlias = Callable[[int, int], Awaitable[Sequence[Batch]]]
"""After which number, and how many batches at most; no batch: there are no more."""

_BATCHES = 20
_PART_ROWS = 10_000
_PART = re.compile(r"(\d+)-(\d+)-(\d+)\.part")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What is exported where. `about` says which rows these are: parts and state of other rows are not taken up."""

    out: Path
    columns: Columns
    about: Mapping[str, str]
    state: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What came of it: rows written, those of them found in parts of a run that was stopped; the last batch.

    `path` is None where there was nothing new, and so no file.
    """

    path: Path | None
    rows: int
    resumed: int
    after: int


async def run(job: ExportJob, source: Source) -> Exported:
    """Export what earlier runs have not. Raises `Conflict` where the file would replace one of theirs."""
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
    """The parts that lie in the folder, in a row without gaps from the batch that the export begins after."""

    def __init__(self, job: ExportJob, after: int) -> None:
        self.folder = job.out.with_name(f".{job.out.name}.parts")
        self.after = after
        self.paths: list[Path] = []
        self.rows = 0
        self._job = job
        self._form = form_of(job.out)
        self._adopt({**job.about, "after": str(after)})

    async def take(self, batches: Sequence[Batch], source: Source) -> None:
        """Write these batches, and those that follow until there are rows enough, as one part."""
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
        """Take up the parts of a run that was stopped, if it was one of this export."""
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
    """The batch up to which earlier runs have come; and this run, where it was stopped when all was done."""
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
    # A run was about to name its file. If it did, the file is whole and says everything up to `then`.
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
