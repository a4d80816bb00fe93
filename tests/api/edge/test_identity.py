"""Who sends a request: from which place it is read, what the client is to keep, and who consents (edge 5)."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from api.edge.requests import (
    CONSENT_KEY,
    ECID,
    HERO_SCOPE,
    IDENTITY_KEY,
    body,
    ecid_of,
    handles,
    identity,
    interact,
    propositions,
)
from proffer.wire.ecid import decode_identity, derive_ecid, encode_identity, is_ecid, mint_ecid

FETCH: dict[str, Any] = {"query": {"identity": {"fetch": ["ECID"]}}}
OTHER = "62550821943710293846571029384756102938"


def state(*entries: tuple[str, str], domain: str = "shop.test") -> dict[str, Any]:
    listed = [{"key": key, "value": value} for key, value in entries]
    return {"meta": {"state": {"domain": domain, "cookiesEnabled": True, "entries": listed}}}


def told(client: TestClient, document: object, **headers: str) -> str:
    answer = interact(client, document, **headers)
    (handle,) = handles(answer, "identity:result")
    (entry,) = handle["payload"]
    assert entry["namespace"] == {"code": "ECID"}
    return str(entry["id"])


def test_a_new_browser_gets_an_id_of_its_own(client: TestClient) -> None:
    """38 digits, another one each time, and the client is told to keep it for thirteen months."""
    answer = interact(client, body(**FETCH))
    (handle,) = handles(answer, "state:store")
    (entry,) = handle["payload"]

    assert is_ecid(ecid_of(answer))
    assert ecid_of(answer) != ecid_of(interact(client, body(**FETCH)))
    assert (entry["key"], entry["maxAge"]) == (IDENTITY_KEY, 34_128_000)
    assert handles(answer, "identity:result")[0]["payload"][0]["id"] == ecid_of(answer)


def test_it_is_told_only_where_it_is_asked_for(client: TestClient) -> None:
    assert handles(interact(client, body()), "identity:result") == []


def test_places_where_it_stands_have_an_order(client: TestClient) -> None:
    """The request's identity map, the event's, what the client keeps, the cookie, a first-party id."""
    cookie = f"{IDENTITY_KEY}={identity(OTHER)}; FPID=abc"
    kept = state((IDENTITY_KEY, identity()))
    first = {"identityMap": {"ECID": [{"id": mint_ecid()}]}}
    second = {"identityMap": {"ecid": [{"id": mint_ecid()}]}}

    whole = body(xdm=second, **FETCH, **kept) | {"xdm": first}
    assert told(client, whole, cookie=cookie) == first["identityMap"]["ECID"][0]["id"]
    event = body(xdm=second, **FETCH, **kept)
    assert told(client, event, cookie=cookie) == second["identityMap"]["ecid"][0]["id"]
    assert told(client, body(**FETCH, **kept), cookie=cookie) == ECID
    assert told(client, body(**FETCH), cookie=cookie) == OTHER
    assert told(client, body(**FETCH), cookie="FPID=abc") == derive_ecid("DEV@AdobeOrg", "abc")
    by_map = body(xdm={"identityMap": {"FPID": [{"id": "abc"}]}}, **FETCH)
    assert told(client, by_map) == derive_ecid("DEV@AdobeOrg", "abc")


def test_what_the_client_keeps_is_given_back_as_it_is(client: TestClient) -> None:
    """So that two tabs do not outbid each other."""
    answer = interact(client, body(**state((IDENTITY_KEY, identity()))))

    assert handles(answer, "state:store")[0]["payload"][0]["value"] == identity()


@pytest.mark.parametrize(
    ("host", "cookie"),
    [
        ("edge.shop.test", True),
        ("shop.test:443", True),
        ("shop.test", True),
        ("edge.other.test", False),
        ("badshop.test", False),
    ],
)
def test_first_party_hosts_set_cookies(client: TestClient, host: str, cookie: bool) -> None:
    """A host in the page's domain sets the cookie; any other tells the client to keep the entry."""
    answer = interact(client, body(**state()), host=host)

    assert ("set-cookie" in answer.headers) is cookie
    assert (handles(answer, "state:store") == []) is cookie
    if cookie:
        assert "Domain=shop.test; Path=/; Max-Age=34128000; SameSite=None; Secure" in str(answer.headers["set-cookie"])


