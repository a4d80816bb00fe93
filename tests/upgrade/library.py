"""A small offer library with an object for each kind of data."""

import json
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]

NAMESPACE = "https://ns.adobe.com/experience/offer-management/"
HTML, JSON, TEXT = (f"{NAMESPACE}content-component-{kind}" for kind in ("html", "json", "text"))
HOME, CARD, MAIL = (f"xcore:offer-placement:{key}" for key in ("a1", "a2", "a3"))
SHOP, VOUCHER = (f"xcore:tag:{key}" for key in ("b1", "b2"))
FALLBACK = "xcore:fallback-offer:d1"
LOCALS, GOLD_CLUB, BUYERS, NEWCOMERS = (f"4afe34ae-8c98-4513-8a1d-67ccaa54bc0{n}" for n in range(4))
"""Audiences: by a rule over attributes, by a list, by a rule over events, and by a rule over the time."""
NO_JSON = "xcore:personalized-offer:c"
"""An offer that is only in the data of 0.1.0: its JSON content is not JSON, and is not delivered any more."""
CITY_IS_ULM = {
    "nodeType": "fnApply",
    "fnName": "=",
    "params": [
        {
            "nodeType": "fieldLookup",
            "fieldName": "city",
            "object": {
                "nodeType": "fieldLookup",
                "fieldName": "homeAddress",
                "object": {"nodeType": "parameterReference", "position": 1},
            },
        },
        {"nodeType": "literal", "literalType": "String", "value": "Ulm"},
    ],
}


def decision_id(key: str) -> str:
    return f"xcore:offer-activity:{key}"


def offer_id(key: str) -> str:
    return f"xcore:personalized-offer:{key}"


def rule_id(key: str) -> str:
    return f"xcore:eligibility-rule:{key}"


def _placement(placement: str, name: str, channel: str, component: str) -> Document:
    return {
        "@id": placement,
        "xdm:name": name,
        "xdm:channel": f"https://ns.adobe.com/xdm/channel-types/{channel}",
        "xdm:componentType": component,
    }


def _rule(key: str, name: str, value: Any, form: str = "pql/text") -> Document:
    return {
        "@id": rule_id(key),
        "xdm:name": name,
        "xdm:condition": {"xdm:type": "PQL", "xdm:format": form, "xdm:value": value},
    }


def _content(placement: str, component: str, content: str, media: str, *languages: str) -> Document:
    shown: Document = {"@type": component, "dc:format": media, "xdm:content": content}
    if languages:
        shown["dc:language"] = list(languages)
    return {"xdm:placement": placement, "xdm:components": [shown]}


def _offer(key: str, name: str, priority: int, **more: Any) -> Document:
    """An approved offer with content for the home page and the card."""
    constraint = {
        "xdm:startDate": "2025-01-01T00:00:00Z",
        "xdm:endDate": "2090-01-01T00:00:00Z",
        **more.pop("constraint", {}),
    }
    card = json.dumps({"title": name, "to": "{{person.name.firstName}}"})
    members = {f"xdm:{member}": value for member, value in more.items()}
    return {
        "@id": offer_id(key),
        "xdm:name": name,
        "xdm:status": "approved",
        "xdm:representations": [
            _content(HOME, HTML, f"<p>{name}</p>", "text/html"),
            _content(CARD, JSON, card, "application/json"),
        ],
        "xdm:rank": {"xdm:priority": priority},
        "xdm:tags": [SHOP],
        "xdm:selectionConstraint": constraint,
        **members,
    }


def _needs(*rules: str) -> Document:
    if len(rules) == 1:
        return {
            "xdm:profileConstraintType": "eligibilityRule",
            "xdm:eligibilityRule": rule_id(rules[0]),
        }
    return {"xdm:profileConstraintType": "rules", "xdm:rules": [rule_id(one) for one in rules]}


def _in_audience(audience: str) -> Document:
    return {
        "xdm:profileConstraintType": "anySegments",
        "xdm:segmentIdentities": [{"namespace": {"code": "ups"}, "xid": audience}],
    }


