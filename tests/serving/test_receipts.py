"""A receipt is in force at the next request, in whichever worker it arrives (R50)."""

import http.client
import os
from pathlib import Path
from typing import Any

from support.server import NAMESPACE, XCORE
from support.workers import DECISIONS, a_decision, ask, run_workers

PAIRS = int(os.environ.get("PROFFER_RECEIPT_PAIRS", "150"))
"""Pairs of a write and a read in another worker."""
CONNECTIONS = 16
INSTANCES = f"{XCORE}/instances"


def _create(connection: http.client.HTTPConnection, kind: str, **document: Any) -> dict[str, Any]:
    media = f'application/schema-instance+json; schema="{NAMESPACE}{kind}"'
    members = {f"xdm:{name}": value for name, value in document.items()}
    status, _, receipt = ask(connection, "POST", INSTANCES, members, {"Content-Type": media})
    assert status == 201, receipt
    return dict(receipt)


def test_what_one_worker_wrote_every_worker_reads_at_once(tmp_path: Path) -> None:
    with (
        run_workers(tmp_path, "--workers", "4") as server,
        server.connections(CONNECTIONS) as connections,
    ):
        for number in range(PAIRS):
            writer, reader, changer = (connections[(number * step) % CONNECTIONS] for step in (1, 5, 11))
            instance = f"{INSTANCES}/{_create(writer, 'tag', name=f't{number}')['instanceId']}"
            status, headers, _ = ask(reader, "GET", instance)
            assert (status, headers.get("etag")) == (200, '"1"')
            status, _, _ = ask(changer, "PUT", instance, {"xdm:name": f"u{number}"})
            assert status == 200
            status, headers, document = ask(reader, "GET", instance)
            assert (headers["etag"], document["_instance"]["xdm:name"]) == ('"2"', f"u{number}")
            total = ask(writer, "GET", f"{INSTANCES}?schema={NAMESPACE}tag&limit=1")[2]["_embedded"]["total"]
            assert total == 1
            status, _, _ = ask(reader, "GET", f"/data/core/dps/tags/{document['_instance']['@id']}")
            assert status == 200
            assert ask(writer, "DELETE", instance)[0] == 202
            assert ask(reader, "GET", instance)[0] == 404


def test_a_new_decision_and_a_new_datastream_are_found_by_every_worker(tmp_path: Path) -> None:
    with (
        run_workers(tmp_path, "--workers", "4") as server,
        server.connections(CONNECTIONS) as connections,
    ):
        request = a_decision(server, 10_000)
        scope = request["xdm:propositionRequests"][0]
        query = f"schema={NAMESPACE}offer-activity&id={scope['xdm:activityId']}"
        document = ask(connections[0], "GET", f"{INSTANCES}?{query}")[2]["_embedded"]["results"][0]["_instance"]
        members = {name.removeprefix("xdm:"): value for name, value in document.items() if name.startswith("xdm:")}
        for number in range(max(20, PAIRS // 5)):
            writer, reader = connections[number % CONNECTIONS], connections[number * 5 % CONNECTIONS]
            receipt = _create(writer, "offer-activity", **{**members, "name": f"d{number}"})
            scope["xdm:activityId"] = receipt["@id"]
            status, _, answer = ask(reader, "POST", DECISIONS, request)
            assert status == 200, answer
            stream = ask(writer, "POST", "/api/datastreams", {"name": f"s{number}"})[2]
            event: Any = {"xdm": {}, "query": {"personalization": {"decisionScopes": []}}}
            status, _, answer = ask(reader, "POST", f"/ee/v1/interact?configId={stream['id']}", {"events": [event]})
            assert status == 200, answer
            assert ask(writer, "DELETE", f"{INSTANCES}/{receipt['instanceId']}")[0] == 202
            assert ask(writer, "DELETE", f"/api/datastreams/{stream['id']}")[0] == 204
