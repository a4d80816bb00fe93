"""Delimiters of CSV files: detected from the first line, or given."""

import csv
import re
from collections.abc import Callable

from proffer.errors import Invalid, Malformed, Violation
from proffer.model.identity import BLANKS

DELIMITERS = {",": ",", ";": ";", "|": "|", "\t": "\t", "tab": "\t"}
"""Delimiters by the texts that name them in options and parameters."""
_SPREADSHEET_NOTE = re.compile(r'\ufeff?"?sep=.', re.IGNORECASE)
_LABELS = {",": "`,`", ";": "`;`", "|": "`|`", "\t": "tab"}


def parse_delimiter(text: str | None) -> str | None:
    """Return the delimiter that an option names; None for none. Raises `Malformed`."""
    if text is None or text in DELIMITERS:
        return DELIMITERS[text] if text is not None else None
    raise Malformed(f"`{text[:20]}` is not a delimiter: use `,`, `;`, `|` or `tab`", code="bad-parameter")


def detect_delimiter(header: str, row: str, is_known: Callable[[str], bool]) -> str:
    """Return the delimiter of a header line: a comma if there is one column.

    If several are possible, the one with the most names that `is_known` accepts, then the one that also fits the
    next line `row`. Raises `Invalid` if that leaves several, and for a note such as `sep=;` in place of a header.
    """
    if _SPREADSHEET_NOTE.match(header):
        message = f"the first line is a note for spreadsheets and not the names of the columns: `{header.strip()[:20]}`"
        raise Invalid.of([Violation(code="header", message=message, line=1, column=1, help="remove this line")])
    columns = {delimiter: split_line(header, delimiter) for delimiter in _LABELS}
    possible = [delimiter for delimiter, names in columns.items() if len(names) > 1] or [","]
    if len(possible) > 1:
        known = {delimiter: sum(map(is_known, columns[delimiter])) for delimiter in possible}
        possible = [delimiter for delimiter in possible if known[delimiter] == max(known.values())]
    if len(possible) > 1:
        fitting = [each for each in possible if len(split_line(row, each)) == len(columns[each])]
        possible = fitting or possible
    if len(possible) > 1:
        labels = " or ".join(_LABELS[delimiter] for delimiter in possible)
        message = f"the first line can be divided by {labels}"
        remedy = "name the delimiter: `--delimiter` on the command line, `delimiter` in a request"
        raise Invalid.of([Violation(code="header", message=message, line=1, column=1, help=remedy)])
    return possible[0]


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line, without blanks around them."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return [line]
    return [cell.strip(BLANKS) for cell in cells]


_DIGITS = re.compile(r"\+?[0-9][0-9 ()/.-]*")
_HASH = re.compile(r"[0-9a-fA-F-]{16,}")


def is_id(cell: str, below: str = "") -> bool:
    """Return whether a cell of the first line looks like an id rather than the name of a column.

    It does if it is an address, a number or a hash, or has digits and the same form as the cell `below`.
    """
    if "@" in cell or _DIGITS.fullmatch(cell) or (_HASH.fullmatch(cell) and re.search("[0-9]", cell)):
        return True
    return bool(re.search("[0-9]", cell)) and _form(cell) == _form(below)


def _form(cell: str) -> str:
    return re.sub("[0-9]", "9", re.sub("[^\\W\\d_]", "a", cell))


def no_header(cell: str) -> Violation:
    return Violation(
        code="header",
        message=f"the first line contains an id and not the names of the columns: `{cell[:100]}`",
        line=1,
        column=1,
        help="add a first line with the names of the columns, such as `email`",
    )
