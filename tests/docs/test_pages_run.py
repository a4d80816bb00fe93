"""The commands in the README and the tutorial have the described results."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proffer.cli.library import read_document
from support.process import run_server
from support.server import ODE, sample_library, server

ROOT = Path(__file__).parents[2]
needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="the pages use bash and curl"
)


def test_the_request_of_the_readme_gets_its_answer() -> None:
    """The request in the README gets the offer printed there.

    The server has the sample library.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"-d '(\{.*?\})'\n```\n```json", text, re.DOTALL)
    assert found is not None
    with server() as client:
        load(client)
        answer = client.post(f"{ODE}/decisions", content=found[1]).json()

    option = answer["xdm:propositions"][0]["xdm:options"][0]
    assert f'"xdm:id": "{option["xdm:id"]}"' in text
    assert f'"xdm:name": "{option["xdm:name"]}"' in text


def load(client: object) -> None:
    """Create the sample library over the API of an in-process server."""
    from starlette.testclient import TestClient

    from proffer.service.library.load import library_entries
    from support.server import create

    assert isinstance(client, TestClient)
    for kind, _, document in library_entries(read_document(sample_library())):
        create(client, kind, json.loads(json.dumps(document)))


@needs_curl
def test_the_tutorial_runs_as_printed(tmp_path: Path) -> None:
    """The blocks of the tutorial, run in order, get the described answers."""
    text = (ROOT / "docs" / "tutorial" / "first-decision.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    with run_server(tmp_path) as address:
        script = "\n".join(blocks).replace("http://127.0.0.1:8700", address)
        ran = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, check=True, timeout=60)

    answers = [json.loads(line) for line in ran.stdout.splitlines() if line.strip()]
    receipts, decisions = answers[:6], [one for one in answers[6:] if "xdm:propositions" in one]
    assert [receipt["repo:etag"] for receipt in receipts] == [1] * 6
    adult, child, later = (one["xdm:propositions"][0] for one in decisions)
    assert adult["xdm:options"][0]["xdm:content"] == "A glass on the house"
    assert child["xdm:fallback"]["xdm:content"] == "Lemonade for all"
    assert "`person.age >= 18` fails: it is 12" in decisions[1]["trace"][0]["candidates"][0]["reason"]
    assert later["xdm:options"][0]["xdm:content"] == "A glass on the house"
