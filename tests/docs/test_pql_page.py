"""The reference page matches the declarations of the functions."""

from pql_page import PAGE, reference_page
from proffer.pql.functions.stdlib import STDLIB


def test_the_page_is_up_to_date() -> None:
    """The page is current; `python tools/pql_page.py` rewrites it."""
    assert PAGE.read_text() == reference_page()


def test_every_function_has_its_paragraph() -> None:
    """Every function has its heading. Its examples are tested with its declaration."""
    page = PAGE.read_text()

    assert [name for name in STDLIB if f"#### `{name}`" not in page] == []
