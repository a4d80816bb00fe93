"""Validation of import rows: rows of a file → records to store, and rejects with reasons.

Runs in a separate process, so all inputs and outputs are plain data.

CSV columns are dotted paths: `person.name.firstName`, `person.age:number`; `identity.Email` is an
identity, the first such column the primary one. A cell has the type after the colon (`text`, `number`, `boolean` or
`json`), else that of the declared field, else it is a text. An empty cell is a missing value.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from proffer.errors import Invalid, Malformed, ProfferError, Violation
from proffer.model.customer import Change, EncodedRecord, ProfileRecord
from proffer.model.feedback import Feedback
from proffer.model.field_types import RecordTypes, convert_text, type_violation
from proffer.model.identity import BLANKS, IdentityField, Namespaces, unknown_namespace
from proffer.model.ingest_parse import IngestMessage, read_message
from proffer.service.imports.files import BrokenRow
from proffer.validation import json_path

MAX_DEPTH = 50
IDENTITY = "identity."
_CELL_TYPES = frozenset({"", "text", "number", "boolean", "json"})
_MAX_TEXT_LENGTH = 2_000
_NOT_CONVERTED = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSpec:
    """Properties common to all rows of one import."""

    file_format: str
    columns: tuple[str, ...]
    dataset: str
    codes: tuple[str, ...]
    now_us: int
    schema: str = ""
    fields: tuple[IdentityField, ...] = ()
    record_fields: bytes = b""
    """The fields of `RecordTypes` as JSON; hashable."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row: its number, the reasons and its text."""

    row: int
    reasons: tuple[Violation, ...]
    record: str

    def encode(self) -> bytes:
        """Return the reject as a line of the rejects file."""
        reasons = [
            {
                name: value
                for name, value in (
                    ("message", reason.message),
                    ("path", reason.path),
                    ("help", reason.help),
                )
                if value is not None
            }
            for reason in self.reasons
        ]
        return msgspec.json.encode({"row": self.row, "why": reasons, "record": self.record}) + b"\n"


@dataclass(frozen=True, slots=True)
class ValidatedBlock:
    """Validated rows of one block: row numbers with their changes, and the rejects.

    Changes are in `records` if all of them are plain records, else in `changes`. `feedback`: feedback in
    the rows; `feedback_only`: number of rows with feedback that change no customer.
    """

    numbers: tuple[int, ...]
    records: tuple[EncodedRecord, ...]
    changes: tuple[Change, ...]
    rejects: tuple[Reject, ...]
    feedback: tuple[Feedback, ...] = ()
    feedback_only: int = 0


_namespaces: dict[tuple[tuple[str, ...], tuple[IdentityField, ...]], Namespaces] = {}


@lru_cache(2)
def _record_types(fields: bytes) -> RecordTypes:
    return RecordTypes.of(msgspec.json.decode(fields))


def validate(spec: ImportSpec, first: int, rows: Sequence[Any]) -> ValidatedBlock:
    """Validate the rows of a block; `first` is the number of its first row."""
    cache_key = spec.codes, spec.fields
    namespaces = _namespaces.get(cache_key)
    if namespaces is None:
        namespaces = _namespaces[cache_key] = Namespaces(*cache_key)
    types = _record_types(spec.record_fields)
    numbers: list[int] = []
    changes: list[Change] = []
    rejects: list[Reject] = []
    feedback: list[Feedback] = []
    feedback_only = 0
    for number, row in enumerate(rows, first):
        try:
            if not row or (isinstance(row, bytes) and not row.strip()):
                continue
            change, reported = _read_row(spec, namespaces, types, row)
        except UnicodeEncodeError:
            rejects.append(Reject(number, (_not_utf8(),), row_text(row)))
        except ProfferError as refusal:
            reasons = refusal.violations or (Violation(code=refusal.code, message=refusal.detail),)
            rejects.append(Reject(number, tuple(reasons), row_text(row)))
        else:
            if reported is not None:
                feedback.append(reported)
            if change is None:
                feedback_only += 1
                continue
            numbers.append(number)
            changes.append(change)
    outcome = tuple(rejects), tuple(feedback), feedback_only
    records = [record for change in changes if (record := encode_record(change)) is not None]
    if len(records) == len(changes):
        return ValidatedBlock(tuple(numbers), tuple(records), (), *outcome)
    return ValidatedBlock(tuple(numbers), (), tuple(changes), *outcome)


