"""Every golden document of the edge is answered as it stands there."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.edge.golden import cases, run
from support.golden import load


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_answers_as_written(client: TestClient, path: Path) -> None:
    """The request of the file gets the answer of the file, ids, times and tokens masked."""
    case = load(path)

    assert run(client, case) == case["answer"]
