"""Memory of a worker over 250,000 mixed requests.

    TMPDIR=. python bench/soak.py [--quick]

One worker of a real server with 300 offers answers decisions of both interfaces, feedback, ingestion, look-ups,
searches, estimates, rule checks, edits of the library and mistakes: unknown scopes, datastreams, paths and tokens,
misspelt members, bodies that are not JSON. Customers, browsers, ids, pages and texts of rules and content are new
in a large part of the requests. Edits keep the size of the library: every offer that is created, with a rule, caps
and a template of its own, is deleted 20 edits later. The figures are the resident memory of the worker process, and
its least-squares slope over the last 60 % of the requests, relative to the mean of that time.

`PROFFER_SOAK_REQUESTS` sets another number of requests, `PROFFER_SOAK_RATE` a highest rate per second,
`PROFFER_SOAK_DATABASE` a PostgreSQL database in place of a SQLite file, and `PROFFER_SOAK_SAMPLES` a file for all
samples.
"""

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from _documents import HTML, NAMESPACE, PATH, email, library, placement, profile
from _load import Connection, Refused, once, open_connection
from _measure import Row, run_standalone
from _servers import Server, create_database, fill_database, proffer
from proffer.app import DEV_CONTAINER
from proffer.wire.ecid import encode_identity
from proffer.wire.scope import encode_scope

REQUESTS = 250_000
CONNECTIONS = 8
CUSTOMERS, OFFERS, DECISIONS, PLACEMENTS = 2_000, 300, 10, 2
TABLE = "Resident memory of a worker"
SLOPE = "Growth"
EDITS = "edits of the library"
_POINTS = 10
_SAMPLES = 250
_STEADY = 0.4
"""Share of the requests after which the memory should no longer grow."""
_OFFERS_EDITED = 20
_REQUESTS_PER_CONNECTION = 2_000
_WORDS = ("save", "house", "travel", "winter", "gold", "family", "offer", "new")

Ask = tuple[str, bytes]
"""Kind of a request, and the request."""


