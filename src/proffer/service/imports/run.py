"""Bulk imports of files: validated in a separate process, written in blocks, resumable.

A block and the import's progress are one commit, so an interrupted import neither repeats nor loses
rows. The rejects file is truncated to its size at that commit.
"""

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path

import msgspec

from proffer.errors import Invalid, NotFound, ProfferError, Unavailable
from proffer.model.customer import EVENT_LIMITS, EventLimits, Mark, Taken
from proffer.model.identity import IdentityField, unknown_namespace
from proffer.pql import Schema
from proffer.service.event_log.feedback import FeedbackService
from proffer.service.imports.files import Block, RowFile
from proffer.service.imports.rejects import RejectsFile
from proffer.service.imports.rows import (
    IDENTITY,
    Form,
    Judged,
    Reject,
    column_mistakes,
    judge,
    shown,
)
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.rules.check import schema_of
from proffer.service.runtime.clock import Clock
from proffer.store.ports import ProfileStore

_IDENTITY_MAP = "identityMap."
_AHEAD = 3
"""Blocks that are validated ahead while another is written."""
_WORTH_A_PROCESS = 2_000_000


class Progress(msgspec.Struct, frozen=True):
    """Progress of an import: position in the file, next row, and counts of the rows before it."""

    position: int = 0
    bytes_read: int = 0
    row: int = 1
    taken: int = 0
    rejected: int = 0
    rejects_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Result of an import; `resumed_at` is the row where it resumed, or None."""

    taken: int
    rejected: int
    resumed_at: int | None


Told = Callable[[Progress], None]


class ImportService:
    """Use case of a bulk import."""

    def __init__(
        self,
        store: ProfileStore,
        clock: Clock,
        feedback: FeedbackService,
        limits: EventLimits = EVENT_LIMITS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._feedback = feedback
        self._limits = limits

    async def run(
        self,
        access: AuthorizedContainer,
        file: RowFile,
        rejects: Path,
        *,
        dataset: str,
        schema: str = "",
        fields: tuple[IdentityField, ...] = (),
        told: Told | None = None,
    ) -> Imported:
        """Import a file, resuming an interrupted import of it. Bad rows go to `rejects` with reasons.

        Identities are those the `schema` declares and `fields`. `on_progress` is called at the start and
        after each block. Raises `Malformed` for a truncated file, and `Unavailable` if the database or
        the disk fails: blocks before that stay written, and the same call resumes.
        """
        state = access.state
        namespaces = state.customers.namespaces
        fields = tuple(replace(one, schema=schema) for one in fields)
        unknown = [one.namespace for one in fields if namespaces.code(one.namespace) is None]
        if unknown:
            raise Invalid.of([unknown_namespace("--identity", name) for name in unknown])
        if schema and not fields and not namespaces.fields(schema):
            raise _no_identities(schema)
        name = _name(file, dataset, schema, fields)
        kept = await self._store.mark(state.container.id, name)
        progress = msgspec.json.decode(kept.note, type=Progress) if kept else Progress()
        resumed_at = progress.row if kept else None
        known = (*namespaces.every_field, *fields)
        columns = file.columns
        if file.form == "csv":
            columns = _typed(columns, schema_of(state.catalog), known)
        form = Form(
            form=file.form,
            columns=columns,
            dataset=dataset,
            codes=tuple(namespaces.codes()),
            now_us=self._clock(),
            schema=schema,
            fields=known,
        )
        wrong = column_mistakes(form)
        if wrong:
            raise Invalid.of(wrong)
        told = told or _nobody
        told(progress)
        with RejectsFile(rejects, progress.rejects_size) as out, _judges(file) as judges:
            async for block, judged in _judged(file, form, progress, judges):
                progress = await self._write(access, name, progress, block, judged, out)
                told(progress)
        await self._store.unmark(state.container.id, name)
        return Imported(taken=progress.taken, rejected=progress.rejected, resumed_at=resumed_at)

    async def _write(
        self,
        access: AuthorizedContainer,
        name: str,
        progress: Progress,
        block: Block,
        judged: Judged,
        out: RejectsFile,
    ) -> Progress:
        """Write one block and its progress in one commit; return the new progress."""
        try:
            after = Progress(
                position=block.position,
                bytes_read=block.bytes_read,
                row=block.first + len(block.rows),
                taken=progress.taken + len(judged.numbers) + judged.alone,
                rejected=progress.rejected + len(judged.rejects),
                rejects_size=out.write(judged.rejects),
            )
            mark = Mark(name=name, note=msgspec.json.encode(after))
            # Before the checkpoint: if interrupted in between it is repeated, and feedback counts once.
            await self._feedback.take(access, judged.feedback)
            taken = await self._take(access.state, judged, mark)
        except Unavailable as error:
            raise Unavailable(
                f"stopped before row {block.first:,}, of which nothing was written: {error.detail}; "
                "make room and run the same command again to go on there",
                code=error.code,
            ) from None
        refused = [
            Reject(number, one.refusal.findings, shown(block.rows[number - block.first]))
            for number, one in zip(judged.numbers, taken, strict=True)
            if one.refusal is not None
        ]
        if not refused:
            return after
        # The store refused these rows, so a second checkpoint counts them as rejected.
        after = msgspec.structs.replace(
            after,
            taken=after.taken - len(refused),
            rejected=after.rejected + len(refused),
            rejects_size=out.write(refused),
        )
        mark = Mark(name=name, note=msgspec.json.encode(after))
        await self._store.take_in(access.id, (), now_us=self._clock(), mark=mark)
        return after

    async def _take(self, state: ContainerState, judged: Judged, mark: Mark) -> list[Taken]:
        container, qualify = state.container.id, state.customers.qualify(many=True)
        now_us, limits = self._clock(), self._limits
        if judged.changes:
            taken = await self._store.take_in(
                container, judged.changes, now_us=now_us, qualify=qualify, limits=limits, mark=mark
            )
        else:
            taken = await self._store.bring_in(
                container, judged.records, now_us=now_us, qualify=qualify, limits=limits, mark=mark
            )
        return list(taken)


def _nobody(_: Progress) -> None:
    """Default progress callback."""


async def _judged(
    file: RowFile, form: Form, progress: Progress, judges: Executor | None
) -> AsyncIterator[tuple[Block, Judged]]:
    """Yield the remaining blocks with their validation, in order; some are validated ahead."""
    loop = asyncio.get_running_loop()
    ahead: deque[tuple[Block, asyncio.Future[Judged]]] = deque()
    blocks = file.blocks(progress.position, progress.row)
    broken: ProfferError | None = None
    while True:
        try:
            block = next(blocks, None)
        except ProfferError as error:
            block, broken = None, error  # the blocks before it are still written
        if block is None:
            break
        ahead.append((block, loop.run_in_executor(judges, judge, form, block.first, block.rows)))
        if len(ahead) > _AHEAD:
            ready, judged = ahead.popleft()
            yield ready, await judged
    while ahead:
        ready, judged = ahead.popleft()
        yield ready, await judged
    if broken is not None:
        raise broken


@contextmanager
def _judges(file: RowFile) -> Iterator[Executor | None]:
    """Yield a process pool for large files; else None, the default thread pool."""
    if file.size < _WORTH_A_PROCESS:
        yield None
        return
    beside = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=beside, initializer=_end_with_parent) as judges:
        yield judges


def _end_with_parent() -> None:
    """Exit this worker process when its parent is killed; otherwise it would wait for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="proffer-parent", daemon=True).start()


