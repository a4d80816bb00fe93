"""What a server keeps in memory does not grow with requests; `make soak` measures it over 250,000 of them."""

import functools
import gc
import sys
from collections import Counter
from pathlib import Path

from httpx2 import ASGITransport, AsyncClient

from proffer.app import asgi
from proffer.service.library.load import library_entries
from support.containers import access_to, on_file

sys.path.append(str(Path(__file__).parents[2] / "bench"))

from _documents import library
from soak import DECISIONS, EDITS, PLACEMENTS, Traffic

WITHOUT_BOUND = {
    "proffer.api.native.demo._sample_customers",
    "proffer.api.ode.fragments._cached_selection",
    "proffer.service.library.customer_rules.core_types",
    "proffer.store.postgres.statements.dollar",
    "proffer.store.sql.migrations.migrations_of",
    "proffer.store.sqlite.counters._with_rows",
    "proffer.wire.closed_structs.closed_struct",
}
REQUESTS = 700
SPARE = 60
"""Objects of one type by which two moments may differ: what is built on demand for each offer, and being edited."""


def proffer_objects() -> Counter[str]:
    """Count the live objects of Proffer's own types, by type."""
    gc.collect()
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in map(type, gc.get_objects())
        if str(kind.__module__).startswith("proffer.")
    )


async def send(client: AsyncClient, traffic: Traffic, requests: int) -> Counter[str]:
    """Send the next requests, one after the other; count the answers by kind and class of status."""
    answers: Counter[str] = Counter()
    for _ in range(requests):
        kind, raw_request = traffic.next()
        head, _, body = (traffic.next_edit() if kind == EDITS else raw_request).partition(b"\r\n\r\n")
        line, *header_lines = head.decode().split("\r\n")
        method, path, _ = line.split(" ")
        headers = dict(header_line.split(": ", 1) for header_line in header_lines)
        answer = await client.request(method, path, content=body, headers=headers)
        answers[f"{kind} {answer.status_code // 100}xx"] += 1
        if answer.is_success:
            traffic.learn(kind, answer.content)
    return answers


async def test_mixed_requests_leave_no_objects(tmp_path: Path) -> None:
    """Decisions, customers, edits, searches and mistakes, most with new ids and texts: nothing of them stays.

    Objects that refer to each other are hardly left to the garbage collector: a full collection is rare.
    """
    async with on_file(tmp_path / "proffer.db") as services:
        for kind, _, document in library_entries(library(40, PLACEMENTS, DECISIONS)):
            await services.catalog.create(access_to(services), kind, document)
        transport = ASGITransport(app=asgi(services, dev=True))
        async with AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            traffic = Traffic(1, edits=100)
            await send(client, traffic, 2 * REQUESTS)
            before = proffer_objects()
            gc.disable()
            try:
                answers = await send(client, traffic, REQUESTS)
                replay = await client.get(f"/api/propositions/{traffic.propositions[-1]}/replay")
                in_cycles = gc.collect()
            finally:
                gc.enable()
            after = proffer_objects()

    assert replay.status_code == 200
    assert in_cycles < REQUESTS
    assert not [kind for kind in answers if kind.endswith("5xx")], answers
    assert answers[f"{EDITS} 2xx"] > 50, answers
    assert answers[f"{EDITS} 4xx"] == 0, answers
    grown = {name: (before[name], count) for name, count in after.items() if count > before[name] + SPARE}
    assert grown == {}


def test_caches_of_functions_are_bounded() -> None:
    """A cache without a bound is for few, fixed arguments: none that a client names."""
    import proffer.app  # noqa: F401 - loads what a server uses

    unbounded = {
        f"{cached.__module__}.{cached.__wrapped__.__qualname__}"
        for cached in gc.get_objects()
        if isinstance(cached, functools._lru_cache_wrapper)
        and str(cached.__module__).startswith("proffer.")
        and cached.cache_parameters()["maxsize"] is None
    }
    assert unbounded <= WITHOUT_BOUND
