"""Audience uploads as CSV: a column of identities, and columns with attributes of the membership."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TextIO

from proffer.errors import Invalid, Malformed, NotFound, Violation
from proffer.model.identity import BLANKS, MAX_ID, IdentityKey
from proffer.service.customers.delimiters import detect_delimiter, is_id, no_header


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFormat:
    """How to read a list: the namespace of its identities, their column, and the delimiter.

    Without a column it is the one named like the namespace (`Email`, `identity.Email`), else the first. Without
    a delimiter it is detected.
    """

    namespace: str
    column: str | None = None
    delimiter: str | None = None


def parse_upload(text: TextIO, name: str, format_: ListFormat) -> Iterator[tuple[IdentityKey, dict[str, str]]]:
    """Yield the identity and the other columns of each row, without blanks around them.

    `name` is the file name for errors; any bad line raises.
    """
    try:
        first, second = text.readline(), text.readline()
        delimiter = format_.delimiter or detect_delimiter(first, second, lambda title: _is_identity(title, format_))
        rows = csv.reader(chain((first, second), text), delimiter=delimiter, skipinitialspace=True)
        header = [title.strip(BLANKS) for title in next(rows, [])]
        identity_index: int | None = None
        for number, row in enumerate(rows, 2):
            cells = [cell.strip(BLANKS) for cell in row]
            if identity_index is None:
                identity_index = _identity_index(name, header, cells, format_)
            if not any(cells):
                continue
            if len(cells) != len(header) or not 0 < len(cells[identity_index]) <= MAX_ID:
                raise _bad_line(name, number)
            columns = {
                title: cell
                for index, (title, cell) in enumerate(zip(header, cells, strict=True))
                if index != identity_index and title and cell
            }
            yield IdentityKey(format_.namespace, cells[identity_index]), columns
        if identity_index is None:
            _identity_index(name, header, [], format_)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Malformed(f"`{name}` is not valid CSV: {error}") from None


def _identity_index(name: str, header: list[str], below: list[str], format_: ListFormat) -> int:
    """Return the position of the identity column. Raises if the first line does not name it."""
    if format_.column is not None:
        column = format_.column.strip(BLANKS)
        if column not in header:
            titles = ", ".join(f"`{title[:50]}`" for title in header[:20])
            raise NotFound(f"`{name}` has no column `{column}`; its columns are {titles}", code="no-such-column")
        return header.index(column)
    named = [index for index, title in enumerate(header) if _is_identity(title, format_)]
    if named:
        return named[0]
    if not header or not header[0]:
        message = f"the first line of `{name}` does not name the column of the identities"
        remedy = f"name it, such as `{format_.namespace}`, in the first line"
        raise Invalid.of([Violation(code="header", message=message, line=1, column=1, help=remedy)])
    if is_id(header[0], below[0] if below else ""):
        raise Invalid.of([no_header(header[0])])
    return 0


def _is_identity(title: str, format_: ListFormat) -> bool:
    """Return whether a column is the one given, or has the name of the namespace in any spelling."""
    if format_.column is not None:
        return title == format_.column
    return _plain(title).removeprefix("identity") == _plain(format_.namespace)


def _plain(title: str) -> str:
    return re.sub(r"[\W_]", "", title).lower()


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
