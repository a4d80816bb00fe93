"""`@adobe/alloy`, exactly as npm has it, in a real browser against a real server, over TLS on port 443.

The browser is told that the names below are this machine, so that it is as good as on the internet: the page is at
`www.shop.test`; the edge is at `edge.shop.test` (the page's own domain) and at `edge.offers.test` (somebody else's).
"""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, sync_playwright

from proffer.cli.certificate import make_certificate
from proffer.model.ids import EntityKind
from proffer.testing import builders as b
from proffer.wire.ecid import decode_identity, is_ecid
from proffer.wire.scope import encode_scope
from support import browser
from support.decisions import a_library, always
from support.process import run_server

GOLD, SILVER = b.id_of(EntityKind.OFFER, "gold"), b.id_of(EntityKind.OFFER, "silver")
FALLBACK = b.id_of(EntityKind.FALLBACK, "fallback")
SCOPE = encode_scope(b.id_of(EntityKind.DECISION, "decision"), b.id_of(EntityKind.PLACEMENT, "web"))
PAGE, FIRST_PARTY, THIRD_PARTY = "www.shop.test", "edge.shop.test", "edge.offers.test"
IDENTITY = "kndctr_DEV_AdobeOrg_identity"

_HTML = """<!doctype html><meta charset=utf-8><title>A shop</title><link rel=icon href="data:,">
<script>
  window.__alloyNS = ["alloy"];
  window.alloy = (...call) => new Promise((...settle) => alloy.q.push([...settle, call]));
  alloy.q = [];
</script>
<script src="/alloy.min.js" async></script><body>"""

_FETCH = """async ([scope, xdm]) => {
  const { propositions } = await alloy("sendEvent", {
    renderDecisions: true,
    xdm: { eventType: "decisioning.propositionFetch", ...xdm },
    personalization: { decisionScopes: [scope] },
  });
  return propositions.filter((one) => one.scope === scope);
}"""

_REPORT = """async ([proposition, unloading]) => {
  const { id, scope, scopeDetails } = proposition;
  await alloy("sendEvent", {
    documentUnloading: unloading,
    xdm: {
      eventType: "decisioning.propositionDisplay",
      _experience: {
        decisioning: { propositions: [{ id, scope, scopeDetails }], propositionEventType: { display: 1 } },
      },
    },
  });
}"""


class Pages(BaseHTTPRequestHandler):
    """The shop's own server: its page, one into which something was pasted, and the script from npm, unchanged."""

    pasted = ""

    def do_GET(self) -> None:
        is_script = self.path == "/alloy.min.js"
        page = self.pasted if self.path == "/pasted" else _HTML
        body = browser.ALLOY.read_bytes() if is_script else page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_script else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def pages(certificate: Path) -> Iterator[int]:
    """The port of the shop's server, over TLS as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A server with a library: gold, then silver, each shown once to a customer; then the fallback. And the shop's."""
    why = browser.missing_reason()
    if why is not None:
        assert not browser.is_needed(), why
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("alloy")
    certificate = make_certificate(folder)
    with (
        run_server(folder, "--tls-cert", str(certificate), ready="/healthz") as address,
        pages(certificate) as port,
    ):
        with httpx2.Client(base_url=address, verify=False) as client:
            cap = b.a_cap(1, scope="profile") | {"xdm:events": ["impression"]}
            library: Any = client  # the same calls as those of a client in the process
            a_library(
                library,
                always(b.an_offer("gold", priority=2, caps=[cap])),
                always(b.an_offer("silver", priority=1, caps=[cap])),
            )
        yield address, port


