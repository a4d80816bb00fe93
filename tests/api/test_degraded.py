"""What clients and operators see while the database is away, and that it is over when it is back."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from proffer.app import create_app
from proffer.config import Settings
from proffer.model.ids import EntityKind, kind_of
from proffer.testing.builders import a_library, an_offer, id_of
from support.own_postgres import own_postgres
from support.server import NAMESPACE, ODE, XCORE, create

KINDS = {
    EntityKind.PLACEMENT: "offer-placement",
    EntityKind.FALLBACK: "fallback-offer",
    EntityKind.OFFER: "personalized-offer",
    EntityKind.COLLECTION: "offer-filter",
    EntityKind.DECISION: "offer-activity",
}


@contextmanager
def full_disk() -> Iterator[None]:
    """Let this process write no byte to any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def fill(client: TestClient) -> None:
    """Create a library with an offer that has a cap and one that has none."""
    start, end = 1_600_000_000_000_000, 4_000_000_000_000_000
    documents = a_library(
        an_offer("plain", priority=1, window=(start, end)),
        an_offer("capped", priority=2, cap=1000, window=(start, end)),
    )
    for kind, name in KINDS.items():
        for document in (one for one in documents if kind_of(one["@id"]) is kind):
            create(client, name, document)


def asked(client: TestClient, status: int = 200) -> Any:
    answer = client.post(
        f"{ODE}/decisions",
        json={
            "xdm:propositionRequests": [
                {
                    "xdm:activityId": id_of(EntityKind.DECISION, "decision"),
                    "xdm:placementId": id_of(EntityKind.PLACEMENT, "web"),
                }
            ],
            "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": "ann@x"}]}}],
            "xdm:responseFormat": {"xdm:includeMetadata": {"xdm:option": ["name"]}},
        },
        headers={
            "Content-Type": 'application/vnd.adobe.xdm+json; schema="https://ns.adobe.com/experience/'
            'offer-management/decision-request;version=1.0"'
        },
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def shown(answer: Any) -> list[str]:
    (proposition,) = answer["xdm:propositions"]
    return [one["xdm:name"] for one in proposition.get("xdm:options", [])]


def test_answers_and_health_say_that_the_database_is_away(tmp_path: Path) -> None:
    """Decisions are answered and say so, writes are 503 with `Retry-After`, it stays ready; then all is well."""
    tag = {"Content-Type": f'application/schema-instance+json; schema="{NAMESPACE}tag"'}
    with own_postgres() as database:
        app = create_app(Settings(dev=True, database=database.url, spool=str(tmp_path / "spool")))
        with TestClient(app, base_url="http://127.0.0.1:8700") as client:
            fill(client)
            before = asked(client)
            assert shown(before) == ["capped"]
            assert "degraded" not in before["xdm:factors"]

            database.stop()
            during = asked(client)
            assert shown(during) == ["plain"]
            assert during["xdm:factors"]["degraded"] == "customer"
            assert during["xdm:factors"]["xdm:profileResponse"] == "HTTP 503"
            refused = client.post(f"{XCORE}/instances", json={"xdm:name": "t"}, headers=tag)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert client.get("/readyz").status_code == 200
            health = client.get("/healthz").json()
            assert health["status"] == "degraded"
            assert "deciding without the database" in health["reasons"]["database"]

            database.start()
            until(lambda: "degraded" not in asked(client)["xdm:factors"])
            assert shown(asked(client)) == ["capped"]
            until(lambda: client.get("/healthz").json() == {"status": "ok"})
            assert client.post(f"{XCORE}/instances", json={"xdm:name": "t"}, headers=tag).status_code == 201
            until(lambda: not list((tmp_path / "spool").iterdir()))


