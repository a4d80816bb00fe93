"""Reader of profile record files in blocks: JSON Lines, CSV with a header of dotted paths, Parquet.

Each block has the position after it, so that an import can resume there. Rows are only split here;
`imports/rows.py` validates them.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from proffer.errors import Invalid, Malformed, NotFound, Unsupported, Violation
from proffer.model.identity import BLANKS
from proffer.pql import XDM_FIELDS
from proffer.service.customers.delimiters import detect_delimiter, is_id, no_header

BLOCK_ROWS = 2_000
"""Rows that are validated together and written in one commit."""
_MAX_ROW_LENGTH = 1_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """A block of rows: the number of its first row (from 1), the rows, and the position after them.

    `bytes_read` up to there is for showing progress, and exact only for JSON Lines.
    """

    first: int
    rows: Sequence[Any]
    position: int
    bytes_read: int


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """Part of a CSV file that cannot be parsed as a row."""

    reason: str


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file to import: its format, its column names (CSV and Parquet) and delimiter (CSV)."""

    path: Path
    file_format: str
    columns: tuple[str, ...] = ()
    delimiter: str = ","

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def blocks(self, position: int, row: int) -> Iterator[Block]:
        """Yield the blocks from a position, beginning with row number `row`. Raises `Malformed`."""
        if self.file_format == "jsonl":
            return _jsonl_blocks(self.path, position, row)
        if self.file_format == "csv":
            return _csv_blocks(self.path, self.delimiter, position, row)
        return _parquet_blocks(self.path, position, row)


def open_file(path: Path, delimiter: str | None = None) -> RowFile:
    """Open a file for import; its format follows from its name. Raises if it cannot be imported.

    Without `delimiter`, that of a CSV file is detected from its first line.
    """
    if not path.is_file():
        raise NotFound(f"cannot read `{path}`: there is no such file", code="file-not-found")
    match path.suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            _refuse_array(path)
            return RowFile(path, "jsonl")
        case ".csv":
            delimiter = delimiter or _delimiter(path)
            return RowFile(path, "csv", _header(path, delimiter), delimiter)
        case ".parquet":
            return RowFile(path, "parquet", _parquet_columns(path))
    raise Unsupported(
        f"`{path}` has an unsupported file type; use .jsonl, .csv or .parquet",
        code="unknown-form",
    )


def _refuse_array(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            raise Unsupported(
                f"`{path}` is one JSON array: write one object per line, as `jq -c '.[]'` does",
                code="unknown-form",
            )


def _jsonl_blocks(path: Path, position: int, row: int) -> Iterator[Block]:
    with path.open("rb") as file:
        file.seek(position)
        while lines := list(islice(file, BLOCK_ROWS)):
            position += sum(map(len, lines))
            yield Block(row, lines, position, position)
            row += len(lines)


def _delimiter(path: Path) -> str:
    with _csv_text(path) as file:
        return detect_delimiter(file.readline(), file.readline(), _is_field)


def _is_field(column: str) -> bool:
    """Return whether a column has the name of an identity or of a field of the XDM core or a tenant."""
    root = column.partition(":")[0].partition(".")[0]
    return root.startswith("_") or root in {"identity", "identityMap"} or root in XDM_FIELDS["profile"]


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    with _csv_text(path) as file:
        header = next(_rows(file, delimiter), None)
    if not header or isinstance(header, BrokenRow) or not all(name.strip(BLANKS) for name in header):
        raise _header_error(path, "the first line of a CSV file must name every column")
    columns = tuple(name.strip(BLANKS) for name in header)
    ids = [column for column in columns if is_id(column)]
    if ids and not any(map(_is_field, columns)):
        raise Invalid.of([no_header(ids[0])])
    return columns


def _csv_blocks(path: Path, delimiter: str, position: int, row: int) -> Iterator[Block]:
    """Yield blocks of a CSV file; positions count rows, as quoted fields may hold line breaks."""
    csv.field_size_limit(_MAX_ROW_LENGTH)
    with _csv_text(path) as file:
        all_rows = _rows(file, delimiter)
        for _ in islice(all_rows, position + 1):
            pass
        while rows := list(islice(all_rows, BLOCK_ROWS)):
            position += len(rows)
            yield Block(row, rows, position, os.lseek(file.fileno(), 0, os.SEEK_CUR))
            row += len(rows)


def _rows(file: io.TextIOWrapper, delimiter: str) -> Iterator[Sequence[str] | BrokenRow]:
    """Yield every row; bad quoting yields a `BrokenRow`, and parsing continues at the next line."""
    reader = csv.reader(file, strict=True, delimiter=delimiter)
    while True:
        first_line = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BrokenRow(f"lines {first_line:,} to {reader.line_num:,} are not a valid row: {error}")


def _csv_text(path: Path) -> io.TextIOWrapper:
    """Open a CSV file; bytes that are not UTF-8 are detected when their row is validated."""
    return path.open(encoding="utf-8-sig", newline="", errors="surrogateescape")


def _parquet_columns(path: Path) -> tuple[str, ...]:
    return tuple(_open_parquet(path).schema_arrow.names)


def _parquet_blocks(path: Path, position: int, row: int) -> Iterator[Block]:
    file = _open_parquet(path)
    bytes_a_row = path.stat().st_size / max(file.metadata.num_rows, 1)
    skipped = 0
    try:
        for batch in file.iter_batches(batch_size=BLOCK_ROWS):
            if skipped + batch.num_rows <= position:
                skipped += batch.num_rows
                continue
            rows = batch.to_pylist()[position - skipped :]
            skipped += batch.num_rows
            position = skipped
            yield Block(row, rows, position, round(position * bytes_a_row))
            row += len(rows)
    except (OSError, ValueError) as error:
        raise Malformed(f"`{path}` cannot be read after row {row - 1:,}: {error}") from None


def _open_parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError:
        raise Unsupported(
            "Parquet files need pyarrow: `pip install 'proffer-server[parquet]'`",
            code="needs-pyarrow",
        ) from None
    try:
        return ParquetFile(path)
    except (OSError, ValueError, ArrowException) as error:
        raise Malformed(f"`{path}` is not a complete Parquet file: {error}") from None


def _header_error(path: Path, message: str) -> Invalid:
    return Invalid.of([Violation(code="header", message=f"{message}: `{path}`")])
