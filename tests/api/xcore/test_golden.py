"""Every golden document of the repository API is answered as it stands there."""

import json
from pathlib import Path

import pytest

from api.xcore.golden import cases, run
from api.xcore.library import library


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_answers_as_written(path: Path) -> None:
    """The request of the file gets the answer of the file, member for member in its order, ids and times masked."""
    case = json.loads(path.read_text(encoding="utf-8"))

    with library() as (client, instances):
        answer = run(client, instances, case)

    assert json.dumps(answer, indent=1) == json.dumps(case["answer"], indent=1)
