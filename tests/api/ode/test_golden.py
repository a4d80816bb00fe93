"""Every golden document of the decisioning API is answered as it stands there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.ode.golden import cases, run
from api.ode.library import fill
from support.server import server


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_answers_as_written(client: TestClient, path: Path) -> None:
    """The request of the file gets the answer of the file, ids, times and reasons masked."""
    case = json.loads(path.read_text(encoding="utf-8"))

    assert run(client, case) == case["answer"]