def _not_utf8() -> Violation:
    return Violation(code="malformed", message="the row is not UTF-8", help="save the file as UTF-8")


def column_violations(spec: ImportSpec) -> list[Violation]:
    """Return the violations in a table's columns. They are then not reported per row."""
    if not spec.columns:
        return []
    namespaces = Namespaces(spec.codes, spec.fields)
    violations: list[Violation] = []
    parsed_columns = [column.partition(":") for column in spec.columns]
    for path, _, kind in parsed_columns:
        if path.startswith(IDENTITY) and namespaces.code(path.removeprefix(IDENTITY)) is None:
            violations.append(unknown_namespace(path, path.removeprefix(IDENTITY)))
        if spec.file_format == "csv" and kind not in _CELL_TYPES:
            violations.append(_unknown_type(path, kind))
    names = [path for path, _, _ in parsed_columns if not path.startswith(IDENTITY)]
    violations += [
        Violation(code="header", message="two columns have this name", path=name)
        for name, count in Counter(names).items()
        if count > 1
    ]
    declared = [".".join(field.path) for field in namespaces.fields(spec.schema)]
    if not any(
        path.startswith((IDENTITY, "identityMap")) or any(_overlap(path, field) for field in declared)
        for path, _, _ in parsed_columns
    ):
        message = f"no identity column found among {', '.join(f'`{name[:50]}`' for name in names[:20])}"
        remedy = (
            "name a column `identity.Email` in the first line, or pass `--identity COLUMN=Email`, and `--delimiter` "
            "if the columns are divided wrongly"
        )
        violations.append(Violation(code="no-identity", message=message, help=remedy))
    return violations


def _overlap(column: str, field: str) -> bool:
    """Return whether a column contains the field at a path, or is part of it."""
    return f"{column}.".startswith(f"{field}.") or f"{field}.".startswith(f"{column}.")


def row_text(row: Any) -> str:
    """Return a row as text for the rejects file."""
    if isinstance(row, BrokenRow):
        return ""
    text = row.decode("utf-8", "replace") if isinstance(row, bytes) else json.dumps(row, default=str)
    return text.rstrip("\r\n")[:_MAX_TEXT_LENGTH]


def _read_row(
    spec: ImportSpec, namespaces: Namespaces, types: RecordTypes, row: Any
) -> tuple[Change | None, Feedback | None]:
    """Read a row. Raises `Invalid` with every violation of its cells and of the record."""
    violations: list[Violation] = []
    message = _message(spec, types, row, violations)
    try:
        result = read_message(message, namespaces, types, spec.now_us)
    except Invalid as refusal:
        paths = {violation.path for violation in violations}
        others = [violation for violation in refusal.violations if violation.path not in paths]
        raise Invalid.of([*violations, *others]) from None
    if violations:
        raise Invalid.of(violations)
    return result


def _message(spec: ImportSpec, types: RecordTypes, row: Any, violations: list[Violation]) -> IngestMessage:
    """Return the message of a row; the violations of its cells are added to `violations`."""
    match spec.file_format:
        case "jsonl":
            entity = _decode_object(row)
        case "csv" if isinstance(row, BrokenRow):
            raise Malformed(row.reason)
        case "csv":
            entity = _converted(types, _from_cells(spec.columns, row, violations))
        case _:
            entity = _converted(types, _from_columns(row))
    body = entity.get("body")
    if isinstance(body, Mapping) and isinstance(body.get("xdmEntity"), Mapping):
        header = entity.get("header")
        header = header if isinstance(header, Mapping) else {}
        dataset_id = header.get("datasetId")
        dataset = dataset_id if isinstance(dataset_id, str) else spec.dataset
        schema = header.get("schemaRef")
        schema_id = schema.get("id") if isinstance(schema, Mapping) else None
        schema = schema_id if isinstance(schema_id, str) else spec.schema
        return IngestMessage(entity=body["xdmEntity"], dataset=dataset, schema=schema)
    return IngestMessage(entity=entity, dataset=spec.dataset, schema=spec.schema)


