"""An export that is killed, again and again, still writes every event exactly once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from proffer.model.events import new_decision_id
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.feedback_contract import a_decision_event, create_container
from proffer.testing.store_contract import NOON

SMALL_PARTS = """
import sys
from proffer.service.exports import run as export_run
export_run._PART_ROWS, export_run._READ_LIMIT = 20, 2
from proffer.cli.main import run
run()
"""


async def decisions(path: Path, begun: int, amount: int) -> list[str]:
    """So many decisions, in groups of ten."""
    store = await SqliteStore.open(path)
    await create_container(store)
    made: list[str] = []
    for start in range(begun, begun + amount, 10):
        events = [replace(a_decision_event(), id=new_decision_id(NOON + (start + place) * 1000)) for place in range(10)]
        await asyncio.gather(*(store.record("c1", event) for event in events))
        made += [event.id for event in events]
    await store.close()
    return made


def start(folder: Path, out: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SMALL_PARTS, "events", "export", "--out", str(folder / out)]
    where = ["--state", str(folder / "state"), "--org", "acme"]
    environment = {**os.environ, "PROFFER_DATABASE": f"sqlite:///{folder / 'proffer.db'}"}
    return subprocess.Popen([*command, *where], env=environment, stdout=subprocess.DEVNULL)


def killed(folder: Path, out: str, parts: int) -> bool:
    """Start it and kill it when so many parts lie there; False if it was done before that."""
    child = start(folder, out)
    lying = folder / f".{out}.parts"
    while child.poll() is None and len(list(lying.glob("*.part"))) < parts:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    return child.wait() != 0


def test_every_event_is_exported_once_however_often_it_is_killed(tmp_path: Path) -> None:
    """Two runs, each killed several times on its way; the second writes what came after the first."""
    made = asyncio.run(decisions(tmp_path / "proffer.db", 0, 400))
    kills = sum(killed(tmp_path, "1.jsonl", parts) for parts in (1, 4, 9))
    assert start(tmp_path, "1.jsonl").wait() == 0
    made += asyncio.run(decisions(tmp_path / "proffer.db", 400, 200))
    kills += sum(killed(tmp_path, "2.jsonl", parts) for parts in (2, 5))
    assert start(tmp_path, "2.jsonl").wait() == 0

    found = [
        json.loads(line)["_id"]
        for name in ("1.jsonl", "2.jsonl")
        for line in (tmp_path / name).read_text().splitlines()
    ]
    assert found == sorted(made)
    assert kills >= 3
    assert not list(tmp_path.glob(".*.parts"))
