"""A small library with ids of its own, that shows every form an answer can have, and requests for it."""

from typing import Any

from starlette.testclient import TestClient

from support.server import ODE, XCORE, create

COMPONENT = "https://ns.adobe.com/experience/offer-management/content-component-"
CHANNEL = "https://ns.adobe.com/xdm/channel-types/"
REQUEST = "https://ns.adobe.com/experience/offer-management/decision-request"
XDM = "application/vnd.adobe.xdm+json"
CONTEXT = "_xdm.context.additionalParameters;version=1"

HERO, CARD, BANNER = (f"xcore:offer-placement:a{number}" for number in (1, 2, 3))
ADULTS, HOT = "xcore:eligibility-rule:b1", "xcore:eligibility-rule:b2"
ALL = "xcore:tag:c1"
COLLECTION = "xcore:offer-filter:d1"
FOR_ALL, FOR_ADULTS, WHEN_HOT, DRAFT, ENDED, PICTURE = (f"xcore:personalized-offer:e{number}" for number in range(1, 7))
HOUSE = "xcore:fallback-offer:f1"
HOME, SHOP, PAUSED, OVER = (f"xcore:offer-activity:1{number}" for number in range(1, 5))

EVER = {"xdm:startDate": "2020-01-01T00:00:00Z", "xdm:endDate": "2099-01-01T00:00:00Z"}
PAST = {"xdm:startDate": "2020-01-01T00:00:00Z", "xdm:endDate": "2020-12-31T00:00:00Z"}


def html(content: str, *languages: str) -> dict[str, Any]:
    component: dict[str, Any] = {
        "@type": f"{COMPONENT}html",
        "dc:format": "text/html",
        "xdm:content": content,
    }
    return {**component, "dc:language": list(languages)} if languages else component


def json_data(content: str) -> dict[str, Any]:
    return {
        "@type": f"{COMPONENT}json",
        "dc:format": "application/json",
        "xdm:content": content,
    }


def image(name: str) -> dict[str, Any]:
    return {
        "@type": f"{COMPONENT}imagelink",
        "dc:format": "image/png",
        "xdm:deliveryURL": f"https://cdn.example.org/{name}.png",
        "xdm:linkURL": f"https://example.org/{name}",
    }