def test_a_database_file_that_is_replaced_is_refused(tmp_path: Path) -> None:
    """Whether it is deleted or another one is there: nothing is lost in the old one, and the server is not ready."""
    path, old = tmp_path / "p.db", tmp_path / "old.db"
    app = create_app(Settings(dev=True, database=f"sqlite:///{path}"))
    with TestClient(app, base_url="http://127.0.0.1:8700") as client:
        fill(client)
        path.rename(old)
        until(lambda: client.get("/readyz").status_code == 503)
        assert "its file was deleted" in client.get("/readyz").json()["reasons"]["database"]
        path.write_bytes(old.read_bytes())
        assert shown(asked(client)) == ["plain"]
        tag = {"Content-Type": f'application/schema-instance+json; schema="{NAMESPACE}tag"'}
        refused = client.post(f"{XCORE}/instances", json={"xdm:name": "t"}, headers=tag)
        assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (503, "database-replaced")
        until(lambda: "replaced by another" in client.get("/readyz").json()["reasons"]["database"])
        old.replace(path)
        until(lambda: client.get("/readyz").status_code == 200)
        until(lambda: client.get("/healthz").json() == {"status": "ok"})
        assert shown(asked(client)) == ["capped"]


def test_a_damaged_spool_file_is_reported(tmp_path: Path) -> None:
    """In health, readiness and metrics, while the server stays ready; what could be read is recorded."""
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "left.spool").write_bytes(b"\0\0\0\4????torn")
    (spool / "left.feedback").write_bytes(b"\0\0\0\4????torn")
    settings = Settings(dev=True, database=f"sqlite:///{tmp_path / 'p.db'}", spool=str(spool), metrics=True)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8700", client=("127.0.0.1", 1)) as client:
        until(lambda: len(list(spool.glob("*.damaged"))) == 2)
        for path, status in (("/healthz", "degraded"), ("/readyz", "ready")):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (200, status)
            assert f"`{spool / 'left.spool.damaged'}`" in answer.json()["reasons"]["spooled-decisions"]
            assert f"`{spool / 'left.feedback.damaged'}`" in answer.json()["reasons"]["spooled-feedback"]
        metrics = client.get("/metrics").text
        assert 'proffer_spool_damaged_files{content="decisions"} 1.0' in metrics
        assert 'proffer_spool_waiting_bytes{content="feedback"} 0.0' in metrics


def test_a_disk_full_for_database_and_spool_refuses_decisions(tmp_path: Path) -> None:
    """Readiness says so, with the reason; when there is room again, decisions are made and recorded as before."""
    settings = Settings(dev=True, database=f"sqlite:///{tmp_path / 'p.db'}")
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8700") as client:
        fill(client)
        assert shown(asked(client)) == ["capped"]
        with full_disk():
            assert asked(client, 503)["type"].endswith("spool-full")
            unready = client.get("/readyz")
            assert unready.status_code == 503
            assert "File too large" in unready.json()["reasons"]["spool"]
        until(lambda: "degraded" not in asked(client)["xdm:factors"])
        assert shown(asked(client)) == ["capped"]
        until(lambda: client.get("/readyz").json() == {"status": "ready"})


def test_a_disk_full_for_database_and_spool_allows_decisions_without_a_record(tmp_path: Path) -> None:
    """If the operator says so: without the offers that have caps, marked in the answer and counted in the metrics."""
    settings = Settings(dev=True, database=f"sqlite:///{tmp_path / 'p.db'}", metrics=True, unrecorded="allow")
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8700", client=("127.0.0.1", 1)) as client:
        fill(client)
        with full_disk():
            answer = asked(client)
            assert shown(answer) == ["plain"]
            assert (answer["xdm:factors"]["degraded"], answer["xdm:factors"]["recorded"]) == ("counters", "false")
            assert client.get("/readyz").status_code == 200
            assert "proffer_unrecorded_decisions_total 1.0" in client.get("/metrics").text
        until(lambda: "degraded" not in asked(client)["xdm:factors"])
        assert shown(asked(client)) == ["capped"]