def _cap(limit: int, scope: str = "global", entity: str = "offer", **more: Any) -> Document:
    """A limit without `xdm:index`: its list position names its counter."""
    members = {f"xdm:{member}": value for member, value in more.items()}
    return {"xdm:limit": limit, "xdm:scope": scope, "xdm:entity": entity, **members}


def _threshold(formula: str) -> Document:
    """A limit in total that a formula gives for each decision."""
    return {"xdm:dynamicCappingThresholdQuery": formula, "xdm:scope": "global", "xdm:entity": "offer"}


def _caps(*caps: Document) -> dict[str, Any]:
    return {"frequencyCappingConstraints": list(caps)}


def _collection(key: str, name: str, offers: Sequence[str]) -> Document:
    return {
        "@id": f"xcore:offer-filter:{key}",
        "xdm:name": name,
        "xdm:filterType": "offers",
        "xdm:ids": [offer_id(one) for one in offers],
    }


def _decision(key: str, name: str, *criteria: Document) -> Document:
    return {
        "@id": decision_id(key),
        "xdm:name": name,
        "xdm:status": "live",
        "xdm:fallback": FALLBACK,
        "xdm:criteria": list(criteria),
    }


def _criterion(collection: str, *placements: str, **more: Any) -> Document:
    return {
        "xdm:placements": list(placements),
        "xdm:optionSelection": {"xdm:filter": f"xcore:offer-filter:{collection}"},
        **{f"xdm:{member}": value for member, value in more.items()},
    }


