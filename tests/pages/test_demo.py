"""The page `/demo` in a browser: over https by alloy, over http by hand; offers, reasons and switching customers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, sync_playwright

from proffer.cli.certificate import make_certificate
from proffer.testing import builders as b
from support import browser
from support.decisions import a_library, always
from support.process import run_server

HOST = "demo.localhost"


@pytest.fixture(scope="module", params=["https", "http"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The scheme, and the address of a server with a small library."""
    why = browser.missing_reason()
    if why is not None:
        assert not browser.is_needed(), why
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("demo")
    options = ["--tls-cert", str(make_certificate(folder))] if request.param == "https" else []
    with run_server(folder, *options, ready="/healthz") as address:
        with httpx2.Client(base_url=address, verify=False) as client:
            seen: Any = client
            cap = b.a_cap(2, scope="profile")
            a_library(
                seen,
                b.a_rule("nobody", "false"),
                always(b.an_offer("gold", priority=2, caps=[cap])),
                always(b.an_offer("silver", priority=1, rule="nobody")),
            )
        yield request.param, address


def test_the_page_shows_offers_and_why(served: tuple[str, str], tmp_path: Path) -> None:
    """The offer, the reasons for it and against the others; asked again until its limit is spent, the fallback."""
    scheme, address = served
    port = address.rpartition(":")[2]
    url = f"https://{HOST}/demo" if scheme == "https" else f"{address}/demo"
    said: list[str] = []
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=browser.find(),
            headless=True,
            ignore_https_errors=True,
            args=[*browser.FLAGS, f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{port}"],
        )
        page: Page = context.new_page()
        page.on("console", lambda one: said.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda error: said.append(f"page: {error}"))
        page.goto(url)
        page.wait_for_selector(".given")
        assert page.inner_text(".given b") == "gold"
        assert ("@adobe/alloy" in page.inner_text("#mode")) == (scheme == "https")
        reasons = page.inner_text("#trace")
        assert "rank 1" in reasons
        assert "`false` fails" in reasons
        page.locator("#ecid", has_text=re.compile(r"^[0-9]{38}$")).wait_for()
        page.click("#again")
        page.locator("#log li").nth(3).wait_for()
        page.click("#again")
        page.wait_for_selector(".given.is-fallback")
        assert page.inner_text(".given b") == "fallback"
        page.check("#dry")
        page.click("#again")
        page.locator("#log li").nth(4).wait_for()
        context.close()

    assert said == []