def shown(**by_placement: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Representations; the keywords are `hero`, `card` and `banner`."""
    ids = {"hero": HERO, "card": CARD, "banner": BANNER}
    return [{"xdm:placement": ids[name], "xdm:components": components} for name, components in by_placement.items()]


def offer(
    entity_id: str,
    name: str,
    priority: int,
    representations: list[dict[str, Any]],
    dates: dict[str, str] = EVER,
    rule: str | None = None,
    **members: Any,
) -> tuple[str, dict[str, Any]]:
    constraint = {"xdm:profileConstraintType": "eligibilityRule", "xdm:eligibilityRule": rule} if rule else {}
    return "personalized-offer", {
        "@id": entity_id,
        "xdm:name": name,
        "xdm:status": members.pop("status", "approved"),
        "xdm:rank": {"xdm:priority": priority},
        "xdm:tags": [ALL],
        "xdm:selectionConstraint": {**dates, **constraint},
        "xdm:representations": representations,
        **{f"xdm:{name}": value for name, value in members.items()},
    }


def rule(entity_id: str, name: str, pql: str) -> tuple[str, dict[str, Any]]:
    condition = {"xdm:type": "PQL", "xdm:format": "pql/text", "xdm:value": pql}
    return "eligibility-rule", {"@id": entity_id, "xdm:name": name, "xdm:condition": condition}


def decision(entity_id: str, name: str, placements: list[str], **members: Any) -> tuple[str, dict[str, Any]]:
    return "offer-activity", {
        "@id": entity_id,
        "xdm:name": name,
        "xdm:status": "live",
        "xdm:fallback": HOUSE,
        "xdm:criteria": [{"xdm:placements": placements, "xdm:optionSelection": {"xdm:filter": COLLECTION}}],
        **members,
    }


def placement(entity_id: str, name: str, channel: str, kind: str) -> tuple[str, dict[str, Any]]:
    return "offer-placement", {
        "@id": entity_id,
        "xdm:name": name,
        "xdm:channel": CHANNEL + channel,
        "xdm:componentType": COMPONENT + kind,
    }


LIBRARY: list[tuple[str, dict[str, Any]]] = [
    placement(HERO, "Hero", "web", "html"),
    placement(CARD, "Card", "mobile", "json"),
    placement(BANNER, "Banner", "email", "imagelink"),
    ("tag", {"@id": ALL, "xdm:name": "all"}),
    rule(ADULTS, "Adults", "person.age >= 18"),
    rule(HOT, "Hot weather", f'@{{{CONTEXT}}}.weather = "hot"'),
    offer(
        FOR_ALL,
        "For all",
        30,
        shown(hero=[html("<p>all</p>", "en"), html("<p>alle</p>", "de")], card=[json_data("{}")]),
        characteristics={"tier": "basic"},
    ),
    offer(FOR_ADULTS, "For adults", 20, shown(hero=[html("<p>adults</p>")]), rule=ADULTS),
    offer(WHEN_HOT, "When hot", 10, shown(hero=[html("<p>ice</p>")]), rule=HOT),
    offer(DRAFT, "Draft", 90, shown(hero=[html("<p>draft</p>")]), status="draft"),
    offer(ENDED, "Ended", 80, shown(hero=[html("<p>ended</p>")]), dates=PAST),
    offer(PICTURE, "Picture", 5, shown(banner=[image("picture")])),
    (
        "offer-filter",
        {"@id": COLLECTION, "xdm:name": "All", "xdm:filterType": "anyTags", "xdm:ids": [ALL]},
    ),
    (
        "fallback-offer",
        {
            "@id": HOUSE,
            "xdm:name": "House",
            "xdm:status": "approved",
            "xdm:characteristics": {"tier": "none"},
            "xdm:representations": shown(
                hero=[html("<p>house</p>")],
                card=[json_data('{"house":1}')],
                banner=[image("house")],
            ),
        },
    ),
    decision(HOME, "Home", [HERO, CARD]),
    decision(SHOP, "Shop", [HERO, BANNER]),
    decision(PAUSED, "Paused", [HERO], **{"xdm:status": "draft"}),
    decision(OVER, "Over", [HERO], **PAST),
]


def fill(client: TestClient) -> None:
    """Create the whole library."""
    for kind, document in LIBRARY:
        create(client, kind, document)


def instance_of(client: TestClient, kind: str, entity_id: str) -> str:
    """The address of one object on the repository API."""
    schema = f"https://ns.adobe.com/experience/offer-management/{kind}"
    answer = client.get(f"{XCORE}/instances", params={"schema": schema, "id": entity_id})
    instance = answer.json()["_embedded"]["results"][0]["instanceId"]
    return f"{XCORE}/instances/{instance}"


def asked(*scopes: tuple[str, str] | tuple[str, str, int], **members: Any) -> dict[str, Any]:
    """A 1.0 request. `profile` holds members of the profile; all others stand at the top."""
    profile = members.pop("profile", {})
    requests = [
        {"xdm:activityId": one[0], "xdm:placementId": one[1]} | ({"xdm:itemCount": one[2]} if len(one) == 3 else {})
        for one in scopes
    ]
    return {
        "xdm:propositionRequests": requests,
        "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": "ada@example.org"}]}, **profile}],
        **{f"xdm:{name}": value for name, value in members.items()},
    }


def asked_09(*decisions: str, **members: Any) -> dict[str, Any]:
    """A 0.9 request."""
    return {
        "xdm:offerActivities": [{"xdm:offerActivity": one} for one in decisions],
        "xdm:identityMap": {"Email": [{"xdm:id": "ada@example.org"}]},
        **{f"xdm:{name}": value for name, value in members.items()},
    }


def decide(client: TestClient, body: Any, query: str = "", status: int = 200, **headers: str | None) -> Any:
    """POST /decisions; the answer's document."""
    answer = client.post(
        f"{ODE}/decisions{query}",
        json=body,
        headers={name.replace("_", "-"): value for name, value in headers.items() if value is not None},
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def offered(proposition: dict[str, Any]) -> list[str]:
    """The ids of a proposition's options; empty where the fallback stands."""
    return [option["xdm:id"] for option in proposition.get("xdm:options", [])]
