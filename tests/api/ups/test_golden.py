"""Answers about customer data, whole documents, as they stand in `spec/wire/ingest` and `spec/wire/ups`."""

import json
from pathlib import Path

import pytest

from api.ups.golden import cases, fill, run
from support.server import server


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_the_answer_is_the_golden_one(path: Path) -> None:
    """Each request gets the whole answer that its document shows, ids and times aside."""
    case = json.loads(path.read_text(encoding="utf-8"))
    with server() as client:
        ids = fill(client)
        assert run(client, case, ids) == case["answer"]


def test_there_are_documents() -> None:
    """The folders are found."""
    assert len(cases()) > 5