def _converted(types: RecordTypes, entity: dict[str, Any]) -> dict[str, Any]:
    """Return the entity of a table row with texts as the declared types."""
    return (types.event if "timestamp" in entity else types.profile).converted(entity)


def _decode_object(line: bytes) -> dict[str, Any]:
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH and _too_deep(line):
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed("not an object")
    return value


def _too_deep(line: bytes) -> bool:
    depth = deepest = 0
    for byte in line:
        depth += (byte in b"{[") - (byte in b"}]")
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH


def _from_cells(columns: Sequence[str], cells: Sequence[str], violations: list[Violation]) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise Invalid.of(
            [
                Violation(
                    code="ragged",
                    message=f"the row has {len(cells)} cells and the header {len(columns)}",
                    help="quote cells that hold commas or line breaks",
                )
            ]
        )
    entity: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if cell.strip(BLANKS):
            path, _, kind = column.partition(":")
            value = _parse_cell(kind, cell)
            if value is _NOT_CONVERTED:
                violations.append(type_violation(kind, cell, json_path(*path.split("."))))
            else:
                _put(entity, path, value)
    return entity


def _from_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    entity: dict[str, Any] = {}
    for column, value in row.items():
        if (json_value := _json_value(value)) is not None:
            _put(entity, column, json_value)
    identity_map = entity.get("identityMap")
    if isinstance(identity_map, list):  # Arrow returns a map column as pairs
        entity["identityMap"] = {str(pair[0]): pair[1] for pair in identity_map if len(pair) == 2}
    return entity


def _put(entity: dict[str, Any], path: str, value: Any) -> None:
    """Set the member at a dotted path; an identity column goes to the identity map."""
    if path.startswith(IDENTITY):
        identity_map = entity.setdefault("identityMap", {})
        first = not identity_map
        entry = {"id": value if isinstance(value, str) else str(value), "primary": first}
        identity_map.setdefault(path.removeprefix(IDENTITY), []).append(entry)
        return
    *steps, last = path.split(".")
    target = entity
    for step in steps:
        nested = target.setdefault(step, {})
        if not isinstance(nested, dict):
            nested = target[step] = {}
        target = nested
    target[last] = value


def _parse_cell(kind: str, cell: str) -> Any:
    """Return the value of a cell; `_NOT_CONVERTED` if it is not of this kind."""
    if kind == "json":
        try:
            return msgspec.json.decode(cell)
        except msgspec.MsgspecError:
            return _NOT_CONVERTED
    value = convert_text(kind, cell)
    return _NOT_CONVERTED if value is None else value


def _unknown_type(column: str, kind: str) -> Violation:
    return Violation(
        code="type",
        message=f"`{kind}` is not a column type",
        path=column,
        help="write `text`, `number`, `boolean` or `json` after the colon",
    )


def _json_value(value: Any) -> Any:
    """Convert a Parquet column value to a JSON value. NaN, which tables use for missing numbers, becomes null."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {name: _json_value(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(member) for member in value]
    return value


def encode_record(change: Change) -> EncodedRecord | None:
    """Return a record as plain values, cheap to pass between processes; None for other changes."""
    if not isinstance(change, ProfileRecord) or change.digest is not None:
        return None
    text = msgspec.json.encode(change.attributes)
    if b"null" in text:
        return None
    identities = tuple(tuple(identity) for identity in change.identities)
    return identities, change.dataset, change.stamped_us, text  # type: ignore[return-value]
