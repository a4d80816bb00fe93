"""Audience uploads as CSV: a column of identities, and columns with attributes of the membership."""

import csv
from collections.abc import Iterator
from typing import TextIO

from proffer.errors import Invalid, Malformed, NotFound, Violation
from proffer.model.identity import MAX_ID


def parse_upload(text: TextIO, name: str, column: str | None) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the identity and the other columns of each row; `column` names the identity column.

    Without `column` it is the first one. `name` is the file name for errors; any bad line raises.
    """
    try:
        rows = csv.reader(text)
        header = next(rows, [])
        if column and column not in header:
            raise NotFound(f"`{name}` has no column `{column}`", code="no-such-column")
        identity_index = header.index(column) if column else 0
        for number, row in enumerate(rows, 2):
            if not row:
                continue
            if len(row) != len(header) or not 0 < len(row[identity_index].strip()) <= MAX_ID:
                raise _bad_line(name, number)
            columns = {
                title: cell
                for index, (title, cell) in enumerate(zip(header, row, strict=True))
                if index != identity_index and cell
            }
            yield row[identity_index], columns
    except (csv.Error, UnicodeDecodeError) as error:
        raise Malformed(f"`{name}` is not valid CSV: {error}") from None


def _bad_line(name: str, number: int) -> Invalid:
    return Invalid.of(
        [
            Violation(
                code="ragged",
                message=f"line {number} of `{name}` has no identity, or more or fewer cells than the header",
                line=number,
                help="fix the line; no line of the list was accepted",
            )
        ]
    )
