"""Datasets are written whole, the same in both forms, and whatever a row holds."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from proffer.errors import Unavailable, Unsupported
from proffer.service.exports.files import Columns, Row, format_for, write_atomically

COLUMNS: Columns = {
    "_id": "text",
    "at": "moment",
    "n": "integer",
    "score": "number",
    "on": "boolean",
    "tags": ["text"],
    "named": {"*": "text"},
    "inner": {"deep": [{"a": "text", "b": {"*": "integer"}}]},
}
FULL: Row = {
    "_id": "1",
    "at": 1_700_000_000_000_001,
    "n": 2**62,
    "score": 3,
    "on": False,
    "tags": ["x", "y"],
    "named": {"k": "v"},
    "inner": {"deep": [{"a": "é", "b": {"z": 1}}, {"a": None}]},
}
ODD: list[Row] = [
    {},
    {
        "_id": 7,
        "at": "never",
        "n": True,
        "score": True,
        "on": 1,
        "tags": "x",
        "named": [],
        "inner": 0,
    },
    {"_id": {"a": [1]}, "n": 2**70, "score": "1", "tags": [1, None], "more": "not declared"},
    {"inner": {"deep": [None, 5, {}]}, "named": {"k": 1}},
]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table(path: Path) -> list[Any]:
    rows: list[Any] = pyarrow.parquet.read_table(path).to_pylist(maps_as_pydicts="strict")
    return rows


def test_a_row_comes_back_from_both_forms(tmp_path: Path) -> None:
    """Every type of column, nested."""
    jsonl, parquet = tmp_path / "a.jsonl", tmp_path / "a.parquet"

    assert write_atomically(jsonl, COLUMNS, [FULL]) == write_atomically(parquet, COLUMNS, [FULL]) == 1

    (said,) = lines(jsonl)
    assert said == {
        **FULL,
        "at": "2023-11-14T22:13:20.000001Z",
        "inner": {"deep": [{"a": "é", "b": {"z": 1}}, {}]},
    }
    (row,) = table(parquet)
    assert row["at"].isoformat() == "2023-11-14T22:13:20.000001+00:00"
    assert row["inner"] == {"deep": [{"a": "é", "b": {"z": 1}}, {"a": None, "b": None}]}
    assert {name: row[name] for name in ("n", "score", "on", "tags", "named")} == {
        name: FULL[name] for name in ("n", "score", "on", "tags", "named")
    }


def test_odd_values_do_not_end_an_export(tmp_path: Path) -> None:
    """What a column cannot hold stays out; a text column holds other JSON as text."""
    jsonl, parquet = tmp_path / "a.jsonl", tmp_path / "a.parquet"

    assert write_atomically(jsonl, COLUMNS, ODD) == write_atomically(parquet, COLUMNS, ODD) == len(ODD)

    empty, wrong, strange, nested = lines(jsonl)
    assert empty == {}
    assert wrong == {"_id": "7"}
    assert strange == {"_id": '{"a":[1]}', "tags": ["1", None]}
    assert nested == {"inner": {"deep": [None, None, {}]}, "named": {"k": "1"}}
    assert [row["_id"] for row in table(parquet)] == [None, "7", '{"a":[1]}', None]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_parts_join_in_order(tmp_path: Path, form: str) -> None:
    """Also those without rows."""
    parts = [tmp_path / f"{number}.{form}" for number in range(4)]
    written = format_for(parts[0])
    for number, part in enumerate(parts):
        rows = [] if number == 1 else [{"n": number * 10 + n} for n in range(3)]
        written.write(part, COLUMNS, rows)
    whole = tmp_path / f"whole.{form}"
    written.join(whole, COLUMNS, parts)

    rows = lines(whole) if form == "jsonl" else table(whole)
    assert [row["n"] for row in rows] == [0, 1, 2, 20, 21, 22, 30, 31, 32]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_file_is_whole_or_as_it_was(tmp_path: Path, form: str) -> None:
    """An export that breaks off leaves the older file."""
    path = tmp_path / f"a.{form}"
    write_atomically(path, COLUMNS, [FULL])
    before = path.read_bytes()

    def breaking() -> Iterator[Row]:
        yield FULL
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="No space left"):
        write_atomically(path, COLUMNS, breaking())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_names_are_refused(tmp_path: Path) -> None:
    """The message says which endings there are."""
    with pytest.raises(Unsupported, match=r"\.parquet or \.jsonl"):
        format_for(tmp_path / "a.csv")


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow JSON Lines still work, and Parquet says how to get it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(Unsupported, match="proffer-server\\[parquet\\]"):
        format_for(tmp_path / "a.parquet")
    assert write_atomically(tmp_path / "a.jsonl", COLUMNS, [FULL]) == 1
