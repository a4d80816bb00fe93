"""Delimiters are told from the first line, and an id from the name of a column."""

import pytest

from proffer.errors import Invalid
from proffer.service.customers.delimiters import detect_delimiter, is_id


@pytest.mark.parametrize(
    ("header", "row", "delimiter"),
    [
        ("email", "ann@x", ","),
        ("email;tier", "", ";"),
        ('"a;b",c', "", ","),
        ("email;name, given", "ann@x;Ann, A", ";"),
        ("a;b,c;d", "1,2;3,4;5", ";"),
    ],
)
def test_a_delimiter_is_told_from_names_then_from_the_next_line(header: str, row: str, delimiter: str) -> None:
    """Text in quotes does not count; of several delimiters the one with known names, then the one that fits."""
    assert detect_delimiter(header, row, lambda name: name == "email") == delimiter


def test_a_line_that_fits_several_delimiters_is_refused() -> None:
    """With the delimiters, and the option that names one."""
    with pytest.raises(Invalid, match="can be divided by `,` or `;`"):
        detect_delimiter("a;b,c", "1;2;3", lambda _: False)


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=,"\n', "\ufeffSEP=\t\n"])
def test_a_note_for_spreadsheets_is_not_taken_for_the_names_of_columns(line: str) -> None:
    """Else the names would be taken for the first customer."""
    with pytest.raises(Invalid, match="note for spreadsheets"):
        detect_delimiter(line, "email;tier\n", lambda _: False)


@pytest.mark.parametrize(
    ("cell", "below", "expected"),
    [
        ("ann@example.org", "", True),
        ("+49 731 123", "", True),
        ("0017", "", True),
        ("4afe34ae-8c98-4513-8a1d-67ccaa54bc05", "", True),
        ("C-17", "D-23", True),
        ("C-17", "gold", False),
        ("email", "abcde", False),
        ("address2", "", False),
        ("facade", "", False),
    ],
)
def test_an_id_is_told_from_the_name_of_a_column(cell: str, below: str, expected: bool) -> None:
    """By its letters, or by the form of the cell below it."""
    assert is_id(cell, below) is expected
