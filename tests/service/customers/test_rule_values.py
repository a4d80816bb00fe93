"""Findings about the rules of live decisions, audiences, formulas and caps, for stored customers."""

from typing import Any

import pytest

from proffer.app import DEV_CONTAINER, read_container
from proffer.model.customer import Change, ExperienceEvent, ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.service.customers import rule_values
from proffer.service.customers.rule_values import describe, live_rules, observe_customers
from proffer.service.library.load import load
from proffer.store.memory.store import MemoryStore
from support.containers import access_to, open_services

NOW_US = 1_780_000_000_000_000
TEXT = "https://ns.adobe.com/experience/offer-management/content-component-text"


def pql(text: str) -> dict[str, Any]:
    return {"xdm:type": "PQL", "xdm:format": "pql/text", "xdm:value": text}


def offer(name: str, **members: Any) -> dict[str, Any]:
    content = {"@type": TEXT, "dc:format": "text/plain", "xdm:content": name}
    return {
        "@id": f"xcore:personalized-offer:{name}",
        "xdm:name": name,
        "xdm:status": "approved",
        "xdm:representations": [{"xdm:placement": "xcore:offer-placement:1", "xdm:components": [content]}],
        "xdm:rank": {"xdm:priority": 1},
        "xdm:selectionConstraint": {"xdm:startDate": "2020-01-01T00:00:00Z", "xdm:endDate": "2090-01-01T00:00:00Z"},
        **{f"xdm:{member}": value for member, value in members.items()},
    }


def constraint(rule: str) -> dict[str, Any]:
    return {**offer("x")["xdm:selectionConstraint"], "xdm:eligibilityRule": f"xcore:eligibility-rule:{rule}"}


def library() -> dict[str, Any]:
    """A live decision over two offers, with a rule, a formula and a custom cap; another rule is of no live decision."""
    query = {"xdm:limit": 5, "xdm:scope": "profile", "xdm:events": ["custom"], "xdm:entity": "offer"}
    return {
        "placements": [
            {
                "@id": "xcore:offer-placement:1",
                "xdm:name": "Subject",
                "xdm:channel": "https://ns.adobe.com/xdm/channel-types/email",
                "xdm:componentType": TEXT,
            }
        ],
        "rules": [
            {"@id": "xcore:eligibility-rule:1", "xdm:name": "Live", "xdm:condition": pql("_acme.optOut != true")},
            {"@id": "xcore:eligibility-rule:2", "xdm:name": "Unused", "xdm:condition": pql("_acme.optOut = true")},
        ],
        "formulas": [
            {
                "@id": "xcore:ranking-function:1",
                "xdm:name": "Weight",
                "xdm:expression": pql("if(offer.characteristics.weight > 2, 1, 0)"),
            }
        ],
        "offers": [
            offer("1", selectionConstraint=constraint("1"), characteristics={"weight": "3"}),
            offer(
                "2",
                frequencyCappingConstraints=[{**query, "xdm:customQuery": "xEvent.commerce.order.priceTotal > 100"}],
            ),
            offer("3", selectionConstraint=constraint("2")),
        ],
        "collections": [
            {
                "@id": "xcore:offer-filter:1",
                "xdm:name": "Two",
                "xdm:filterType": "offers",
                "xdm:ids": ["xcore:personalized-offer:1", "xcore:personalized-offer:2"],
            }
        ],
        "fallbacks": [{**offer("f"), "@id": "xcore:fallback-offer:1"}],
        "decisions": [
            {
                "@id": "xcore:offer-activity:1",
                "xdm:name": "Mail",
                "xdm:status": "live",
                "xdm:fallback": "xcore:fallback-offer:1",
                "xdm:criteria": [
                    {
                        "xdm:placements": ["xcore:offer-placement:1"],
                        "xdm:optionSelection": {"xdm:filter": "xcore:offer-filter:1"},
                        "xdm:rank": {
                            "xdm:order": {
                                "xdm:orderEvaluationType": "scoringFunction",
                                "xdm:function": "xcore:ranking-function:1",
                            }
                        },
                    }
                ],
            }
        ],
    }