def http(method: str, path: str, document: Any = None, *, media: str = "application/json", **headers: str) -> bytes:
    """Return an HTTP request; bytes are sent as they are, other documents as JSON."""
    body = b"" if document is None else document if isinstance(document, bytes) else msgspec.json.encode(document)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {media}"] if body else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Traffic:
    """The requests, from a seed and the answers so far; `edits` of about 100 are edits of the library."""

    def __init__(self, seed: int, edits: int = 6) -> None:
        self._draw = random.Random(seed)
        self._count = 0
        self.propositions: deque[str] = deque(maxlen=500)
        """Ids of decisions that were answered."""
        self._displayed: deque[dict[str, Any]] = deque(maxlen=500)
        """Propositions that the edge answered."""
        self._previews: deque[str] = deque(maxlen=20)
        self._edits: Iterator[bytes] = self._edit_library()
        self._kinds: Mapping[str, tuple[int, Callable[[], bytes]]] = {
            "decisions": (32, self._decide),
            "decisions with explanation": (2, self._explain),
            "interact": (18, self._interact),
            "collect": (7, self._collect),
            "feedback": (7, self._feedback),
            "records ingested": (9, self._ingest),
            "profiles read": (3, self._look_up),
            "searches": (5, self._search),
            EDITS: (edits, lambda: b""),
            "audiences and estimates": (1, self._estimate),
            "rules checked": (3, self._check_rule),
            "stored decisions": (2, self._stored_decision),
            "mistakes": (5, self._mistake),
        }
        self._names = list(self._kinds)
        self._weights = [weight for weight, _ in self._kinds.values()]

    def next(self) -> Ask:
        self._count += 1
        (kind,) = self._draw.choices(self._names, self._weights)
        return kind, self._kinds[kind][1]()

    def next_edit(self) -> bytes:
        """Return the next edit of the library; the one before must have been answered."""
        return next(self._edits)

    def learn(self, kind: str, answer: bytes) -> None:
        """Take from an answer what later requests refer to."""
        if kind == "decisions":
            self.propositions.append(msgspec.json.decode(answer)["xdm:propositionId"])
        elif kind == "interact":
            for handle in msgspec.json.decode(answer)["handle"]:
                if handle["type"] == "personalization:decisions":
                    self._displayed.extend(
                        {"id": one["id"], "scope": one["scope"], "scopeDetails": one["scopeDetails"]}
                        for one in handle["payload"]
                    )
        elif kind == "audiences and estimates" and b'"previewId"' in answer:
            self._previews.append(msgspec.json.decode(answer)["previewId"])

    # decisions

    def _decision(self) -> str:
        return f"xcore:offer-activity:{self._draw.randint(1, DECISIONS):x}"

    def _email(self) -> str:
        """Return the address of a stored customer, or a new one."""
        known = self._draw.random() < 0.7
        return email(self._draw.randrange(CUSTOMERS) if known else CUSTOMERS + self._draw.getrandbits(40))

    def _decide(self, query: str = "", members: Mapping[str, Any] = MappingProxyType({})) -> bytes:
        scopes = self._draw.sample(range(1, PLACEMENTS + 1), self._draw.randint(1, PLACEMENTS))
        customer = {
            "xdm:identityMap": {"Email": [{"xdm:id": self._email()}]},
            "xdm:decisionRequestId": self._text(),
            "xdm:attributes": {"person": {"name": {"firstName": self._text()}}, "n": self._draw.getrandbits(32)},
        }
        asked = [
            {
                "xdm:activityId": self._decision(),
                "xdm:placementId": placement(number),
                "xdm:itemCount": self._draw.randint(1, 5),
            }
            for number in scopes
        ]
        media = {"xdm:includeContent": True, "xdm:includeMetadata": {"xdm:option": ["name"]}}
        body = {"xdm:propositionRequests": asked, "xdm:profiles": [customer], "xdm:responseFormat": media, **members}
        language = f"{self._draw.choice('abcdefgh')}{self._draw.choice('aeiou')}-{self._draw.randint(100, 999)}"
        return http("POST", PATH + query, body, Accept_Language=language)

    def _explain(self) -> bytes:
        return self._decide("?explain=true")

    def _interact(self) -> bytes:
        ecid = f"{self._draw.getrandbits(120):038d}"
        page = f"https://www.shop{self._draw.randint(1, 5000)}.test/{self._text()}?q={self._draw.getrandbits(32)}"
        event: dict[str, Any] = {
            "xdm": {
                "eventType": "decisioning.propositionFetch",
                "web": {"webPageDetails": {"URL": page}},
                "timestamp": self._now(),
            },
            "query": {
                "personalization": {
                    "decisionScopes": [
                        encode_scope(self._decision(), placement(self._draw.randint(1, PLACEMENTS))),
                        "__view__",
                    ],
                    "surfaces": [page.replace("https", "web")],
                }
            },
        }
        if self._draw.random() < 0.3:
            event["xdm"]["identityMap"] = {"Email": [{"id": self._email(), "primary": True}]}
        cookie = {
            "key": "kndctr_DEV_AdobeOrg_identity",
            "value": encode_identity(ecid, 1_764_000_000_000, is_new=False),
        }
        state = {"domain": f"shop{self._draw.randint(1, 5000)}.test", "cookiesEnabled": True, "entries": [cookie]}
        meta: dict[str, Any] = {"state": state} if self._draw.random() < 0.6 else {}
        return self._edge("interact", {"events": [event], "meta": meta})

    def _edge(self, call: str, body: Any) -> bytes:
        path = f"/ee/v1/{call}?configId=dev&requestId={self._uuid()}"
        return http("POST", path, body, media="text/plain; charset=UTF-8", Origin="https://www.shop.test")

    def _collect(self) -> bytes:
        if not self._displayed:
            return self._interact_identity()
        kind = self._draw.choice(("display", "interact"))
        decisioning = {
            "propositions": [self._draw.choice(self._displayed)],
            "propositionEventType": {kind: 1},
        }
        xdm = {
            "_id": self._uuid(),
            "eventType": f"decisioning.proposition{kind.capitalize()}",
            "timestamp": self._now(),
            "_experience": {"decisioning": decisioning},
        }
        return self._edge("collect", {"events": [{"xdm": xdm}]})

    def _interact_identity(self) -> bytes:
        return self._edge("identity/acquire", {"query": {"identity": {"fetch": ["ECID"]}}})

    def _feedback(self) -> bytes:
        proposition = self._draw.choice(self.propositions) if self.propositions else self._uuid()
        if self._draw.random() < 0.1:
            proposition = self._uuid()
        kind = self._draw.choice(("display", "interact", "dismiss", f"custom.{self._text()}"))
        return http("POST", "/api/feedback", {
            "events": [{"id": self._uuid(), "type": kind, "propositionId": proposition, "data": {"n": self._text()}}]
        })  # fmt: skip

    def _stored_decision(self) -> bytes:
        proposition = self._draw.choice(self.propositions) if self.propositions else self._uuid()
        is_replay = self._draw.random() < 0.02  # it compiles the library of that time
        return http("GET", f"/api/propositions/{proposition}{'/replay' if is_replay else ''}")

    # customers

    def _ingest(self) -> bytes:
        if self._draw.random() < 0.3:
            messages = [self._message() for _ in range(3)]
            return http("POST", f"/collection/batch/{DEV_CONTAINER}", {"messages": messages})
        return http("POST", f"/collection/{DEV_CONTAINER}", self._message())

    def _message(self) -> Any:
        address = self._email()
        is_event = self._draw.random() < 0.5
        schema = {"id": f"https://ns.adobe.com/xdm/context/{'experienceevent' if is_event else 'profile'}"}
        entity: dict[str, Any] = {"identityMap": {"Email": [{"id": address, "primary": True}]}}
        if is_event:
            entity |= {"_id": self._uuid(), "timestamp": self._now(), "eventType": f"web.{self._text()}"}
        else:
            entity |= {
                "person": {"name": {"firstName": self._text()}, "birthDate": f"19{self._draw.randint(10, 99)}-05-06"},
                "loyalty": {"points": self._draw.randint(0, 2_000)},
                "_acme": {f"field{self._draw.randint(1, 50)}": self._text()},
            }
        return {
            "header": {"schemaRef": schema, "datasetId": f"crm{self._draw.randint(1, 5)}"},
            "body": {"xdmMeta": {"schemaRef": schema}, "xdmEntity": entity},
        }

    def _look_up(self) -> bytes:
        query = f"schema.name=_xdm.context.profile&entityId={quote(self._email())}&entityIdNS=email"
        return http("GET", f"/data/core/ups/access/entities?{query}")

    def _estimate(self) -> bytes:
        if self._previews and self._draw.random() < 0.5:
            return http("GET", f"/data/core/ups/estimate/{self._previews.popleft()}")
        return http("POST", "/data/core/ups/preview", {"predicateExpression": self._rule()})

    # the library

    def _rule(self) -> str:
        """Return the text of a rule, most likely a new one."""
        draw = self._draw
        return draw.choice((
            f"person.age >= {draw.randint(18, 10**6)} and homeAddress.countryCode in [\"FR\", \"{self._text()}\"]",
            f"loyalty.points > {draw.getrandbits(30)} or person.name.firstName = \"{self._text()}\"",
            f"person.name.firstName.matches(\"{self._text()}.*\") or homeAddress.city.like(\"{self._text()}*\")",
            f"loyalty.points * {draw.random():.6f} > person.age + {draw.randint(1, 10**6)}",
            f"loyalty.tier in [\"gold\", \"{self._text()}\"] and not (homeAddress.city = \"{self._text()}\")",
        ))  # fmt: skip

    def _check_rule(self) -> bytes:
        text = self._rule()
        if self._draw.random() < 0.4:
            text = text.replace("person.", f"persn{self._draw.randint(1, 10**6)}.")
        return http("POST", "/api/rules/check", {"value": text, "kind": "rule"})

    def _search(self) -> bytes:
        word, text = self._draw.choice(_WORDS), self._text()
        schema = f"{NAMESPACE}personalized-offer"
        path = self._draw.choice((
            f"/data/core/dps/offers?offer-type=personalized&limit=5&property=name~{text}.*",
            f"/data/core/dps/offers?offer-type=personalized&limit=5&orderBy=-name&property=rank.priority%3E{len(text)}",
            f"/data/core/dps/tags?limit=5&property=name=={text}",
            f"/data/core/xcore/{DEV_CONTAINER}/queries/core/search?schema={schema}&q={word}+{text}&qop=or&limit=5",
            f"/data/core/xcore/{DEV_CONTAINER}/instances?schema={schema}&name={text}*&limit=5",
        ))  # fmt: skip
        return http("GET", path)

    def _edit_library(self) -> Iterator[bytes]:
        """Yield edits for ever; what one creates, a later one deletes."""
        offers: deque[tuple[str, str]] = deque()
        dps = "/data/core/dps"
        while True:
            key = f"{self._draw.getrandbits(60):x}"
            rule, offer = f"xcore:eligibility-rule:e{key}", f"xcore:personalized-offer:e{key}"
            condition = {"type": "PQL", "format": "pql/text", "value": self._rule()}
            yield http("POST", f"{dps}/offer-rules", {"id": rule, "name": self._text(), "condition": condition})
            yield http("POST", f"{dps}/offers?offer-type=personalized", self._offer(offer, rule))
            offers.append((offer, rule))
            changed, _ = self._draw.choice(offers)
            patch: list[Any] = [{"op": "replace", "path": "/name", "value": self._text()}]
            yield http("PATCH", f"{dps}/offers/{changed}?offer-type=personalized", patch)
            caps = {"globalCap": self._draw.randint(10**5, 10**6), "profileCap": self._draw.randint(10**3, 10**4)}
            patch = [{"op": "replace", "path": "/cappingConstraint", "value": caps}]
            yield http("PATCH", f"{dps}/offers/{changed}?offer-type=personalized", patch)
            decision = f"{dps}/offer-decisions/{self._decision()}"
            yield http("PATCH", decision, [{"op": "replace", "path": "/name", "value": self._text()}])
            tag, stream, audience = f"xcore:tag:e{key}", f"s{key}", self._uuid()
            yield http("POST", f"{dps}/tags", {"id": tag, "name": f"{self._text()} {key}"})
            yield http("POST", "/api/datastreams", {"id": stream, "name": self._text()})
            segment = {
                "id": audience,
                "name": f"{self._text()} {key}",
                "expression": condition,
                "schema": {"name": "_xdm.context.profile"},
            }
            yield http("POST", "/data/core/ups/segment/definitions", segment)
            yield http("DELETE", f"{dps}/tags/{tag}")
            yield http("DELETE", f"/api/datastreams/{stream}")
            yield http("DELETE", f"/data/core/ups/segment/definitions/{audience}")
            if len(offers) > _OFFERS_EDITED:
                offer, rule = offers.popleft()
                yield http("DELETE", f"{dps}/offers/{offer}?offer-type=personalized")
                yield http("DELETE", f"{dps}/offer-rules/{rule}")

    def _offer(self, offer: str, rule: str) -> Any:
        content = f"<p>{self._text()} {{{{profile.person.name.firstName}}}} {{{{offer.{self._text()}}}}}</p>"
        component = {"type": "html", "format": "text/html", "content": content}
        return {
            "id": offer,
            "name": self._text(),
            "status": "approved",
            "rank": {"priority": self._draw.randint(1, 200)},
            "tags": ["xcore:tag:1"],
            "selectionConstraint": {
                "startDate": "2020-01-01T00:00:00Z",
                "endDate": "2090-01-01T00:00:00Z",
                "profileConstraintType": "eligibilityRule",
                "eligibilityRule": rule,
            },
            "representations": [
                {"placement": placement(number), "components": [component]} for number in range(1, PLACEMENTS + 1)
            ],
            "cappingConstraint": {"globalCap": self._draw.randint(50, 10**6), "profileCap": self._draw.randint(1, 100)},
        }

    # mistakes

    def _mistake(self) -> bytes:
        text = self._text()
        unknown_scope = {"events": [{
            "xdm": {}, "query": {"personalization": {"decisionScopes": [text, encode_scope(text, placement(1))]}},
        }]}  # fmt: skip
        return self._draw.choice((
            lambda: self._edge("interact", unknown_scope),
            lambda: http("POST", f"/ee/v1/interact?configId={text}", unknown_scope),
            lambda: http("POST", f"/data/core/ode/{self._uuid()}/decisions", {"xdm:profiles": []}),
            lambda: self._decide(members={"xdm:propositionRequests": [
                {"xdm:activityId": f"xcore:offer-activity:{text}", "xdm:placementId": placement(1)}]}),
            lambda: self._decide(members={f"xdm:dryru{text[0]}": True, f"xdm:{text}": text}),
            lambda: http("GET", f"/data/core/{text}/{text}"),
            lambda: http("POST", PATH, text.encode()),
            lambda: http("GET", "/data/core/dps/tags", Authorization=f"Bearer {text}"),
            lambda: http("POST", f"/data/core/dps/offers?offer-type={text}", {"name": text, "rnk": {}}),
            lambda: http("POST", "/api/feedback", {"events": [{"id": text, "type": "displai", "propsitionId": text}]}),
            lambda: http("GET", f"/data/core/dps/tags/xcore:tag:{text}"),
        ))()  # fmt: skip

    def _text(self) -> str:
        return f"{self._draw.choice(_WORDS)}{self._draw.getrandbits(48):x}"

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._draw.getrandbits(128), version=4))

    @staticmethod
    def _now() -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Soak:
    """A run: traffic over some connections, and samples of the worker's memory."""

    def __init__(self, server: Server, requests: int, rate: float) -> None:
        self._server = server
        self._requests = requests
        self._rate = rate
        self._traffic = Traffic(1)
        self._edit_lock = asyncio.Lock()
        self._sent = 0
        self._begun = 0.0
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.samples: list[tuple[int, float, float]] = []
        """(requests answered, seconds, megabytes)"""
        self.worker = self._largest()

    def _largest(self) -> int:
        megabytes = self._server.resident_mb()
        return max(megabytes, key=lambda pid: megabytes[pid])

    async def run(self) -> None:
        self._begun = time.monotonic()
        await asyncio.gather(*(self._keep_asking() for _ in range(CONNECTIONS)))
        self._sample(self._requests)

    async def _keep_asking(self) -> None:
        while self._sent < self._requests:
            connection = await open_connection(self._server.port)
            for _ in range(_REQUESTS_PER_CONNECTION):
                if self._sent >= self._requests:
                    break
                number = self._sent
                self._sent += 1
                if number % max(1, self._requests // _SAMPLES) == 0:
                    self._sample(number)
                    if len(self.samples) % 10 == 0:
                        print(f"{number:,} requests, {self.samples[-1][2]:.1f} MB", file=sys.stderr, flush=True)
                if self._rate:
                    await asyncio.sleep(max(0.0, self._begun + number / self._rate - time.monotonic()))
                await self._ask(connection)
            connection.close()

    async def _ask(self, connection: Connection) -> None:
        kind, request = self._traffic.next()
        try:
            if kind == EDITS:
                async with self._edit_lock:  # each refers to earlier ones
                    answer = await connection.ask(self._traffic.next_edit())
            else:
                answer = await connection.ask(request)
        except Refused as refused:
            self.statuses[kind, refused.status] += 1
            if refused.status >= 500 or (refused.status >= 400 and os.environ.get("PROFFER_SOAK_SHOW")):
                print(kind, request[:200], refused, flush=True)
        else:
            self.statuses[kind, 200] += 1
            self._traffic.learn(kind, answer)

    def _sample(self, number: int) -> None:
        megabytes = self._server.resident_mb()
        self.samples.append((number, time.monotonic() - self._begun, megabytes[self.worker]))

    def steady(self) -> list[tuple[int, float, float]]:
        """Return the samples of the time in which the memory should no longer grow."""
        return [sample for sample in self.samples if sample[0] >= _STEADY * self._requests]

    def slope_percent(self) -> float:
        """Return the growth per 100,000 requests in the steady time, in percent of its mean."""
        steady = self.steady()
        numbers, megabytes = [sample[0] for sample in steady], [sample[2] for sample in steady]
        return statistics.linear_regression(numbers, megabytes).slope * 1e5 / statistics.mean(megabytes) * 100

    def refusals(self) -> int:
        """Return the number of requests that were answered with 5xx."""
        return sum(count for (_, status), count in self.statuses.items() if status >= 500)


def the_library() -> dict[str, Any]:
    documents = library(OFFERS, PLACEMENTS, DECISIONS)
    assert documents["placements"][0]["xdm:componentType"] == HTML
    return documents


def rows(*, quick: bool) -> Iterator[Row]:
    requests = int(os.environ.get("PROFFER_SOAK_REQUESTS", 5_000 if quick else REQUESTS))
    rate = float(os.environ.get("PROFFER_SOAK_RATE", "0"))
    customers = [profile(number) for number in range(CUSTOMERS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = os.environ.get("PROFFER_SOAK_DATABASE")
        if database is None:
            database = create_database(folder, the_library(), customers)
        else:
            fill_database(database, folder, the_library(), customers)
        with proffer(database, core=None) as server:
            once(server.port, http("GET", "/healthz"))
            soak = Soak(server, requests, rate)
            asyncio.run(soak.run())
    if file := os.environ.get("PROFFER_SOAK_SAMPLES"):
        kinds = [[kind, status, count] for (kind, status), count in sorted(soak.statuses.items())]
        Path(file).write_text(json.dumps({"samples": soak.samples, "answers": kinds}), encoding="utf-8")
    yield from _figures(soak, requests)


def _figures(soak: Soak, requests: int) -> Iterator[Row]:
    for point in range(1, _POINTS + 1):
        at = requests * point // _POINTS
        number, seconds, megabytes = min(soak.samples, key=lambda sample: abs(sample[0] - at))
        yield Row(
            table=TABLE,
            name="requests answered",
            at=number,
            value=megabytes,
            unit="MB",
            note=f"after {seconds / 60:.0f} minutes",
        )
    steady = [sample[2] for sample in soak.steady()]
    yield Row(
        table=SLOPE,
        name=f"last {len(steady) / len(soak.samples) * requests:,.0f} requests",
        value=soak.slope_percent(),
        unit="% per 100,000",
        goal="1 %",
        note=f"{min(steady):.1f} to {max(steady):.1f} MB; {soak.refusals()} answers with 5xx; {_kinds(soak.statuses)}",
    )


def _kinds(statuses: Mapping[tuple[str, int], int]) -> str:
    counts: Counter[str] = Counter()
    for (kind, _), count in statuses.items():
        counts[kind] += count
    return ", ".join(f"{kind} {count:,}" for kind, count in counts.most_common())


if __name__ == "__main__":
    run_standalone(rows, __doc__)
