"""The `Warning` header of receipts."""

from proffer.api.kit.warnings import MAX_WARNINGS, warning_headers
from proffer.errors import Violation


def _warning(message: str, path: str | None = "$", remedy: str | None = None) -> Violation:
    return Violation(code="w", message=message, path=path, help=remedy)


def test_a_receipt_without_warnings_has_no_header() -> None:
    assert warning_headers([]) == {}


def test_each_warning_is_one_value_with_place_and_remedy() -> None:
    warnings = [_warning("it is large"), _warning("unknown member `a`", "$.a", "write `b`")]
    expected = '199 proffer "it is large", 199 proffer "$.a: unknown member `a`; write `b`"'
    assert warning_headers(warnings) == {"Warning": expected}


def test_quotes_are_escaped_and_other_characters_are_printable_ascii() -> None:
    header = warning_headers([_warning('a "b" \\ é\r\nX: y')])["Warning"]
    assert header == '199 proffer "a \\"b\\" \\\\ \\\\xe9  X: y"'


def test_the_header_is_bounded() -> None:
    header = warning_headers([_warning("x" * 10_000)] * 500)["Warning"]
    assert header.endswith(f'199 proffer "{500 - MAX_WARNINGS} more warnings"')
    assert len(header) < 5_000
