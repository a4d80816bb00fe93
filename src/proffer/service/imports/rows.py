"""Validation of import rows: rows of a file → records to store, and rejects with reasons.

Runs in a separate process, so all inputs and outputs are plain data.

CSV columns are dotted paths: `person.name.firstName`, `person.age:number`; `identity.Email` is an
identity, the first such column the primary one. Types after the colon are `text` (the default), `number`,
`boolean` and `json`. An empty cell is a missing value.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from proffer.errors import Finding, Invalid, Malformed, ProfferError
from proffer.model.customer import Change, EncodedRecord, Record
from proffer.model.feedback import Feedback
from proffer.model.identity import IdentityField, Namespaces, unknown_namespace
from proffer.model.ingest_parse import Message, read_message
from proffer.service.imports.files import BrokenRow

MAX_DEPTH = 50
IDENTITY = "identity."
_KINDS = frozenset({"", "text", "number", "boolean", "json"})
_SHOWN = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Properties common to all rows of one import."""

    form: str
    columns: tuple[str, ...]
    dataset: str
    codes: tuple[str, ...]
    now_us: int
    schema: str = ""
    fields: tuple[IdentityField, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row: its number, the reasons and its text."""

    row: int
    why: tuple[Finding, ...]
    said: str

    def line(self) -> bytes:
        """Return the reject as a line of the rejects file."""
        why = [
            {
                name: value
                for name, value in (
                    ("message", one.message),
                    ("path", one.path),
                    ("help", one.help),
                )
                if value is not None
            }
            for one in self.why
        ]
        return msgspec.json.encode({"row": self.row, "why": why, "record": self.said}) + b"\n"


@dataclass(frozen=True, slots=True)
class Judged:
    """Validated rows of one block: row numbers with their changes, and the rejects.

    Changes are in `records` if all of them are plain records, else in `changes`. `feedback`: feedback in
    the rows; `feedback_only`: number of rows with feedback that change no customer.
    """

    numbers: tuple[int, ...]
    records: tuple[EncodedRecord, ...]
    changes: tuple[Change, ...]
    rejects: tuple[Reject, ...]
    feedback: tuple[Feedback, ...] = ()
    alone: int = 0


_namespaces: dict[tuple[tuple[str, ...], tuple[IdentityField, ...]], Namespaces] = {}


def judge(form: Form, first: int, rows: Sequence[Any]) -> Judged:
    """Validate the rows of a block; `first` is the number of its first row."""
    known = form.codes, form.fields
    namespaces = _namespaces.get(known)
    if namespaces is None:
        namespaces = _namespaces[known] = Namespaces(*known)
    numbers: list[int] = []
    changes: list[Change] = []
    rejects: list[Reject] = []
    feedback: list[Feedback] = []
    alone = 0
    for number, row in enumerate(rows, first):
        try:
            if not row or (isinstance(row, bytes) and not row.strip()):
                continue
            change, reported = read_message(_message(form, row), namespaces, form.now_us)
        except UnicodeEncodeError:
            rejects.append(Reject(number, (_not_utf8(),), shown(row)))
        except ProfferError as refusal:
            why = refusal.findings or (Finding(code=refusal.code, message=refusal.detail),)
            rejects.append(Reject(number, tuple(why), shown(row)))
        else:
            if reported is not None:
                feedback.append(reported)
            if change is None:
                alone += 1
                continue
            numbers.append(number)
            changes.append(change)
    said = tuple(rejects), tuple(feedback), alone
    records = [record for change in changes if (record := encoded(change)) is not None]
    if len(records) == len(changes):
        return Judged(tuple(numbers), tuple(records), (), *said)
    return Judged(tuple(numbers), (), tuple(changes), *said)


def _not_utf8() -> Finding:
    return Finding(
        code="malformed", message="the row is not UTF-8", help="save the file in the encoding UTF-8"
    )


def column_mistakes(form: Form) -> list[Finding]:
    """Return the violations in a table's columns, so that they are not reported per row."""
    if not form.columns:
        return []
    namespaces = Namespaces(form.codes, form.fields)
    found: list[Finding] = []
    named = [column.partition(":") for column in form.columns]
    for path, _, kind in named:
        if path.startswith(IDENTITY) and namespaces.code(path.removeprefix(IDENTITY)) is None:
            found.append(unknown_namespace(path, path.removeprefix(IDENTITY)))
        if form.form == "csv" and kind not in _KINDS:
            found.append(_no_type(path, kind))
    names = [path for path, _, _ in named if not path.startswith(IDENTITY)]
    found += [
        Finding(code="header", message="two columns have this name", path=name)
        for name, count in Counter(names).items()
        if count > 1
    ]
    identified = any(name.startswith((IDENTITY, "identityMap")) for name in form.columns)
    if not identified and not namespaces.fields(form.schema):
        message = "no column says whose rows these are"
        mend = "name a column `identity.Email`, say `--identity COLUMN=Email`, and separate columns with commas"
        found.append(Finding(code="no-identity", message=message, help=mend))
    return found


def shown(row: Any) -> str:
    """Return a row as text for the rejects file."""
    if isinstance(row, BrokenRow):
        return ""
    text = (
        row.decode("utf-8", "replace") if isinstance(row, bytes) else json.dumps(row, default=str)
    )
    return text.rstrip("\r\n")[:_SHOWN]


def _message(form: Form, row: Any) -> Message:
    match form.form:
        case "jsonl":
            entity = _object(row)
        case "csv" if isinstance(row, BrokenRow):
            raise Malformed(row.why)
        case "csv":
            entity = _from_cells(form.columns, row)
        case _:
            entity = _from_columns(row)
    body = entity.get("body")
    if isinstance(body, Mapping) and isinstance(body.get("xdmEntity"), Mapping):
        header = entity.get("header")
        header = header if isinstance(header, Mapping) else {}
        named = header.get("datasetId")
        dataset = named if isinstance(named, str) else form.dataset
        schema = header.get("schemaRef")
        said = schema.get("id") if isinstance(schema, Mapping) else None
        schema = said if isinstance(said, str) else form.schema
        return Message(entity=body["xdmEntity"], dataset=dataset, schema=schema)
    return Message(entity=entity, dataset=form.dataset, schema=form.schema)


def _object(line: bytes) -> dict[str, Any]:
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


def _from_cells(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise Invalid.of(
            [
                Finding(
                    code="ragged",
                    message=f"the row has {len(cells)} cells and the header {len(columns)}",
                    help="quote cells that hold commas or line breaks",
                )
            ]
        )
    entity: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if cell:
            path, _, kind = column.partition(":")
            _put(entity, path, _typed(column, kind, cell))
    return entity


def _from_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    entity: dict[str, Any] = {}
    for column, value in row.items():
        if value is not None:
            _put(entity, column, _json_value(value))
    given = entity.get("identityMap")
    if isinstance(given, list):  # Arrow returns a map column as pairs
        entity["identityMap"] = {str(pair[0]): pair[1] for pair in given if len(pair) == 2}
    return entity


def _put(entity: dict[str, Any], path: str, value: Any) -> None:
    """Set the member at a dotted path; an identity column goes to the identity map."""
    if path.startswith(IDENTITY):
        listed = entity.setdefault("identityMap", {})
        first = not listed
        entry = {"id": value if isinstance(value, str) else str(value), "primary": first}
        listed.setdefault(path.removeprefix(IDENTITY), []).append(entry)
        return
    *steps, last = path.split(".")
    under = entity
    for step in steps:
        nested = under.setdefault(step, {})
        if not isinstance(nested, dict):
            nested = under[step] = {}
        under = nested
    under[last] = value


def _typed(column: str, kind: str, cell: str) -> Any:
    try:
        match kind:
            case "" | "text":
                return cell
            case "number":
                return _number(cell)
            case "boolean":
                return {"true": True, "false": False}[cell.strip().lower()]
            case "json":
                return msgspec.json.decode(cell)
    except (ValueError, KeyError, msgspec.MsgspecError):
        raise Invalid.of(
            [Finding(code="type", message=f"`{cell[:100]}` is no {kind}", path=column)]
        ) from None
    raise Invalid.of([_no_type(column, kind)])


def _no_type(column: str, kind: str) -> Finding:
    return Finding(
        code="type",
        message=f"`{kind}` is no type of a column",
        path=column,
        help="write `text`, `number`, `boolean` or `json` after the colon",
    )


def _number(cell: str) -> int | float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(cell)
    return int(cell) if cell.strip().lstrip("+-").isdigit() else number


def _json_value(value: Any) -> Any:
    """Convert a Parquet column value to a JSON value."""
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


def encoded(change: Change) -> EncodedRecord | None:
    """Return a record as plain values, cheap to pass between processes; None for other changes."""
    if not isinstance(change, Record) or change.digest is not None:
        return None
    text = msgspec.json.encode(change.attributes)
    if b"null" in text:
        return None
    identities = tuple(tuple(one) for one in change.identities)
    return identities, change.dataset, change.stamped_us, text  # type: ignore[return-value]
