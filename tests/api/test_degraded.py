"""What clients and operators see while the database is away, and that it is over when it is back."""

import time
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


def asked(client: TestClient) -> Any:
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
    assert answer.status_code == 200, answer.text
    return answer.json()


def shown(answer: Any) -> list[str]:
    (proposition,) = answer["xdm:propositions"]
    return [one["xdm:name"] for one in proposition.get("xdm:options", [])]


def test_answers_and_health_say_that_the_database_is_away(tmp_path: Path) -> None:
    """Decisions are answered and say so, writes are 503 with `Retry-After`, it stays ready; then all is well."""
    start, end = 1_600_000_000_000_000, 4_000_000_000_000_000
    documents = a_library(
        an_offer("plain", priority=1, window=(start, end)),
        an_offer("capped", priority=2, cap=1000, window=(start, end)),
    )
    tag = {"Content-Type": f'application/schema-instance+json; schema="{NAMESPACE}tag"'}
    with own_postgres() as database:
        app = create_app(Settings(dev=True, database=database.url, spool=str(tmp_path / "spool")))
        with TestClient(app, base_url="http://127.0.0.1:8700") as client:
            for kind, name in KINDS.items():
                for document in (one for one in documents if kind_of(one["@id"]) is kind):
                    create(client, name, document)
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
            until = time.monotonic() + 60
            while "degraded" in (after := asked(client))["xdm:factors"]:
                assert time.monotonic() < until
                time.sleep(0.05)
            assert shown(after) == ["capped"]
            assert client.get("/healthz").json()["status"] == "ok"
            assert client.post(f"{XCORE}/instances", json={"xdm:name": "t"}, headers=tag).status_code == 201
            while list((tmp_path / "spool").iterdir()):
                assert time.monotonic() < until
                time.sleep(0.05)


def test_a_damaged_spool_file_is_reported(tmp_path: Path) -> None:
    """In health, readiness and metrics, while the server stays ready; what could be read is recorded."""
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "left.spool").write_bytes(b"\0\0\0\4????torn")
    (spool / "left.feedback").write_bytes(b"\0\0\0\4????torn")
    settings = Settings(dev=True, database=f"sqlite:///{tmp_path / 'p.db'}", spool=str(spool), metrics=True)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8700", client=("127.0.0.1", 1)) as client:
        until = time.monotonic() + 20
        while len(list(spool.glob("*.damaged"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        for path, status in (("/healthz", "degraded"), ("/readyz", "ready")):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (200, status)
            assert f"`{spool / 'left.spool.damaged'}`" in answer.json()["reasons"]["spooled-decisions"]
            assert f"`{spool / 'left.feedback.damaged'}`" in answer.json()["reasons"]["spooled-feedback"]
        metrics = client.get("/metrics").text
        assert 'proffer_spool_damaged_files{content="decisions"} 1.0' in metrics
        assert 'proffer_spool_waiting_bytes{content="feedback"} 0.0' in metrics
