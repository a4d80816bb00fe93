"""`kill -9` in the middle of an import: the same command goes on where it stopped, and nothing is left running."""

import json
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

from support.process import PROFFER, environment

ROWS = 16_000
BAD = {5, 2_500, 9_999, 15_000}


def written(path: Path) -> Path:
    """Rows of people with a number each, large enough for a process that judges them beside; four rows are bad."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(1, ROWS + 1):
            row = {"identityMap": {"CRMID": [{"id": str(number)}]}, "n": number, "t": "x" * 100}
            file.write(("bad" if number in BAD else json.dumps(row)) + "\n")
    return path


def rows_done(database: Path) -> int:
    """How far the import says it has come; 0 while it has not begun."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as c,
    ):
        for (note,) in c.execute("SELECT note FROM customer_imports"):
            return int(json.loads(note)["row"]) - 1
    return 0


def beside(process: int) -> list[int]:
    """The processes that this one has begun."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(one) for one in listed.split()]


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_killed_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Killed twice: every row is taken in or rejected exactly once, and whoever judged rows has ended too."""
    path, database = written(tmp_path / "a.jsonl"), tmp_path / "a.db"
    command = [*PROFFER, "profiles", "import", str(path), "--database", f"sqlite:///{database}"]
    chance = random.Random(7)  # noqa: S311 - not a secret
    before = 0
    for _ in range(2):
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        ) as child:
            while rows_done(database) <= before and child.poll() is None:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.05))
            assert child.poll() is None, "it was done before it could be killed"
            others = beside(child.pid)
            child.send_signal(signal.SIGKILL)
        until = time.monotonic() + 20
        while any(map(is_running, others)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(is_running, others))
        before = rows_done(database)
        assert before % 2_000 == 0
        assert 0 < before < ROWS

    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment())
    said = f"{ROWS - len(BAD):,} imported, {len(BAD)} rejected (reasons in `{path}.rejects.jsonl`)"
    assert ran.stdout == f"{path}: {said}, resumed at row {before + 1:,}\n"
    rejects = path.with_name("a.jsonl.rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["row"] for line in rejects] == sorted(BAD)
    with closing(sqlite3.connect(database)) as connection:
        kept = [json.loads(one)["n"] for (one,) in connection.execute("SELECT document FROM customers")]
        assert sorted(kept) == [n for n in range(1, ROWS + 1) if n not in BAD]
        (counted,) = connection.execute("SELECT customers FROM customer_spaces").fetchone()
        (owned,) = connection.execute("SELECT count(*) FROM customer_identities").fetchone()
        assert counted == owned == len(kept)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
