"""The reference page says what the declarations say."""

from pql_page import PAGE, reference_page
from proffer.pql.functions.stdlib import STDLIB


def test_the_page_is_up_to_date() -> None:
    """If this fails: `python tools/pql_page.py` writes the page anew."""
    assert PAGE.read_text() == reference_page()


def test_every_function_has_its_paragraph() -> None:
    """With its examples, which are tested where they are declared."""
    page = PAGE.read_text()

    assert [name for name in STDLIB if f"#### `{name}`" not in page] == []
