"""What operators see: health, numbers of all workers, a log that machines read, traces."""

import gzip
import http.server
import json
import logging
import os
import re
import signal
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from api.ode import library
from proffer.api.native.prometheus import exposition
from proffer.api.xcore.routes import XcoreRoutes
from proffer.app import DEV_CONTAINER, create_app
from proffer.config import Settings
from proffer.metrics import (
    DECISIONS,
    DEGRADED,
    EXCLUSIONS,
    FEEDBACK,
    METRICS,
    SNAPSHOT_REVISION,
    MetricKind,
)
from proffer.model.trace import Stage
from proffer.service.monitoring import Monitoring
from proffer.telemetry import enable_json_log
from support.process import PROFFER, environment, listening_address
from support.server import ODE, in_memory
from support.server import server as in_process
from support.workers import RunningServer, ask, run_workers, until

HOME = "/data/core/xcore/"


def numbers(server: RunningServer, **headers: str) -> dict[tuple[str, ...], float]:
    """Every sample: its name and the values of its labels, in the order of their names."""
    with closing(server.connect()) as connection:
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def requests_to(found: dict[tuple[str, ...], float], route: str) -> float:
    return sum(
        value for (name, *labels), value in found.items() if name == "proffer_http_requests_total" and route in labels
    )


def test_every_meter_is_shown(tmp_path: Path) -> None:
    """With its kind and what it is; requests and their times by route, not by address."""
    with run_workers(tmp_path, "--metrics") as server:
        assert server.get(HOME)[0] == 200
        assert server.get(f"/nobody/{'x' * 50}")[0] == 404
        with closing(server.connect()) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        families = {one.name: one for one in text_string_to_metric_families(text)}
        found = numbers(server)

    kinds = {family.name: family.type for family in families.values()}
    expected = {name.removesuffix("_total"): str(one.kind) for name, one in METRICS.items()}
    assert kinds == expected
    assert found["proffer_http_requests_total", "GET", HOME, "200", "xcore"] == 1
    assert found["proffer_http_requests_total", "GET", "", "404", ""] == 1
    assert found["proffer_http_request_seconds_bucket", "+Inf", HOME, "xcore"] == 1
    assert found["proffer_workers_ready",] == 1
    assert "xxxxx" not in text


def test_the_numbers_are_those_of_all_workers(tmp_path: Path) -> None:
    """Whoever is asked; and what a killed worker had counted is not lost."""
    with run_workers(tmp_path, "--metrics", "--workers", "2") as server:
        until(lambda: numbers(server)["proffer_workers_ready",] == 2)
        with server.connections(6) as connections:
            for connection in connections:
                assert ask(connection, "GET", HOME)[0] == 200
            until(lambda: all(requests_to(numbers(server), HOME) == 6 for _ in range(8)))
        time.sleep(2.5)  # a worker that is killed takes up to its last second of numbers with it
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and victim not in server.workers())
        until(lambda: numbers(server)["proffer_workers_ready",] == 2)
        assert requests_to(numbers(server), HOME) == 6


def test_decisions_are_counted_by_outcome() -> None:
    """A scope that nobody knows counts under no ids; what an explanation shows is counted by stage."""
    sight = Monitoring(metrics_enabled=True)
    app = create_app(Settings(dev=True), store_opener=in_memory, monitoring=sight)
    with TestClient(app, base_url="http://127.0.0.1:8700") as client:
        library.fill(client)

        for decision, query, status in (
            (library.HOME, "", 200),
            (library.HOME, "?explain=true", 200),
            ("xcore:offer-activity:dead", "", 404),
        ):
            asked = library.asked((decision, library.HERO))
            answer = client.post(f"{ODE}/decisions{query}", json=asked)
            assert answer.status_code == status, answer.text
        assert sight.read_metrics is not None
        reading = sight.read_metrics()
        text = exposition(reading).decode()

    counted = reading.counters[DECISIONS.name]
    assert counted[library.HOME, library.HERO, "options"] == [2]
    assert counted["", "", "unknown"] == [1]
    stages = {stage for (stage,) in reading.counters[EXCLUSIONS.name]}
    assert stages
    assert stages <= set(Stage) - {Stage.RANKED}
    assert reading.gauges[SNAPSHOT_REVISION.name][(DEV_CONTAINER,)] > 5
    assert "dead" not in text


def test_feedback_is_counted_by_outcome() -> None:
    """By what it says, and what became of it."""
    sight = Monitoring(metrics_enabled=True)
    app = create_app(Settings(dev=True), store_opener=in_memory, monitoring=sight)
    with TestClient(app, base_url="http://127.0.0.1:8700") as client:
        library.fill(client)
        asked = library.asked((library.HOME, library.HERO))
        made = client.post(f"{ODE}/decisions", json=asked).json()["xdm:propositionId"]
        events = [
            {"id": "e1", "type": "display", "propositionId": made},
            {"id": "e1", "type": "display", "propositionId": made},
            {"id": "e2", "type": "interact", "propositionId": "nobody's"},
        ]
        assert client.post("/api/feedback", json={"events": events}).status_code == 200
        assert sight.read_metrics is not None
        counted = sight.read_metrics().counters[FEEDBACK.name]

    assert counted == {
        ("display", "attributed"): [1],
        ("display", "again"): [1],
        ("interact", "missed"): [1],
    }


