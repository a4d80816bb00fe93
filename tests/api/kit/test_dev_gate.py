"""The gate of dev mode: open to the developer, shut to pages of other sites in their browser."""

import pytest

from support.server import ODE, XCORE, server

TAG = 'application/schema-instance+json; schema="https://ns.adobe.com/experience/offer-management/tag"'


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example", "http://["])
def test_a_page_of_another_site_cannot_write(origin: str) -> None:
    """Its browser would send the request without asking; the server refuses, and nothing is written."""
    with server() as client:
        headers = {"Content-Type": TAG, "Origin": origin}
        refused = client.post(f"{XCORE}/instances", json={"xdm:name": "x"}, headers=headers)
        schema = "https://ns.adobe.com/experience/offer-management/tag"
        kept = client.get(f"{XCORE}/instances", params={"schema": schema}).json()

    assert refused.status_code == 403
    assert refused.json()["code"] == "foreign-origin"
    assert kept["_embedded"]["total"] == 0


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8700", "https://shop.localhost"])
def test_a_page_of_this_machine_may(origin: str) -> None:
    """A developer's own page, on any port, is the developer."""
    with server() as client:
        headers = {"Content-Type": TAG, "Origin": origin}
        made = client.post(f"{XCORE}/instances", json={"xdm:name": "x"}, headers=headers)

    assert made.status_code == 201


def test_who_may_not_ask_hears_that_first() -> None:
    """A decision of an unknown container is a 404, whatever the body says."""
    with server() as client:
        elsewhere = ODE.replace("e0bd8463", "00000000")
        answer = client.post(f"{elsewhere}/decisions", content=b"{nonsense")

    assert answer.status_code == 404
