"""Profiles as dictionary-encoded columns: per path the distinct values and a code per row.

Imported by the column form only; NumPy is an optional extra that `serve` never loads.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from proffer.pql.columns.arrays import (
    NotNumbers,
    NumberTable,
    NumericArray,
    Rows,
    parse_number_or_null,
)
from proffer.pql.values.values import Value, path

Path: TypeAlias = tuple[str, ...]


class EncodedColumn:
    """One path: `values` are the distinct values, null first; `codes` their index per row.

    Values of different types are distinct: 1, 1.0 and true are three. Arrays and objects are not compared;
    each is distinct.
    """

    def __init__(self, values: list[Value], codes: Rows) -> None:
        self.values = values
        self.codes = codes

    @classmethod
    def of(cls, rows: Iterable[Value]) -> "EncodedColumn":
        values: list[Value] = [None]
        code_by_value: dict[Any, int] = {(type(None), None): 0}
        codes: list[int] = []
        for value in rows:
            key = (value.__class__, value) if isinstance(value, _HASHABLE) else (id, len(values))
            code = code_by_value.get(key)
            if code is None:
                code = code_by_value[key] = len(values)
                values.append(value)
            codes.append(code)
        return cls(values, np.array(codes, dtype=np.intp))

    @cached_property
    def _numbers(self) -> NumericArray | None:
        table = NumberTable.of(map(parse_number_or_null, self.values))
        return table.at(self.codes) if table.uncertain is False else None

    @property
    def numbers(self) -> NumericArray:
        """The column as numbers. Raises `NotNumbers` if a value is not exactly a double."""
        if self._numbers is None:
            raise NotNumbers
        return self._numbers


_HASHABLE = (str, int, float, bool, type(None))


class ProfileTable:
    """A batch of profiles, as columns of the paths that rules read."""

    def __init__(self, rows: int, columns: Mapping[Path, EncodedColumn]) -> None:
        self.rows = rows
        self.columns = columns

    @classmethod
    def of(cls, profiles: Sequence[Mapping[str, Any]], paths: Collection[Path]) -> "ProfileTable":
        """Build from profiles as objects."""
        return cls(
            len(profiles),
            {names: EncodedColumn.of(path(profile, *names) for profile in profiles) for names in paths},
        )
