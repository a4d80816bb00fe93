"""Write the fixtures of the current version.

    cd tests && ../.venv/bin/python -m upgrade.generate NAME

An existing folder is never rewritten: it shows what an installation of that version looks like.
"""

import asyncio
import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import proffer
from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, DEV_SANDBOX, Services, open_store
from proffer.auth.principal import Permission
from proffer.config import Settings
from proffer.model.instance import format_timestamp
from proffer.pql import MEANING_VERSION
from proffer.store.sqlite.migrate import newest_version
from support.own_postgres import own_postgres
from support.process import PROFFER, environment
from support.server import create
from upgrade.library import FALLBACK, library, offer_id
from upgrade.probes import PROBES
from upgrade.scenario import (
    ASKED_US,
    FOR_ALL,
    HOUR_US,
    LIMITS,
    STORED_US,
    Document,
    answers,
    customers,
    decide,
    option_ids,
    report,
    request,
    run_scenario,
    serving,
)

HERE = Path(__file__).parent
DPS = "/data/core/dps"
_DAY_US = 24 * HOUR_US


def main(name: str) -> None:
    folder = HERE / name
    if folder.exists():
        raise SystemExit(f"{folder} exists already: fixtures are never rewritten, choose another name")
    with tempfile.TemporaryDirectory(prefix="proffer-upgrade-") as made:
        work = Path(made)
        fixtures = work / "fixtures"
        fixtures.mkdir()
        version = {"commit": _commit(), "version": name, "schema": newest_version(), "meaning": MEANING_VERSION}
        _write_json(fixtures / "version.json", version)
        _store_sqlite(work, fixtures)
        _store_postgres(work, fixtures)
        shutil.copytree(fixtures, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    sys.stdout.write(f"{folder}: {size:,} bytes\n")


def _commit() -> str:
    """Return the commit of the running code, which must be unchanged."""
    source = Path(next(iter(proffer.__path__)))
    changed = subprocess.run(
        ["git", "status", "--porcelain", "."],
        cwd=source,
        check=True,
        capture_output=True,
        text=True,
    )
    if changed.stdout:
        raise SystemExit(f"commit first: {source} has changes that no commit has")
    ran = subprocess.run(
        ["git", "log", "-1", "--format=%H", "--", "."],
        cwd=source,
        check=True,
        capture_output=True,
        text=True,
    )
    return ran.stdout.strip()


def _store_sqlite(work: Path, fixtures: Path) -> None:
    path = work / "proffer.db"
    database = f"sqlite:///{path}"
    _write_json(fixtures / "sqlite.json", _installation(database, work / "no-spool"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (pack,) = connection.execute("SELECT body FROM decision_packs ORDER BY events DESC LIMIT 1").fetchone()
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    (fixtures / "proffer.db.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    (fixtures / "decisions.pack").write_bytes(pack)
    for arguments in (
        ("library", "export", fixtures / "library.yaml"),
        ("events", "export", "--kind", "decisions", "--out", fixtures / "decisions.jsonl"),
        ("events", "export", "--kind", "feedback", "--out", fixtures / "feedback.jsonl"),
        ("backup", fixtures / "proffer.backup"),
    ):
        command = [*PROFFER, *map(str, arguments), "--database", database]
        subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)


def _store_postgres(work: Path, fixtures: Path) -> None:
    spool = work / "spool"
    with own_postgres() as cluster:
        _write_json(fixtures / "postgres.json", _installation(cluster.url, work / "no-spool"))
        dump = subprocess.run(
            [
                *(cluster.folder / "binaries" / "pg_dump", cluster.url),
                *("--inserts", "--rows-per-insert=100", "--no-owner", "--no-privileges"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        (fixtures / "postgres.sql").write_text(_portable(dump.stdout))
        with serving(cluster.url, spool, ASKED_US + HOUR_US) as client:
            first = decide(client, request((FOR_ALL, "home"), who="ann@example.org"))
            cluster.stop()
            waiting: dict[str, list[list[str]]] = {}
            for decision in (FOR_ALL, LIMITS):
                answer = decide(client, request((decision, "home"), who="eve@example.org"))
                waiting[answer["xdm:propositionId"]] = option_ids(answer)
            assert [[FALLBACK]] in waiting.values()
            proposition = next(iter(waiting))
            (received,) = report(
                client,
                {"id": "waited-1", "type": "display", "propositionId": proposition},
            )
            assert received["waiting"], received
            assert option_ids(first) == [[offer_id("1")]]
    (fixtures / "spool").mkdir()
    for kind in ("spool", "feedback"):
        (path,) = spool.glob(f"*.{kind}")
        shutil.copy(path, fixtures / "spool" / f"waiting.{kind}")
    _write_json(
        fixtures / "spool.json",
        {"decisions": waiting, "feedback": {"id": "waited-1", "propositionId": proposition}},
    )


def _installation(database: str, spool: Path) -> Document:
    """Create an installation with all stored data; return its expected content."""
    with serving(database, spool, STORED_US) as client:
        for documents in library().values():
            for document in documents:
                create(client, document["@id"].split(":")[1], document)
        facts = run_scenario(client)
        _edit(client)
    facts["dropped"] = asyncio.run(_dropped(database, facts))
    facts["audiencesEvaluated"] = asyncio.run(_evaluate_audiences(database))
    tokens = asyncio.run(_tokens(database))
    with serving(database, spool, ASKED_US) as client:
        facts["answers"] = answers(client)
        facts["customers"] = customers(client)
    with serving(database, spool, ASKED_US, dev=False) as client:
        facts["tokens"] = [
            token | {"statuses": {name: probe(client, token["token"]) for name, probe in PROBES.items()}}
            for token in tokens
        ]
    return facts


def _edit(client: Any) -> None:
    """Change an offer with recorded decisions, and delete an object.

    Replays use the earlier state.
    """
    create(client, "tag", {"@id": "xcore:tag:b9", "xdm:name": "Soon deleted"})
    renamed = client.patch(
        f"{DPS}/offers/{offer_id('5')}?offer-type=personalized",
        json=[{"op": "replace", "path": "/name", "value": "Thanks again"}],
    )
    assert renamed.status_code == 200, renamed.text
    deleted = client.delete(f"{DPS}/tags/xcore:tag:b9")
    assert deleted.status_code == 200, deleted.text


async def _evaluate_audiences(database: str) -> str:
    """Evaluate the audiences as a server does, once it has the lease; return the time."""
    services = Services(await open_store(Settings(database=database)), lambda: STORED_US)
    await services.registry.catch_up()
    await services.audience_schedule.run_due()
    last = await services.audience_schedule.last(DEV_CONTAINER)
    assert last is not None
    await services.stop()
    return format_timestamp(last.finished_us)


async def _dropped(database: str, facts: Document) -> dict[str, list[tuple[int, ...]]]:
    """Return the recorded numbers of dropped candidates of each scope, by decision."""
    store = await open_store(Settings(database=database))
    dropped = {}
    for proposition in facts["decisions"]:
        event = await store.decision_event(DEV_CONTAINER, proposition)
        assert event is not None
        dropped[proposition] = [answer.dropped for answer in event.answers if answer is not None]
    await store.close()
    return {proposition: counts for proposition, counts in dropped.items() if any(counts)}


async def _tokens(database: str) -> list[dict[str, str]]:
    """Create access tokens of every state. Their texts are not secret: they open only the fixtures."""
    services = Services(await open_store(Settings(database=database)), lambda: STORED_US)
    made = []
    for label, organisation, permissions, expires_us in (
        ("administrator", DEV_ORGANISATION, [Permission.ADMIN], None),
        ("editor", DEV_ORGANISATION, [Permission.LIBRARY_READ, Permission.LIBRARY_WRITE], None),
        ("channel", DEV_ORGANISATION, [Permission.DECISIONS_EXECUTE], ASKED_US + 30_000 * _DAY_US),
        ("expired", DEV_ORGANISATION, [Permission.ADMIN], STORED_US + 60_000_000),
        ("revoked", DEV_ORGANISATION, [Permission.ADMIN], None),
        ("stranger", "ACME@AdobeOrg", [Permission.ADMIN], None),
    ):
        text, stored, _ = await services.tokens.create(
            organisation=organisation,
            sandbox=DEV_SANDBOX,
            permissions=frozenset(permissions),
            label=label,
            expires_us=expires_us,
        )
        if label == "revoked":
            await services.tokens.revoke(stored.id)
        made.append({"label": label, "token": text})
    await services.stop()
    return made


def _portable(dump: str) -> str:
    """Return the dump without comments and version-specific settings of PostgreSQL."""
    lines = [
        line for line in dump.splitlines() if line and not line.startswith(("--", "SET ", "\\restrict", "\\unrestrict"))
    ]
    return "\n".join(lines) + "\n"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