def test_who_may_read_the_numbers(tmp_path: Path) -> None:
    """Nobody where nothing is counted; callers on the machine; with a token whoever presents it."""
    with in_process() as client:
        assert client.get("/metrics").json()["code"] == "metrics"
        assert client.get("/metrics").status_code == 404
    with run_workers(tmp_path, "--metrics", "--metrics-token", "secret") as server:
        assert numbers(server, Authorization="Bearer secret")
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic secret"}):
            with closing(server.connect()) as connection:
                status, _, problem = ask(connection, "GET", "/metrics", headers=headers)
            assert (status, problem["code"]) == (401, "metrics")
    with run_workers(tmp_path, "--metrics") as server:  # a proxy on this machine says for whom it asks
        with closing(server.connect()) as connection:
            forwarded = {"X-Forwarded-For": "203.0.113.9"}
            status, _, problem = ask(connection, "GET", "/metrics", headers=forwarded)
        assert (status, problem["code"]) == (403, "metrics")


def test_the_log_is_lines_of_json(tmp_path: Path) -> None:
    """The access log with the request id of each answer; what workers and the parent say likewise."""
    command = [*PROFFER, "serve", "--dev", "--port", "0", "--workers", "2", "--access-log"]
    command += ["--log-format", "json", "--database", f"sqlite:///{tmp_path / 'p.db'}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        assert process.stdout is not None
        server = RunningServer(process, listening_address(process))
        with closing(server.connect()) as connection:
            ask(connection, "GET", f"{HOME}?secret=1", headers={"x-request-id": "mine"})
        line = next(entry for text in process.stdout if (entry := json.loads(text))["path"] == HOME)
        victim = until(server.workers)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in server.workers() and len(server.workers()) == 2)
        process.terminate()
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert not [entry for entry in map(json.loads, out.splitlines()) if entry["path"] == HOME]
    assert {"time", "level", "logger", "event", "ms", "client"} <= line.keys()
    assert (line["method"], line["status"], line["route"]) == ("GET", 200, HOME)
    assert line["request_id"] == "mine"
    assert "secret" not in f"{line}{out}"
    (said,) = [json.loads(one) for one in err.splitlines()]
    assert "is replaced" in said["event"]
    assert said["level"] == "warning"


def test_a_bug_is_logged_with_its_request_id(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one object: the traceback is in it, and the answer names the same id."""

    async def broken(*_: Any) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(XcoreRoutes, "home", broken)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        with in_process() as client:
            enable_json_log()
            answer = client.get(HOME)
    finally:
        root.handlers[:], root.level = before, level

    assert answer.status_code == 500
    lines = [json.loads(one) for one in capsys.readouterr().err.splitlines()]
    (line,) = [one for one in lines if one["logger"] == "proffer"]
    assert line["request_id"] == answer.json()["requestId"]
    assert "a bug of ours" in line["exception"]
    assert "Traceback" in line["exception"]


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes in spans, as an OpenTelemetry collector does."""

    spans: list[Any]

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def test_a_request_is_a_span(tmp_path: Path) -> None:
    """Named after its route, a child of the caller's span, with the status and the request id."""
    handler = type("Here", (Collector,), {"spans": []})
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        with run_workers(tmp_path, "--traces", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as server:
            parent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "mine"}
            with closing(server.connect()) as connection:
                assert ask(connection, "GET", HOME, headers=parent)[0] == 200
            assert server.end()[0] == 0
    finally:
        collector.shutdown()
        collector.server_close()
        thread.join()

    (span,) = handler.spans  # type: ignore[attr-defined]
    told = {one.key: one.value for one in span.attributes}
    assert span.name == f"GET {HOME}"
    assert span.trace_id.hex() == "a" * 32
    assert span.parent_span_id.hex() == "b" * 16
    assert told["http.response.status_code"].int_value == 200
    assert told["proffer.request_id"].string_value == "mine"


def test_health_says_what_is_wrong() -> None:
    """Degraded is alive and says why; not ready is 503 with every reason."""
    sight = Monitoring(metrics_enabled=True)
    sight.health.add_degradation_check("moon", lambda: "it is away")
    sight.health.add_readiness_check("disk", lambda: "it is full")
    with TestClient(create_app(Settings(dev=True), store_opener=in_memory, monitoring=sight)) as client:
        told = client.get("/healthz")
        assert (told.status_code, told.json()) == (
            200,
            {"status": "degraded", "reasons": {"moon": "it is away"}},
        )
        ready = client.get("/readyz")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
        assert ready.json()["reasons"] == {"disk": "it is full"}
        sight.health.add_readiness_check("disk", lambda: None)
        assert client.get("/readyz").json() == {"status": "ready", "reasons": {"moon": "it is away"}}
        assert sight.read_metrics is not None
        assert sight.read_metrics().gauges[DEGRADED.name] == {("moon",): 1}


def test_every_meter_has_its_paragraph() -> None:
    """The page of metrics has a heading for each meter, and no other; histograms have bounds."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
    assert re.findall(r"^### `([^`]+)`$", page.read_text(), re.MULTILINE) == list(METRICS)
    assert all(one.bounds for one in METRICS.values() if one.kind is MetricKind.HISTOGRAM)
