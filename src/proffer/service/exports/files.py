"""Dataset files: rows of nested columns in JSON Lines or Parquet, written atomically.

Columns are declared like schema fields: a type name (`text`, `integer`, `number`, `boolean`,
`moment`), `{name: type}` for an object, `[type]` for a list, `{"*": type}` for a map. A moment is
microseconds since 1970 in a row, RFC 3339 in JSON Lines and a timestamp in Parquet. Row members are
optional; undeclared members are not written.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from proffer.errors import Unavailable, Unsupported
from proffer.model.instance import format_timestamp

Columns: TypeAlias = Mapping[str, Any]
Row: TypeAlias = Mapping[str, Any]
Convert: TypeAlias = Callable[[Any], Any]

_encode = msgspec.json.Encoder().encode

_ROW_GROUP = 20_000
"""Rows buffered in memory while a Parquet file is written."""


class DatasetFormat(Protocol):
    """One file format."""

    suffix: str

    def write(self, path: Path, columns: Columns, rows: Iterable[Row]) -> int:
        """Write the rows to a new file and sync it; return the number of rows."""
        ...

    def join(self, path: Path, columns: Columns, parts: Sequence[Path]) -> None:
        """Write one file with the rows of all parts, in order."""
        ...


def format_for(path: Path) -> DatasetFormat:
    """Return the format for a file name. Raises `Unsupported` if unknown, or without pyarrow."""
    suffix = path.suffix.lower()
    if suffix in {".jsonl", ".ndjson"}:
        return JsonLines()
    if suffix == ".parquet":
        return Parquet()
    raise Unsupported(
        f"`{path}` has an unsupported file type; use .parquet or .jsonl",
        code="unknown-form",
    )


def write_atomically(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    """Write a file in the format of its name; an existing file is replaced once it is complete."""
    file_format = format_for(path)
    temporary = path.with_name(f".{path.name}.writing")
    try:
        count = file_format.write(temporary, columns, rows)
        commit_file(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise write_error(path, error) from None
    return count


def commit_file(temporary: Path, path: Path) -> None:
    """Rename a complete file to its final name and sync the folder."""
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_error(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"cannot write `{path}`: {error.strerror}", code="file-not-written")


def json_row(columns: Columns, row: Row) -> Any:
    """Return the JSON value of a row's line in JSON Lines."""
    return _converter(columns, arrow=False)(row)


class JsonLines:
    """One JSON object per line, without missing members."""

    suffix = ".jsonl"

    def write(self, path: Path, columns: Columns, rows: Iterable[Row]) -> int:
        count = 0
        convert = _converter(columns, arrow=False)
        with path.open("wb") as file:
            for row in rows:
                file.write(_encode(convert(row)) + b"\n")
                count += 1
            _fsync(file)
        return count

    def join(self, path: Path, columns: Columns, parts: Sequence[Path]) -> None:
        del columns
        with path.open("wb") as file:
            for part in parts:
                with part.open("rb") as source:
                    while block := source.read(1 << 20):
                        file.write(block)
            _fsync(file)


class Parquet:
    """Parquet with nested columns, compressed. Raises `Unsupported` without pyarrow."""

    suffix = ".parquet"

    def __init__(self) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]
            from pyarrow import parquet
        except ImportError:
            raise Unsupported(
                "Parquet files need pyarrow: `pip install 'proffer-server[parquet]'`",
                code="needs-pyarrow",
            ) from None
        self._arrow: Any = pa
        self._parquet: Any = parquet

    def write(self, path: Path, columns: Columns, rows: Iterable[Row]) -> int:
        schema = self._schema(columns)
        count = 0
        convert = _converter(columns, arrow=True)
        with (
            path.open("wb") as file,
            self._parquet.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            buffer: list[Any] = []
            for row in rows:
                buffer.append(convert(row))
                if len(buffer) == _ROW_GROUP:
                    writer.write_table(self._arrow.Table.from_pylist(buffer, schema))
                    buffer = []
                count += 1
            writer.write_table(self._arrow.Table.from_pylist(buffer, schema))
            writer.close()
            _fsync(file)
        return count

    def join(self, path: Path, columns: Columns, parts: Sequence[Path]) -> None:
        schema = self._schema(columns)
        with (
            path.open("wb") as file,
            self._parquet.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            for part in parts:
                opened = self._parquet.ParquetFile(part)
                for batch in opened.iter_batches(batch_size=_ROW_GROUP):
                    writer.write_table(self._arrow.Table.from_batches([batch], schema))
                opened.close()
            writer.close()
            _fsync(file)

    def _schema(self, columns: Columns) -> Any:
        return self._arrow.schema([(name, self._type(column_type)) for name, column_type in columns.items()])

    def _type(self, declared: Any) -> Any:
        arrow = self._arrow
        if isinstance(declared, Mapping):
            if set(declared) == {"*"}:
                return arrow.map_(arrow.string(), self._type(declared["*"]))
            return arrow.struct([(name, self._type(member_type)) for name, member_type in declared.items()])
        if isinstance(declared, list):
            return arrow.list_(self._type(declared[0]))
        return {
            "text": arrow.string(),
            "integer": arrow.int64(),
            "number": arrow.float64(),
            "boolean": arrow.bool_(),
            "moment": arrow.timestamp("us", "UTC"),
        }[declared]


def _fsync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _converter(declared: Any, *, arrow: bool) -> Convert:
    """Return the converter of values of a declared type; wrong types become None.

    For JSON Lines, None is omitted and moments are text; for Arrow, nothing is omitted and maps are
    lists of pairs.
    """
    if isinstance(declared, Mapping) and "*" in declared:
        return _map_of(_converter(declared["*"], arrow=arrow), arrow=arrow)
    if isinstance(declared, Mapping):
        members = [(name, _converter(member_type, arrow=arrow)) for name, member_type in declared.items()]
        return _object_of(members, arrow=arrow)
    if isinstance(declared, list):
        return _list_of(_converter(declared[0], arrow=arrow))
    convert = _CONVERTERS[declared]
    return _format_moment if declared == "moment" and not arrow else convert


def _map_of(convert: Convert, *, arrow: bool) -> Convert:
    def convert_map(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        pairs = [(name, convert(member)) for name, member in value.items()]
        return pairs if arrow else {name: member for name, member in pairs if member is not None}

    return convert_map


def _object_of(members: Sequence[tuple[str, Convert]], *, arrow: bool) -> Convert:
    def to_arrow(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        get = value.get
        return {name: convert(get(name)) for name, convert in members}

    def to_json(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        row = {}
        for name, convert in members:
            member = value.get(name)
            if member is not None:
                converted = convert(member)
                if converted is not None:
                    row[name] = converted
        return row

    return to_arrow if arrow else to_json


def _list_of(convert: Convert) -> Convert:
    def convert_list(value: Any) -> Any:
        return [convert(item) for item in value] if _is_list(value) else None

    return convert_list


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _whole_number(value: Any) -> Any:
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def _boolean(value: Any) -> Any:
    return value if isinstance(value, bool) else None


def _format_moment(value: Any) -> Any:
    moment = _whole_number(value)
    return None if moment is None else format_timestamp(moment)


_CONVERTERS: Mapping[str, Convert] = {
    "text": _text,
    "number": _number,
    "integer": _whole_number,
    "boolean": _boolean,
    "moment": _whole_number,
}
"""Converters of scalar types; needed because unvalidated members may hold any value."""