@pytest.mark.parametrize("domain", ["test", "", "sh\u00f6p.test", "a b.test", "127.0.0.1", ";.test"])
def test_odd_domains_get_no_cookie(client: TestClient, domain: str) -> None:
    """What is no domain cannot be written into a header."""
    answer = interact(client, body(**state(domain=domain)), host="edge.127.0.0.1")

    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "entry",
    [
        (IDENTITY_KEY, "garbage"),
        (IDENTITY_KEY, ""),
        (IDENTITY_KEY, "=" * 100),
        (IDENTITY_KEY, "CiY" + "A" * 10_000),
        (IDENTITY_KEY, encode_identity("12", 0, is_new=True)),
        ("kndctr_OTHER_AdobeOrg_identity", encode_identity(OTHER, 0, is_new=True)),
    ],
)
def test_an_unreadable_identity_makes_a_new_one(client: TestClient, entry: tuple[str, str]) -> None:
    """Garbled, or of another organisation: a new identity and one warning, by entry and by cookie."""
    for answer in (
        interact(client, body(**FETCH, **state(entry))),
        interact(client, body(**FETCH), cookie=f"{entry[0]}={entry[1]}"),
    ):
        (warning,) = answer.json()["warnings"]
        assert warning["title"] == "Identity not read"
        assert ecid_of(answer) != OTHER
        assert is_ecid(ecid_of(answer))


def test_the_value_of_real_clients_is_read() -> None:
    """As the original writes it: with a region, a source and further fields."""
    real = "CiYyNjEwNDk0MjI3MzQ0OTcwOTI2MzY4NTM5Nzk2MDI4MDQzNjkwMVIPCLXX4pLNMhgBKgNPUjIwA6ABwdfiks0y8AHB1-KSzTI"

    assert decode_identity(real) == "26104942273449709263685397960280436901"
    assert decode_identity(real.replace("-", "+") + "==") == decode_identity(real)


@pytest.mark.parametrize("ecid", ["1", "4011223344556677889900112233445566778x", "４" * 38, "0" * 39])
def test_an_ecid_that_is_none_is_refused(client: TestClient, ecid: str) -> None:
    answer = interact(client, body(xdm={"identityMap": {"ECID": [{"id": ecid}]}}))

    assert (answer.status_code, answer.json()["code"]) == (400, "EXEG-0305-400")


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        [],
        {"CRMID": {}},
        {"CRMID": ["x"]},
        {"CRMID": [{"id": 5}]},
        {"CRMID": [{"id": "x" * 1025}]},
    ],
)
def test_identity_maps_of_another_form_are_refused(client: TestClient, wrong: object) -> None:
    """With the path of what is wrong."""
    answer = interact(client, body(xdm={"identityMap": wrong}))

    assert (answer.status_code, answer.json()["code"]) == (422, "EXEG-0104-422")
    assert "$.events[0].xdm.identityMap" in answer.json()["report"]["errors"][0]


def test_identities_without_id_are_left_out(client: TestClient) -> None:
    """Pages send them when nobody is signed in."""
    answer = interact(client, body(HERO_SCOPE, xdm={"identityMap": {"CRMID": [{"id": " "}]}}))

    assert answer.json()["warnings"][0]["title"] == "Identity without id"
    assert len(propositions(answer)) == 1


# Consent.