def library() -> Document:
    """Return the documents as in a library file. Ids are short; each kind has its own first letter."""
    month = {"xdm:enabled": True, "xdm:unit": "month", "xdm:unitCount": 1}
    february = {"startDate": "2026-02-01T00:00:00Z", "endDate": "2026-03-01T00:00:00Z"}
    return {
        "placements": [
            _placement(HOME, "Home page", "web", HTML),
            _placement(CARD, "App card", "mobile", JSON),
            _placement(MAIL, "Mail subject", "email", TEXT),
        ],
        "tags": [{"@id": SHOP, "xdm:name": "Shop"}, {"@id": VOUCHER, "xdm:name": "Voucher"}],
        "rules": [
            _rule("e1", "Adults", "person.age >= 18"),
            _rule(
                "e2",
                "City on L, five digits",
                'homeAddress.city.startsWith("l", false) and homeAddress.postalCode.matches("[0-9]{5}")'
                ' and not homeAddress.city.like("%burg")',
            ),
            _rule("e3", "Joined lately", "loyalty.joinDate occurs < 24 months before now"),
            _rule("e5", "Lives in Ulm", json.dumps(CITY_IS_ULM), "pql/json"),
            _rule("e6", "Phone", '@{https://ns.adobe.com/acme/device;version=1}.kind.equals("phone")'),
        ],
        "formulas": [
            {
                "@id": "xcore:ranking-function:f1",
                "xdm:name": "Near first",
                "xdm:expression": {
                    "xdm:type": "PQL",
                    "xdm:format": "pql/text",
                    "xdm:value": "if(offer.characteristics.city = homeAddress.city, 100, 0) + offer.rank.priority",
                },
            }
        ],
        "offers": [
            _offer("1", "Everybody", 1),
            _offer("2", "Adults", 20, constraint=_needs("e1")),
            _offer("3", "City on L", 30, constraint=_needs("e1", "e2")),
            _offer("4", "New member", 25, constraint=_needs("e3")),
            _offer("5", "Thanks for buying", 40, constraint=_in_audience(BUYERS)),
            _offer("6", "Ulm", 35, constraint=_needs("e5"), characteristics={"city": "Ulm"}),
            _offer("7", "On the phone", 45, constraint=_needs("e6")),
            _offer("8", "Locals", 15, constraint=_in_audience(LOCALS)),
            _offer("9", "Gold club", 16, constraint=_in_audience(GOLD_CLUB)),
            _offer("a", "Leipzig fair", 5, characteristics={"city": "Leipzig"}, tags=[VOUCHER]),
            _offer("b", "Over", 99, constraint={"xdm:endDate": "2025-12-31T23:00:00Z"}),
            _offer(
                "d",
                "Subject line",
                3,
                representations=[_content(MAIL, TEXT, "{{person.name.firstName}}, for you", "text/plain")],
            ),
            # Limits that are reached in the fixtures.
            _offer("11", "Two in total", 90, cappingConstraint={"xdm:globalCap": 2}),
            _offer("12", "Once each", 80, **_caps(_cap(1000), _cap(1, "profile"))),
            _offer("13", "Once a month", 70, **_caps(_cap(1, "profile", repeat=month))),
            _offer("14", "Seen twice", 60, **_caps(_cap(2, events=["impression"]))),
            _offer("15", "One for each place", 55, **_caps(_cap(500), _cap(1, entity="placement"))),
            _offer("16", "One to reserve", 10, **_caps(_cap(3))),
            # Limits that are not reached yet: workers of two versions share what is left.
            _offer("21", "Rush by place", 30, **_caps(_cap(10**6, "profile"), _cap(30))),
            _offer("22", "Rush by name", 20, cappingConstraint={"xdm:globalCap": 30}),
            _offer("23", "Rush for each place", 10, **_caps(_cap(30, entity="placement"))),
            # Since 0.2.0.
            _offer("31", "More in Ulm", 90, **_caps(_threshold('if(homeAddress.city = "Ulm", 2, 1)'))),
            _offer("32", "Once each in February", 80, **_caps(_cap(1, "profile", **february))),
            _offer("33", "Once each person", 70, **_caps(_cap(1, "profile"))),
            _offer("34", "Seen once", 60, **_caps(_cap(1, events=["impression"]))),
            _offer("35", "Newcomers", 50, constraint=_in_audience(NEWCOMERS)),
        ],
        "collections": [
            _collection("c1", "Rules", [*"123456789ab", "d"]),
            _collection("c2", "Limits", ["11", "12", "13", "14", "15"]),
            _collection("c3", "To reserve", ["16"]),
            _collection("c4", "Rush", ["21", "22", "23"]),
            {
                "@id": "xcore:offer-filter:c5",
                "xdm:name": "Vouchers",
                "xdm:filterType": "anyTags",
                "xdm:ids": [VOUCHER],
            },
            _collection("c6", "For all", ["1"]),
            _collection("c7", "Persons", ["31", "32", "33", "34", "35"]),
        ],
        "fallbacks": [
            {
                "@id": FALLBACK,
                "xdm:name": "House",
                "xdm:status": "approved",
                "xdm:representations": [
                    _content(HOME, HTML, "<p>House</p>", "text/html"),
                    _content(CARD, JSON, '{"title": "House"}', "application/json"),
                    _content(MAIL, TEXT, "News", "text/plain"),
                ],
            }
        ],
        "decisions": [
            _decision("ad1", "Rules", _criterion("c1", HOME, CARD, MAIL)),
            _decision("ad2", "Limits", _criterion("c2", HOME, CARD)),
            _decision("ad3", "To reserve", _criterion("c3", HOME)),
            _decision("ad4", "Rush", _criterion("c4", HOME, CARD)),
            _decision(
                "ad5",
                "Near first",
                _criterion(
                    "c1",
                    HOME,
                    rank={
                        "xdm:priority": 2,
                        "xdm:order": {
                            "xdm:orderEvaluationType": "scoringFunction",
                            "xdm:function": "xcore:ranking-function:f1",
                        },
                    },
                    profileConstraint=_needs("e1"),
                ),
                _criterion("c5", HOME, rank={"xdm:priority": 1}),
            ),
            _decision("ad6", "For all", _criterion("c6", HOME, CARD)),
            _decision("ad7", "Persons", _criterion("c7", HOME)),
        ],
    }