def profile(number: int, **attributes: Any) -> ProfileRecord:
    identity = IdentityKey("CRMID", str(number))
    return ProfileRecord(identities=(identity,), dataset="crm", stamped_us=1, attributes={"_acme": attributes})


async def filled_store() -> MemoryStore:
    store = MemoryStore()
    async with open_services(store) as services:
        report = await load(services.catalog, access_to(services), library())
        assert not report.broken, report.broken
        audience = {"type": "PQL", "format": "pql/text", "value": "_acme.joined.getMonth() = 5"}
        await services.audiences.create(access_to(services), {"name": "May", "expression": audience})
        purchase = ExperienceEvent(
            identities=(IdentityKey("CRMID", "2"),),
            id="e",
            stamped_us=NOW_US - 1,
            document={"commerce": {"order": {"priceTotal": "120"}}},
        )
        changes: list[Change] = [
            profile(1, optOut="yes"),
            profile(2, optOut="no", joined="2026-05-31T23:30:00-05:00"),
            profile(3, optOut="yes"),
            profile(4, optOut=True),
            purchase,
        ]
        await store.apply_changes(DEV_CONTAINER, changes, now_us=NOW_US)
    return store


async def test_live_rules_and_the_number_of_customers_are_listed() -> None:
    """Each finding names the part, the customers and their values; rules of no live decision are left out."""
    store = await filled_store()
    (container,) = await store.containers()
    state = await read_container(store, container)
    counts: list[int] = []

    rules = live_rules(state)
    findings = await observe_customers(store, state, rules, NOW_US, on_progress=counts.append)

    assert [rule.label for rule in rules] == [
        "audience `May`",
        "ranking formula `Weight`",
        "eligibility rule `Live`",
        "personalized offer `2`",
    ]
    assert [(finding.label, str(finding.kind), finding.source, finding.customers) for finding in findings] == [
        ("audience `May`", "zone", "_acme.joined.getMonth()", 1),
        ("ranking formula `Weight`", "converted", "offer.characteristics.weight > 2", 4),
        ("eligibility rule `Live`", "incomparable", "_acme.optOut != true", 3),
        ("personalized offer `2`", "converted", "xEvent.commerce.order.priceTotal > 100", 1),
    ]
    assert describe(findings[2]) == (
        '`_acme.optOut != true`: 3 customers hold "yes", "no": it cannot be compared, so this is true for them'
    )
    assert counts == [4]


@pytest.mark.parametrize("weights", [["1", "2"], ["x", "y", "z"], ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]])
async def test_a_rule_is_evaluated_with_offers_that_differ_in_type(weights: list[Any]) -> None:
    """Offers whose values have the same type stand for each other."""
    store = MemoryStore()
    content = library()
    offers = [offer(str(number), characteristics={"weight": weight}) for number, weight in enumerate(weights)]
    content["offers"] = offers
    content["collections"][0]["xdm:ids"] = [each["@id"] for each in offers]
    async with open_services(store) as services:
        await load(services.catalog, access_to(services), content)
        state = services.registry.all_states()[0]

        (formula,) = [rule for rule in live_rules(state) if rule.label == "ranking formula `Weight`"]

    assert len(formula.offers) == 1


async def test_a_sample_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of evaluated customers says how many were looked at."""
    store = await filled_store()
    (container,) = await store.containers()
    state = await read_container(store, container)
    sampling = rule_values.CustomerSampling(store, lambda: NOW_US)

    complete = await sampling.incomparable(state, "_acme.optOut != true", kind="rule", roots=())
    monkeypatch.setattr(rule_values, "MAX_SECONDS", 0)
    cut = await sampling.incomparable(state, "_acme.optOut != true", kind="rule", roots=())

    assert (complete.total, complete.evaluated, [finding.customers for finding in complete.findings]) == (4, 4, [3])
    assert (cut.total, cut.evaluated, cut.findings) == (4, 0, [])
