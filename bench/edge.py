"""Interact requests over the edge, compared with the decisioning API.

    TMPDIR=. python bench/edge.py [--quick]

Both interfaces of one server get requests for the same three scopes and customers, with everything on: 1,000
offers, each with a rule of three tests, every tenth with caps; the customers are stored in the same SQLite
database, and each decision is a durable event. The edge requests are those of alloy on a page: about 1.8 KB,
with the identity stored in the browser and the customer's id, which are linked and looked up. Rounds of both
kinds alternate on one core; the load comes from the other core.
"""

import random
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from _documents import email, library, placement, post, profile, request
from _load import Flood, flood, generator, once, paced, settle_on
from _machine import disk
from _measure import Row, compare_rounds, percentile, run_standalone
from _servers import cores, create_database, proffer
from proffer.wire.ecid import encode_identity
from proffer.wire.scope import encode_scope

CUSTOMERS = 1_000
CONNECTIONS = 32
SCOPES = 3
DECISION = "xcore:offer-activity:1"
RATES = "Three scopes, 1,000 offers"
LATENCY = "Latency of interact at half of its maximum rate"
HUB, EDGE = "decisioning API", "interact"
_KEY = "kndctr_DEV_AdobeOrg_identity"
_SCHEMAS = [
    f"https://ns.adobe.com/personalization/{name}"
    for name in ("default-content-item", "html-content-item", "json-content-item", "redirect-item",
                 "ruleset-item", "message/in-app", "message/content-card", "dom-action")
]  # fmt: skip


def interact(customer: int) -> bytes:
    """Return alloy's first HTTP request of a page, for a returning visitor who is signed in."""
    ecid = f"{random.Random(customer).getrandbits(120):038d}"
    event: dict[str, Any] = {
        "xdm": {
            "eventType": "decisioning.propositionFetch",
            "web": {
                "webPageDetails": {"URL": "https://www.shop.test/shop/cart?x=1"},
                "webReferrer": {"URL": ""},
            },
            "device": {"screenHeight": 720, "screenWidth": 1280, "screenOrientation": "landscape"},
            "environment": {
                "type": "browser",
                "browserDetails": {"viewportWidth": 1280, "viewportHeight": 720},
            },
            "placeContext": {
                "localTimezoneOffset": 0,
                "localTime": "2026-11-23T08:15:19.490+00:00",
                "ianaTimezone": "UTC",
            },
            "timestamp": "2026-11-23T08:15:19.527Z",
            "implementationDetails": {
                "name": "https://ns.adobe.com/experience/alloy",
                "version": "2.33.1",
                "environment": "browser",
            },
            "identityMap": {"Email": [{"id": email(customer), "primary": True}]},
        },
        "query": {
            "personalization": {
                "schemas": _SCHEMAS,
                "decisionScopes": [
                    *(encode_scope(DECISION, placement(number)) for number in range(1, SCOPES + 1)),
                    "__view__",
                ],
                "surfaces": ["web://www.shop.test/shop/cart"],
            }
        },
    }
    cookie = {"key": _KEY, "value": encode_identity(ecid, 1_764_000_000_000, is_new=False)}
    body = {
        "events": [event],
        "query": {"identity": {"fetch": ["ECID"]}},
        "meta": {
            "queueTimeMillis": 53,
            "state": {"domain": "shop.test", "cookiesEnabled": True, "entries": [cookie]},
        },
    }
    path = f"/ee/v1/interact?configId=dev&requestId=0f6a7c1e-4b55-4d0e-9a1e-{customer:012x}"
    head, _, content = post(path, msgspec.json.encode(body)).partition(b"\r\n\r\n")
    head = head.replace(b"application/json\r\nAccept", b"text/plain; charset=UTF-8\r\nAccept")
    return head + b"\r\nOrigin: https://www.shop.test\r\n\r\n" + content


def rows(*, quick: bool) -> Iterator[Row]:
    rounds, seconds = (3, 1.0) if quick else (7, 2.0)
    ours, client = cores()
    settle_on(client)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        customers = [profile(number) for number in range(CUSTOMERS)]
        database = create_database(folder, library(1_000, SCOPES), customers)
        hub = [request(number, [1] * SCOPES) for number in range(CUSTOMERS)]
        edge = [interact(number) for number in range(CUSTOMERS)]
        with proffer(database, core=ours) as server:
            _check(once(server.port, hub[0]), once(server.port, edge[0]))
            done: dict[str, list[Flood]] = {HUB: [], EDGE: []}
            busy = dict.fromkeys(done, 0.0)
            both = [(HUB, hub), (EDGE, edge)]
            for _, raw_requests in both:  # warm
                flood(server.port, raw_requests, seconds, connections=CONNECTIONS, core=client)
            for number in range(rounds):
                for kind, raw_requests in both if number % 2 else reversed(both):
                    before = server.cpu_seconds()
                    done[kind].append(flood(server.port, raw_requests, seconds, connections=CONNECTIONS, core=client))
                    busy[kind] += server.cpu_seconds() - before
            rates = {kind: [measurement.rate for measurement in floods] for kind, floods in done.items()}
            rate = statistics.median(rates[EDGE]) / 2
            waits = paced(server.port, edge, 4 * seconds, rate=rate)
        sync = disk(folder)["p99_ms"]
    cost = {
        kind: busy[kind] / sum(measurement.requests for measurement in floods) * 1e6 for kind, floods in done.items()
    }
    ratio, spread = compare_rounds(rates[EDGE], rates[HUB])
    yield Row(
        table=RATES,
        name=HUB,
        value=statistics.median(rates[HUB]),
        unit="requests/s",
        note=f"{cost[HUB]:.0f} µs of processor time and {len(hub[0])} bytes per request; load by {generator()}",
    )
    yield Row(
        table=RATES,
        name=EDGE,
        value=statistics.median(rates[EDGE]),
        unit="requests/s",
        baseline=HUB,
        ratio=ratio,
        spread=spread,
        goal="0.70",
        note=f"{cost[EDGE]:.0f} µs of processor time and {len(edge[0])} bytes per request",
    )
    took = [wait * 1e3 for _, wait in waits]
    for name, value in (("p50", percentile(took, 50)), ("p99", percentile(took, 99))):
        yield Row(
            table=LATENCY,
            name=name,
            value=value,
            unit="ms",
            baseline="fdatasync p99",
            ratio=value / sync,
            goal="20 ms" if name == "p99" else "",
            note=f"{rate:,.0f} requests/s, {len(took):,} requests, from the time a request is due",
        )
    yield Row(table=LATENCY, name="fdatasync p99", value=sync, unit="ms")


def _check(by_hub: bytes, by_edge: bytes) -> None:
    """Assert that both responses have three propositions of the same decision and customer."""
    hub = msgspec.json.decode(by_hub)["xdm:propositions"]
    (payload,) = [
        part["payload"]
        for part in msgspec.json.decode(by_edge)["handle"]
        if part["type"] == "personalization:decisions"
    ]
    assert len(hub) == len(payload) == SCOPES
    assert all(part["items"][0]["data"]["content"] for part in payload)


if __name__ == "__main__":
    run_standalone(rows, __doc__)