def _no_identities(schema: str) -> NotFound:
    return NotFound(
        f"no identity is declared for the schema `{schema[:200]}`: declare one with "
        "`POST /data/foundation/schemaregistry/tenant/descriptors`, or name the fields with `--identity`",
        code="descriptor-not-found",
    )


def _typed(
    columns: Iterable[str], schema: Schema, fields: Iterable[IdentityField]
) -> tuple[str, ...]:
    """Return the columns of a CSV file with their types: declared in the name, else by the schema.

    Identities and all other columns are text. `identityMap.Email` is an alias of `identity.Email`.
    """
    found = []
    identities = {".".join(one.path) for one in fields}
    for column in columns:
        path, colon, kind = column.partition(":")
        if path.startswith(_IDENTITY_MAP) and path.count(".") == 1 and kind != "json":
            path = IDENTITY + path.removeprefix(_IDENTITY_MAP)
        if not colon and not path.startswith(IDENTITY) and path not in identities:
            declared = schema.plain("profile", path)
            colon, kind = (":", declared) if declared not in {None, "text"} else ("", "")
        found.append(f"{path}{colon}{kind}")
    return tuple(found)


def _name(
    file: RowFile, dataset: str, schema: str = "", fields: tuple[IdentityField, ...] = ()
) -> str:
    """Return the key of an import's checkpoint: a hash of file, dataset, schema and identity fields."""
    stat = file.path.stat()
    known = f"{file.path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{dataset}"
    if schema or fields:
        known += f"\0{schema}\0{fields}"
    return hashlib.blake2b(known.encode(), digest_size=12).hexdigest()
