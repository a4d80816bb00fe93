"""feedback-caps-hold: caps that count impressions and clicks equal the record, whoever dies while reporting."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import capped, capped_feedback
from support.postgres import lent_database

KILLS = int(os.environ.get("PROFFER_FEEDBACK_KILLS", "2"))
TESTS = Path(capped.__file__).parents[1]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_counters_of_feedback_equal_the_record(tmp_path: Path, kind: str) -> None:
    """A client that repeats what was not acknowledged has each event on record once, and counted once."""
    if kind == "sqlite":
        check(f"sqlite:///{tmp_path / 'proffer.db'}", tmp_path / "journal")
    else:
        with lent_database() as database:
            check(database, tmp_path / "journal")


def check(database: str, journal: Path) -> None:
    asyncio.run(capped_feedback.load(database))
    chance = random.Random(5)  # noqa: S311 - not a secret
    acknowledged: set[str] = set()
    for life in range(KILLS + 1):
        is_last = life == KILLS
        command = [sys.executable, "-m", "support.capped_feedback", database, "60" if is_last else "1000000"]
        command += [str(life), str(journal)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
            assert process.stdout is not None
            if not is_last:
                acknowledged.add(process.stdout.readline().strip())
                time.sleep(chance.uniform(0.1, 0.6))
                process.send_signal(signal.SIGKILL)
            acknowledged.update(line.strip() for line in process.stdout if line.endswith("\n"))
        assert process.returncode == (0 if is_last else -signal.SIGKILL)
    assert capped_feedback.check(database, journal, acknowledged) > 60
