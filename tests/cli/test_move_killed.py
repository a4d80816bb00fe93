"""`kill -9` of a move into PostgreSQL: nothing uses the half copy, and `--resume` completes it."""

import asyncio
import random
import signal
import subprocess
import time
from pathlib import Path

import asyncpg

from proffer.store.sqlite import migrate
from support.postgres import drop_database, new_database
from support.process import PROFFER, environment
from upgrade.installations import VERSIONS, copy_installation, execute
from upgrade.scenario import serving
from upgrade.test_stored_installations import assert_same_answers

ROWS = 30_000
_EVENTS = f"""
    INSERT INTO cap_counters (owner, identity, counter, placement, window_us, count, expires_us)
    WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})
    SELECT -1, 'Email:' || n || '@example.com', 3, '', 0, 1, NULL FROM numbers"""  # noqa: S608 - a number


def copied_counters(url: str) -> int:
    """Return the number of counters in the target so far; 0 before there is a table."""

    async def count() -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM cap_counters"))
        except asyncpg.UndefinedTableError:
            return 0
        finally:
            await connection.close()

    return asyncio.run(count())


def test_a_killed_move_is_resumed(tmp_path: Path) -> None:
    """Killed twice while rows are copied, it is refused by servers, and resumed where it stopped."""
    installation = copy_installation(VERSIONS[0], "sqlite", tmp_path)
    execute(installation, _EVENTS)
    migrate.migrate(Path(installation.database.removeprefix("sqlite:///")))
    url = asyncio.run(new_database())
    command = [*PROFFER, "move", "--from", installation.database, "--to", url]
    chance = random.Random(3)  # noqa: S311 - not a secret
    before = 0
    for options in ([], ["--resume"]):
        with subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        ) as process:
            while copied_counters(url) <= before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.05))
            assert process.poll() is None, "it was done before it could be killed"
            process.send_signal(signal.SIGKILL)
        before = copied_counters(url)
        assert 0 < before < ROWS

    refused = subprocess.run(
        [*PROFFER, "serve", "--port", "0", "--database", url],
        capture_output=True, text=True, check=False, timeout=60, env=environment(),
    )  # fmt: skip
    assert refused.returncode == 1
    assert "not finished" in refused.stderr

    resumed = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, check=False, timeout=60, env=environment()
    )
    assert resumed.returncode == 0, resumed.stderr
    assert copied_counters(url) >= ROWS
    with serving(url, installation.spool) as client:
        assert_same_answers(client, installation.facts)
    asyncio.run(drop_database(url))
