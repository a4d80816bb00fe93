"""Requests of the edge, as clients send them, and what to look for in the answers."""

from base64 import b64encode
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from api.ode.library import CARD, HERO, HOME
from proffer.wire.codec import encode
from proffer.wire.ecid import encode_identity
from proffer.wire.scope import encode_scope


def encode_mobile_scope(decision: str, placement: str, item_count: int = 1) -> str:
    """The scope string of the mobile SDKs: unprefixed names, item count only above 1."""
    members: dict[str, Any] = {"activityId": decision, "placementId": placement}
    if item_count > 1:
        members["itemCount"] = item_count
    return b64encode(encode(members)).decode()


ECID = "40112233445566778899001122334455667788"
DEV = "DEV@AdobeOrg"
IDENTITY_KEY, CONSENT_KEY = "kndctr_DEV_AdobeOrg_identity", "kndctr_DEV_AdobeOrg_consent"
HERO_SCOPE = encode_scope(HOME, HERO)
CARD_SCOPE = encode_mobile_scope(HOME, CARD)
WEB = {"Content-Type": "text/plain; charset=UTF-8", "Origin": "https://www.shop.test"}


def identity(ecid: str = ECID) -> str:
    """What a client keeps of this ECID."""
    return encode_identity(ecid, 1_764_000_000_000, is_new=False)


def body(*scopes: str, xdm: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"xdm": xdm or {}}
    if scopes:
        event["query"] = {"personalization": {"decisionScopes": list(scopes)}}
    return {"events": [event], **more}


def interact(
    client: TestClient,
    document: Any,
    path: str = "/ee/v1/interact?configId=dev",
    **headers: str,
) -> Response:
    client.cookies.clear()
    sent = {name.lower(): value for name, value in WEB.items()}
    sent |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if isinstance(document, bytes):
        return client.post(path, content=document, headers=sent)
    return client.post(path, json=document, headers=sent)


def handles(answer: Response, type_: str) -> list[dict[str, Any]]:
    assert answer.status_code in {200, 207}, answer.text
    return [one for one in answer.json()["handle"] if one["type"] == type_]


def propositions(answer: Response) -> list[dict[str, Any]]:
    """All propositions of an answer."""
    return [one for handle in handles(answer, "personalization:decisions") for one in handle["payload"]]


def offers(answer: Response) -> list[list[str]]:
    """The ids of the items of each proposition."""
    return [[item["id"] for item in one["items"]] for one in propositions(answer)]


def ecid_of(answer: Response) -> str:
    """The ECID that the client is to keep, from what it is told or from a cookie."""
    from proffer.wire.ecid import decode_identity

    for handle in handles(answer, "state:store"):
        for entry in handle["payload"]:
            if entry["key"].endswith("_identity"):
                return str(decode_identity(entry["value"]))
    cookie = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    return str(decode_identity(cookie))