@pytest.mark.parametrize(
    ("consent", "kept"),
    [
        ({"standard": "Adobe", "version": "1.0", "value": {"general": "in"}}, "in"),
        ({"standard": "Adobe", "version": "1.0", "value": {"general": "out"}}, "out"),
        ({"standard": "Adobe", "version": "1.0", "value": {"general": "pending"}}, "pending"),
        ({"standard": "Adobe", "version": "2.0", "value": {"collect": {"val": "y"}}}, "in"),
        ({"standard": "Adobe", "version": "2.0", "value": {"collect": {"val": "n"}}}, "out"),
        ({"standard": "IAB TCF", "version": "2.0", "value": "x", "gdprApplies": False}, "in"),
        (
            {
                "standard": "IAB TCF",
                "version": "2.0",
                "value": "CO052l-O052l-DGAMBFRACBgAIBAAAAAAIYgEawAQEagAAAA",
                "gdprApplies": True,
            },
            "in",
        ),
        (
            {
                "standard": "IAB TCF",
                "version": "2.0",
                "value": "CO052kIO052kIDGAMBFRACBgAAAAAAAAAIYgEawAAAAA",
            },
            "out",
        ),
    ],
)
def test_consent_is_kept_by_the_client(client: TestClient, consent: dict[str, object], kept: str) -> None:
    """In every standard that clients speak, for half a year."""
    answer = interact(client, {"consent": [consent], **FETCH}, "/ee/v1/privacy/set-consent?configId=dev")
    entries = {one["key"]: one for one in handles(answer, "state:store")[0]["payload"]}

    assert entries[CONSENT_KEY]["value"] == f"general={kept}"
    assert entries[CONSENT_KEY]["maxAge"] == 15_552_000
    assert (IDENTITY_KEY in entries) == (kept == "in")


@pytest.mark.parametrize(
    "consent",
    [
        {"standard": "Adobe", "version": "1.0", "value": {"general": "maybe"}},
        {"standard": "Adobe", "version": "3.0", "value": {}},
        {"standard": "Adobe", "version": "2.0", "value": "y"},
        {"standard": "Mine", "version": "1.0", "value": {}},
        {"standard": "IAB TCF", "version": "1.1", "value": "x"},
        {"standard": "IAB TCF", "version": "2.0", "value": ""},
        {"standard": "IAB TCF", "version": "2.0", "value": "%%%"},
        {"standard": "IAB TCF", "version": "2.0", "value": "AAAA"},
    ],
)
def test_consent_that_cannot_be_read_is_refused(client: TestClient, consent: dict[str, object]) -> None:
    answer = interact(client, {"consent": [consent]}, "/ee/v1/privacy/set-consent?configId=dev")

    assert (answer.status_code, answer.json()["code"]) == (422, "EXEG-0104-422")
    assert answer.json()["report"]["errors"][0].startswith("$.consent[0]")


@pytest.mark.parametrize("word", ["out", "pending"])
def test_who_does_not_consent_is_left_alone(client: TestClient, word: str) -> None:
    """No handle but the location hint, a warning, and no cookie; by entry and by cookie, on every address."""
    entry = state((CONSENT_KEY, f"general={word}"))
    cookie = f"{CONSENT_KEY}=general={word}"
    for answer in (
        interact(client, body(HERO_SCOPE, **FETCH, **entry)),
        interact(client, body(HERO_SCOPE, **FETCH), cookie=cookie),
        interact(client, FETCH, "/ee/v1/identity/acquire?configId=dev", cookie=cookie),
    ):
        assert (answer.status_code, [one["type"] for one in answer.json()["handle"]]) == (200, ["locationHint:result"])
        assert answer.json()["warnings"][0]["type"].endswith("EXEG-0301-200")
        assert "set-cookie" not in answer.headers


def test_consent_of_another_organisation_is_no_consent_of_ours(client: TestClient) -> None:
    cookie = "kndctr_OTHER_AdobeOrg_consent=general=out"

    assert propositions(interact(client, body(HERO_SCOPE), cookie=cookie)) != []
