"""The reference page says what the declarations say."""

from pathlib import Path

from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.reference import reference_page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "pql.md"


def test_the_page_is_up_to_date() -> None:
    """If not: `python -m proffer.pql.reference docs/reference/pql.md`."""
    assert PAGE.read_text() == reference_page()


def test_every_function_has_its_paragraph() -> None:
    """With its examples, which are tested where they are declared."""
    page = PAGE.read_text()

    assert [name for name in STDLIB if f"#### `{name}`" not in page] == []
