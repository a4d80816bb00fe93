"""Bulk imports of files: validated in a separate process, written in blocks, resumable.

A block and the import's progress are one commit, so an interrupted import neither repeats nor loses
rows. The rejects file is truncated to its size at that commit.
"""

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path

import msgspec

from proffer.errors import Invalid, NotFound, ProfferError, Unavailable
from proffer.model.customer import EVENT_LIMITS, ChangeResult, Checkpoint, EventLimits
from proffer.model.identity import IdentityField, unknown_namespace
from proffer.service.event_log.feedback import FeedbackService
from proffer.service.imports.files import Block, RowFile
from proffer.service.imports.rejects import RejectsFile
from proffer.service.imports.rows import (
    IDENTITY,
    ImportSpec,
    Reject,
    ValidatedBlock,
    column_violations,
    row_text,
    validate,
)
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock
from proffer.store.ports import ProfileStore

_IDENTITY_MAP = "identityMap."
_MAX_PENDING = 3
"""Blocks that are validated ahead while another is written."""
_MIN_PROCESS_BYTES = 2_000_000


class ImportProgress(msgspec.Struct, frozen=True):
    """Progress of an import: position in the file, next row, and counts of the rows before it."""

    position: int = 0
    bytes_read: int = 0
    row: int = 1
    taken: int = 0
    rejected: int = 0
    rejects_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """Result of an import; `resumed_at` is the row where it resumed, or None."""

    accepted: int
    rejected: int
    resumed_at: int | None


ImportCallback = Callable[[ImportProgress], None]


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
        on_progress: ImportCallback | None = None,
    ) -> ImportResult:
        """Import a file, resuming an interrupted import of it. Bad rows go to `rejects` with reasons.

        Identities are those the `schema` declares and `fields`. `on_progress` is called at the start and
        after each block. Raises `Malformed` for a truncated file, and `Unavailable` if the database or
        the disk fails: blocks before that stay written, and the same call resumes.
        """
        state = access.state
        namespaces = state.customer_schema.namespaces
        fields = tuple(replace(identity_field, schema=schema) for identity_field in fields)
        unknown = [
            identity_field.namespace for identity_field in fields if namespaces.code(identity_field.namespace) is None
        ]
        if unknown:
            raise Invalid.of([unknown_namespace("--identity", name) for name in unknown])
        if schema and not fields and not namespaces.fields(schema):
            raise _no_identities(schema)
        name = _import_name(file, dataset, schema, fields)
        checkpoint = await self._store.checkpoint(state.container.id, name)
        progress = msgspec.json.decode(checkpoint.note, type=ImportProgress) if checkpoint else ImportProgress()
        resumed_at = progress.row if checkpoint else None
        identity_fields = (*namespaces.all_fields, *fields)
        columns = file.columns
        if file.file_format == "csv":
            columns = tuple(map(_column, columns))
        spec = ImportSpec(
            file_format=file.file_format,
            columns=columns,
            dataset=dataset,
            codes=tuple(namespaces.codes()),
            now_us=self._clock(),
            schema=schema,
            fields=identity_fields,
            record_fields=msgspec.json.encode(state.customer_schema.record_types.fields),
        )
        violations = column_violations(spec)
        if violations:
            raise Invalid.of(violations)
        on_progress = on_progress or _ignore_progress
        on_progress(progress)
        with (
            RejectsFile(rejects, progress.rejects_size) as rejects_file,
            _validation_executor(file) as executor,
        ):
            async for block, validated in _validated_blocks(file, spec, progress, executor):
                progress = await self._write(access, name, progress, block, validated, rejects_file)
                on_progress(progress)
        await self._store.delete_checkpoint(state.container.id, name)
        return ImportResult(accepted=progress.taken, rejected=progress.rejected, resumed_at=resumed_at)

    async def _write(
        self,
        access: AuthorizedContainer,
        name: str,
        progress: ImportProgress,
        block: Block,
        validated: ValidatedBlock,
        rejects_file: RejectsFile,
    ) -> ImportProgress:
        """Write one block and its progress in one commit; return the new progress."""
        try:
            updated = ImportProgress(
                position=block.position,
                bytes_read=block.bytes_read,
                row=block.first + len(block.rows),
                taken=progress.taken + len(validated.numbers) + validated.feedback_only,
                rejected=progress.rejected + len(validated.rejects),
                rejects_size=rejects_file.write(validated.rejects),
            )
            checkpoint = Checkpoint(name=name, note=msgspec.json.encode(updated))
            # Before the checkpoint: if interrupted in between it is repeated, and feedback counts once.
            await self._feedback.record(access, validated.feedback)
            results = await self._apply(access.state, validated, checkpoint)
        except Unavailable as error:
            raise Unavailable(
                f"stopped before row {block.first:,}, which was not written: {error.detail}; "
                "free space and run the same command again to continue there",
                code=error.code,
            ) from None
        late_rejects = [
            Reject(number, result.refusal.violations, row_text(block.rows[number - block.first]))
            for number, result in zip(validated.numbers, results, strict=True)
            if result.refusal is not None
        ]
        if not late_rejects:
            return updated
        # The store refused these rows, so a second checkpoint counts them as rejected.
        updated = msgspec.structs.replace(
            updated,
            taken=updated.taken - len(late_rejects),
            rejected=updated.rejected + len(late_rejects),
            rejects_size=rejects_file.write(late_rejects),
        )
        checkpoint = Checkpoint(name=name, note=msgspec.json.encode(updated))
        await self._store.apply_changes(access.id, (), now_us=self._clock(), checkpoint=checkpoint)
        return updated

    async def _apply(
        self, state: ContainerState, validated: ValidatedBlock, checkpoint: Checkpoint
    ) -> list[ChangeResult]:
        container, qualify = state.container.id, state.customer_schema.qualify(by_page=True)
        now_us, limits = self._clock(), self._limits
        if validated.changes:
            results = await self._store.apply_changes(
                container,
                validated.changes,
                now_us=now_us,
                qualify=qualify,
                limits=limits,
                checkpoint=checkpoint,
            )
        else:
            results = await self._store.bulk_apply(
                container,
                validated.records,
                now_us=now_us,
                qualify=qualify,
                limits=limits,
                checkpoint=checkpoint,
            )
        return list(results)