@dataclass
class Shop:
    """The page in its browser: what alloy did on the wire and what the console said."""

    context: BrowserContext
    page: Page
    edge: str
    console: list[str] = field(default_factory=list)
    sent: list[tuple[str, Any]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def answered(self, answer: Response) -> None:
        if "/ee/" in answer.url:
            self.sent.append((answer.url, answer.status))

    def open(self, **options: Any) -> None:
        self.page.goto(f"https://{PAGE}/shop")
        configured = {
            "datastreamId": "dev",
            "orgId": "DEV@AdobeOrg",
            "edgeDomain": self.edge,
            "thirdPartyCookiesEnabled": False,
            "clickCollectionEnabled": False,
            "debugEnabled": False,
            **options,
        }
        self.page.evaluate("options => alloy('configure', options)", configured)

    def fetch(self, **xdm: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(_FETCH, [SCOPE, xdm])
        return found

    def offers(self, **xdm: Any) -> list[str]:
        return [item["id"] for one in self.fetch(**xdm) for item in one["items"]]

    def report(self, proposition: dict[str, Any], *, unloading: bool = False) -> None:
        self.page.evaluate(_REPORT, [proposition, unloading])

    def cookies(self) -> dict[str, Any]:
        return {str(one.get("name")): one for one in self.context.cookies()}


@pytest.fixture(scope="module")
def chromium(served: tuple[str, int]) -> Iterator[Browser]:
    """A browser for which the names above are this machine, and no other name is anything."""
    address, pages_port = served
    port = address.rpartition(":")[2]
    rules = [f"MAP {host}:443 127.0.0.1:{port}" for host in (FIRST_PARTY, THIRD_PARTY)]
    rules += [f"MAP {PAGE}:443 127.0.0.1:{pages_port}", "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=browser.find(),
            args=[*browser.FLAGS, f"--host-resolver-rules={','.join(rules)}"],
        )
        yield started
        started.close()


@pytest.fixture
def shop(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """The page, in a browser that has been nowhere before; the parameter is the host of the edge."""
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    made = Shop(context, page, request.param)
    page.on("console", lambda said: made.console.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: made.console.append(f"page: {error}"))
    context.on("request", lambda sent: made.hosts.add(sent.url.split("/")[2]))
    context.on("response", made.answered)
    yield made
    context.close()


EDGES = pytest.mark.parametrize("shop", [FIRST_PARTY, THIRD_PARTY], indirect=True)


@EDGES
def test_offers_come_and_what_is_seen_counts(shop: Shop) -> None:
    """Gold; seen, so silver; seen, so the fallback. No error on the way, and nobody else is asked."""
    shop.open()
    (gold,) = shop.fetch()
    assert [item["id"] for item in gold["items"]] == [GOLD]
    assert gold["items"][0]["data"]["content"]
    assert gold["scopeDetails"]["decisionProvider"] == "ODE"
    assert gold["renderAttempted"] is False

    shop.report(gold)
    (silver,) = shop.fetch()
    assert [item["id"] for item in silver["items"]] == [SILVER]
    shop.report(silver)
    assert shop.offers() == [FALLBACK]

    assert shop.console == []
    assert [status for _, status in shop.sent] == [200] * 5
    assert shop.hosts == {PAGE, shop.edge}


@EDGES
def test_the_browser_is_known_again(shop: Shop) -> None:
    """On the next page alloy finds its identity without asking, and the server finds it in entry or cookie."""
    shop.open()
    first = shop.page.evaluate("async () => (await alloy('getIdentity')).identity.ECID")
    assert is_ecid(first)
    (gold,) = shop.fetch()
    shop.report(gold)

    cookie = shop.cookies()[IDENTITY]
    assert decode_identity(cookie["value"]) == first
    assert cookie["domain"].lstrip(".") == "shop.test"
    assert cookie["secure"]
    shop.open()
    assert shop.offers() == [SILVER]
    assert shop.page.evaluate("async () => (await alloy('getIdentity')).identity.ECID") == first
    assert shop.console == []


@EDGES
def test_a_page_that_is_left_sends_a_beacon(shop: Shop) -> None:
    """To `collect`, which answers nothing, and it counts."""
    shop.open()
    (gold,) = shop.fetch()
    with shop.page.expect_response(lambda answer: "/v1/collect" in answer.url) as waiting:
        shop.report(gold, unloading=True)

    assert waiting.value.status == 204
    assert shop.offers() == [SILVER]
    assert shop.console == []


@EDGES
def test_nothing_is_sent_before_there_is_consent(shop: Shop) -> None:
    """Consent is kept; what waited for it goes out. Who takes it back gets nothing."""
    shop.open(defaultConsent="pending")
    consent = "value => alloy('setConsent', {consent: [{standard: 'Adobe', version: '1.0', value: {general: value}}]})"
    waiting = shop.page.evaluate_handle(f"() => ({{ answer: ({_FETCH})([{json.dumps(SCOPE)}, {{}}]) }})")
    assert shop.sent == []

    shop.page.evaluate(consent, "in")
    (gold,) = waiting.evaluate("async waiting => await waiting.answer")
    assert [item["id"] for item in gold["items"]] == [GOLD]
    assert shop.cookies()["kndctr_DEV_AdobeOrg_consent"]["value"] == "general=in"
    shop.page.evaluate(consent, "out")
    assert shop.cookies()["kndctr_DEV_AdobeOrg_consent"]["value"] == "general=out"
    assert {status for _, status in shop.sent} == {200}


@pytest.mark.parametrize("shop", [THIRD_PARTY], indirect=True)
def test_who_signs_in_is_known_on_every_device(shop: Shop, served: tuple[str, int]) -> None:
    """A customer id in the page's event selects the customer: what was seen elsewhere counts here."""
    who = {"identityMap": {"CRMID": [{"id": "ann", "primary": True}]}}
    shop.open()
    (gold,) = shop.fetch(**who)
    with httpx2.Client(base_url=served[0], verify=False) as elsewhere:
        report = {
            "eventType": "decisioning.propositionDisplay",
            "_experience": {"decisioning": {"propositions": [{"id": gold["id"]}]}},
            **who,
        }
        answer = elsewhere.post("/ee/v1/interact?configId=dev", json={"events": [{"xdm": report}]})
        assert answer.status_code == 200

    assert shop.offers(**who) == [SILVER]
    assert shop.offers() == [SILVER]  # this browser is hers from now on
    assert shop.console == []


@pytest.mark.parametrize("shop", [THIRD_PARTY], indirect=True)
def test_refusals_reach_the_page(shop: Shop) -> None:
    """With the words of the problem, which a page could not read without the headers for it."""
    shop.open(datastreamId="nobody")
    said = shop.page.evaluate(
        "async () => { try { await alloy('sendEvent', {}) } catch (error) { return error.message } }"
    )

    assert "EXEG-0003-400" in said
    assert "there is no datastream" in said


@pytest.mark.parametrize("shop", [FIRST_PARTY], indirect=True)
def test_the_snippet_works_as_it_is_pasted(shop: Shop, served: tuple[str, int]) -> None:
    """It draws the offer, reports that it was seen, and that it was clicked."""
    with httpx2.Client(base_url=served[0], verify=False) as client:
        path = "/api/datastreams/dev/snippets"
        (snippet,) = client.get(path, params={"domain": FIRST_PARTY}).json()["snippets"]
    head = '<!doctype html><meta charset=utf-8><link rel=icon href="data:,"><body>'
    Pages.pasted = head + str(snippet["web"])
    with shop.page.expect_request(_reports("decisioning.propositionDisplay")):
        shop.page.goto(f"https://{PAGE}/pasted")
    place = shop.page.locator("#proffer-offer")
    first = place.inner_html()
    assert first
    with shop.page.expect_request(_reports("decisioning.propositionInteract")):
        place.dispatch_event("click")
    with shop.page.expect_request(_reports("decisioning.propositionDisplay")):
        shop.page.reload()
    assert place.inner_html() not in {"", first}  # the next offer
    assert shop.console == []


def _reports(event_type: str) -> Callable[[Request], bool]:
    return lambda sent: event_type in (sent.post_data or "")
