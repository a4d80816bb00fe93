"""The examples of the page about personalized content are true."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proffer.pql import Environment
from proffer.templating.compile import Format, Template, compile_template

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "content.md"
TEXT = PAGE.read_text(encoding="utf-8")
GIVEN = json.loads(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1])  # type: ignore[index]
ROWS = re.findall(r"^\| `(.*?)` \| `(.*?)` \|$", TEXT, re.MULTILINE)
ROWS = [row for row in ROWS if "{" in row[0]]


def test_there_are_rows() -> None:
    """The table of the page is found."""
    assert len(ROWS) >= 10


@pytest.mark.parametrize(("template", "shown"), ROWS)
def test_every_row_is_true(template: str, shown: str) -> None:
    """Each template of the table renders as the text next to it."""
    made = compile_template(template.replace("\\|", "|"), Format.HTML)
    assert isinstance(made, Template), made
    environment = Environment(
        GIVEN["profile"],
        datetime(2025, 1, 1, tzinfo=UTC),
        offer=GIVEN["offer"],
        variables={"context": GIVEN["context"]},
    )

    assert shown == made.render(environment)