def _ignore_progress(_: ImportProgress) -> None:
    """Default progress callback."""


async def _validated_blocks(
    file: RowFile, spec: ImportSpec, progress: ImportProgress, executor: Executor | None
) -> AsyncIterator[tuple[Block, ValidatedBlock]]:
    """Yield the remaining blocks with their validation, in order; some are validated ahead."""
    loop = asyncio.get_running_loop()
    pending: deque[tuple[Block, asyncio.Future[ValidatedBlock]]] = deque()
    blocks = file.blocks(progress.position, progress.row)
    read_error: ProfferError | None = None
    while True:
        try:
            block = next(blocks, None)
        except ProfferError as error:
            block, read_error = None, error  # the blocks before it are still written
        if block is None:
            break
        pending.append((block, loop.run_in_executor(executor, validate, spec, block.first, block.rows)))
        if len(pending) > _MAX_PENDING:
            ready, validated = pending.popleft()
            yield ready, await validated
    while pending:
        ready, validated = pending.popleft()
        yield ready, await validated
    if read_error is not None:
        raise read_error


@contextmanager
def _validation_executor(file: RowFile) -> Iterator[Executor | None]:
    """Yield a process pool for large files; else None, the default thread pool."""
    if file.size < _MIN_PROCESS_BYTES:
        yield None
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent) as executor:
        yield executor


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


def _column(column: str) -> str:
    """Return a CSV column with `identityMap.Email` as its alias `identity.Email`."""
    path, colon, kind = column.partition(":")
    if path.startswith(_IDENTITY_MAP) and path.count(".") == 1 and kind != "json":
        return f"{IDENTITY}{path.removeprefix(_IDENTITY_MAP)}{colon}{kind}"
    return column


def _import_name(file: RowFile, dataset: str, schema: str = "", fields: tuple[IdentityField, ...] = ()) -> str:
    """Return the key of an import's checkpoint: a hash of file, dataset, schema and identity fields."""
    stat = file.path.stat()
    key = f"{file.path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{dataset}"
    if file.delimiter != ",":
        key += f"\0{file.delimiter}"
    if schema or fields:
        key += f"\0{schema}\0{fields}"
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
