"""Answers of the Offer Library API, whole documents, as they stand in `spec/wire/dps`."""

import json
from pathlib import Path

import pytest

from api.dps.golden import cases, run
from api.dps.library import fill
from support.server import server


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_the_answer_is_the_golden_one(path: Path) -> None:
    """Each request gets the whole answer that its document shows, ids and times aside."""
    case = json.loads(path.read_text(encoding="utf-8"))
    with server() as client:
        fill(client)
        assert run(client, case) == case["answer"]


def test_there_are_documents() -> None:
    """The folder is found."""
    assert len(cases()) > 10
