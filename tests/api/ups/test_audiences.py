"""/data/core/ups/segment/definitions: audiences are defined, kept up to date, and counted."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from proffer.model.ids import EntityKind, kind_of
from proffer.service.runtime.clock import Clock
from proffer.testing import builders as b
from support.customers import identities, ingest, person
from support.decisions import a_library, always, ask, offer_ids
from support.server import NAMESPACE, XCORE, create, server

BUYERS = '(select e from xEvent where e.eventType = "purchase")'
PATH = "/data/core/ups/segment/definitions"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        yield client


def definition(pql: str, name: str = "People of Ulm", **members: Any) -> dict[str, Any]:
    return {
        "name": name,
        "expression": {"type": "PQL", "format": "pql/text", "value": pql},
        "schema": {"name": "_xdm.context.profile"},
        **members,
    }


def define(client: TestClient, pql: str, **members: Any) -> str:
    answer = client.post(PATH, json=definition(pql, **members))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def standing(client: TestClient, key: str, audience: str) -> str | None:
    found = person(client, key)["entity"].get("segmentMembership", {}).get("ups", {})
    return found[audience]["status"] if audience in found else None


def upload(client: TestClient, audience: str, text: str, status: int = 200, **query: str) -> Any:
    answer = client.put(
        f"{PATH}/{audience}/members",
        content=text.encode(),
        params={"namespace": "email", **query},
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_list_is_uploaded_and_its_columns_decide(client: TestClient) -> None:
    """Its people are members, known or not, and audiences may ask for its columns; the next list replaces it."""
    ingest(client, {"identityMap": identities(Email="ann@x"), "city": "Ulm"})
    listed = client.post(PATH, json={"name": "Loyal", "expression": {"type": "LIST"}}).json()["id"]
    gold = define(
        client,
        f'segmentMembership.get("ups").get("{listed}").enrichment.tier = "gold"',
        name="Gold",
    )
    first = "tier,mail\ngold,ann@x\nsilver,new@x\n"
    assert upload(client, listed, first, identity="mail") == {"listed": 2, "left": 0}

    found = person(client, "ann@x")["entity"]["segmentMembership"]["ups"][listed]
    assert (found["status"], found["enrichment"]) == ("realized", {"tier": "gold"})
    assert [standing(client, one, gold) for one in ("ann@x", "new@x")] == ["realized", None]
    assert upload(client, listed, "mail,tier\nnew@x,gold\n") == {"listed": 1, "left": 1}
    assert standing(client, "ann@x", listed) == "exited"
    assert [standing(client, one, gold) for one in ("new@x",)] == ["realized"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("email;tier\nbea@example.org;gold\n", {}),
        ("email\ttier\nbea@example.org\tgold\n", {}),
        ("email|tier\nbea@example.org|gold\n", {}),
        ("\ufeffemail,tier\r\n bea@example.org\xa0, gold \r\n,\r\n", {}),
        ("tier;E-Mail;name, given\ngold;bea@example.org;Bea, B\n", {}),
        ("tier;contact,x;y\ngold;bea@example.org;1\n", {"delimiter": ";", "identity": "contact,x"}),
        ("tier\tcontact\ngold\tbea@example.org\n", {"delimiter": "tab", "identity": "contact"}),
    ],
)
def test_a_list_is_read_with_its_delimiter_and_without_blanks(client: TestClient, text: str, query: Any) -> None:
    """The delimiter is told from the first line; ids and cells have no blanks around them."""
    listed = client.post(PATH, json={"name": "Loyal", "expression": {"type": "LIST"}}).json()["id"]

    assert upload(client, listed, text, **query) == {"listed": 1, "left": 0}
    member = person(client, "bea@example.org")["entity"]["segmentMembership"]["ups"][listed]
    assert (member["status"], member["enrichment"]["tier"]) == ("realized", "gold")


@pytest.mark.parametrize(
    "text",
    [
        "bea@example.org;gold\nann@x;gold\n",
        "bea@example.org\n",
        "\xa0,tier\nbea@example.org,gold\n",
        "C-0017\nC-0018\n",
    ],
)
def test_a_list_whose_first_line_names_no_identity_is_refused(client: TestClient, text: str) -> None:
    """The first customer is not taken for the names of the columns."""
    listed = client.post(PATH, json={"name": "Loyal", "expression": {"type": "LIST"}}).json()["id"]

    (told,) = upload(client, listed, text, 422)["report"]["violations"]
    assert (told["code"], told["line"]) == ("header", 1)
    assert "first line" in told["help"]
    assert person(client, "bea@example.org") is None


def test_a_list_of_less_than_half_the_members_needs_a_word(client: TestClient) -> None:
    """A cut file replaces nobody unless the request says so; a list that exchanges members is taken."""
    listed = client.post(PATH, json={"name": "Loyal", "expression": {"type": "LIST"}}).json()["id"]

    def members(*numbers: int) -> str:
        return "mail\n" + "".join(f"p{number}@x\n" for number in numbers)

    assert upload(client, listed, members(*range(5))) == {"listed": 5, "left": 0}
    problem = upload(client, listed, members(0, 0, 1), 409)
    assert problem["type"].endswith("list-too-short")
    assert "the list has 2 customers and the audience has 5 members: at least 3 would leave it" in problem["detail"]
    assert standing(client, "p4@x", listed) == "realized"
    assert upload(client, listed, members(), 409)
    assert upload(client, listed, members(0), 400, replace="some")
    assert upload(client, listed, members(4, 5, 6)) == {"listed": 3, "left": 4}
    assert upload(client, listed, members(4), 409)
    assert upload(client, listed, members(4), replace="all") == {"listed": 1, "left": 2}


def test_wrong_lists_are_told_and_change_nothing(client: TestClient) -> None:
    """A ragged line, an empty identity, no such column, namespace or list; a rule has no list."""
    listed = client.post(PATH, json={"name": "Loyal", "expression": {"type": "LIST"}}).json()["id"]
    for text in ("mail,tier\nann@x,gold\nbob@x\n", "mail,tier\nann@x,gold\n,gold\n"):
        (told,) = upload(client, listed, text, 422)["report"]["violations"]
        assert (told["code"], told["line"]) == ("ragged", 3)
    assert upload(client, listed, "mail\nann@x\n", 404, identity="x")["code"] == "no-such-column"
    assert upload(client, listed, "mail\nann@x\n", 422, namespace="nope")
    assert upload(client, listed, "mail\nann@x\n", 400, namespace="")
    assert upload(client, listed, "mail\nann@x\n", 400, delimiter="comma")["code"] == "bad-parameter"
    assert upload(client, define(client, "city = 1"), "mail\nann@x\n", 404)
    assert person(client, "ann@x") is None


def test_a_definition_is_answered_as_documented(client: TestClient) -> None:
    """The public page's request is taken, and what comes back has the members it prints."""
    sent = definition(
        'workAddress.country = "US"',
        name="People who ordered in the last 30 days",
        profileInstanceId="ups",
        description="Last 30 days",
        payloadSchema="string",
        evaluationInfo={
            "batch": {"enabled": True},
            "continuous": {"enabled": False},
            "synchronous": {"enabled": False},
        },
    )
    made = client.post(PATH, json=sent).json()

    assert {**made, **sent} == made
    assert {"id", "imsOrgId", "sandbox", "creationTime", "updateEpoch", "updateTime"} < made.keys()
    assert client.get(f"{PATH}/{made['id']}").json() == made
    assert not [name for name in made if name.startswith("@")]
    changed = client.patch(f"{PATH}/{made['id']}", json={**made, "name": "US"}).json()
    assert (changed["name"], changed["expression"]) == ("US", sent["expression"])
    assert client.delete(f"{PATH}/{made['id']}").status_code == 200
    assert client.get(f"{PATH}/{made['id']}").status_code == 404


def test_an_audience_keeps_the_id_it_is_moved_with(client: TestClient) -> None:
    """A UUID that is free is kept; one that is taken is 409, another text is 422."""
    moved = "4afe34ae-8c98-4513-8a1d-67ccaa54bc05"

    assert define(client, "true", id=moved) == moved
    assert client.post(PATH, json=definition("true", id=moved)).status_code == 409
    assert client.post(PATH, json=definition("true", id="x")).status_code == 422


def test_definitions_come_in_pages(client: TestClient) -> None:
    """Newest first, or as asked; with the documented frame."""
    made = [define(client, "true", name=name) for name in ("c", "a", "b")]

    def listed(**query: Any) -> Any:
        answer = client.get(PATH, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    page = listed(limit=2)
    assert [one["id"] for one in page["segments"]] == made[:0:-1]
    assert page["page"] == {
        "totalCount": 3,
        "totalPages": 2,
        "sortField": "creationTime",
        "sort": "desc",
        "pageSize": 2,
        "limit": 2,
    }
    assert [one["name"] for one in listed(sort="name:asc", limit=2, page=1)["segments"]] == ["c"]
    assert [one["name"] for one in listed(sort="name:asc", start=1)["segments"]] == ["b", "c"]
    assert listed(**{"evaluationInfo.continuous.enabled": "false"})["segments"] == []
    assert client.get(PATH, params={"sort": "size"}).status_code == 400
    bulk = client.post(f"{PATH}/bulk-get", json={"ids": [{"id": made[0]}, {"id": "x"}]})
    assert (bulk.status_code, list(bulk.json()["results"])) == (207, [made[0]])


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (definition("person.age >"), "$.expression.value"),
        (definition("nosuch(person)"), "$.expression.value"),
        ({"name": "x"}, "$.expression"),
        ({**definition("true"), "name": ""}, "$.name"),
        (definition("true", expression={"type": "PQL"}), "$.expression.value"),
        (definition("true", evaluationInfo={"batch": True}), "$.evaluationInfo.batch"),
        ([], "$"),
    ],
)
def test_a_wrong_definition_is_told(client: TestClient, sent: Any, path: str) -> None:
    """422, with the place and the words of the language."""
    answer = client.post(PATH, json=sent)

    assert answer.status_code == 422, answer.text
    told = answer.json()["report"]["violations"]
    assert path in [one["path"] for one in told]
    assert all((one["line"], one["column"] > 0) == (1, True) for one in told if "pql." in one["code"])


def test_a_profile_enters_stays_and_leaves(client: TestClient) -> None:
    """Realized, then existing, then exited, as profiles are written."""
    ulm = define(client, 'homeAddress.city = "Ulm"')
    ann = identities(Email="ann@x")
    seen = []
    for city in ("Rome", "Ulm", "Ulm", "Ulm", "Rome", "Rome", "Ulm"):
        ingest(client, {"identityMap": ann, "homeAddress": {"city": city}})
        seen.append(standing(client, "ann@x", ulm))

    assert seen == [None, "realized", "existing", "existing", "exited", "exited", "realized"]


def test_rules_of_audiences_may_read_events_and_other_audiences(client: TestClient) -> None:
    """What they did counts at once; a later audience sees the earlier one as it is now."""
    buyers = define(client, BUYERS)
    both = define(client, f'inSegment("{buyers}") and city = "Ulm"')
    ingest(client, {"identityMap": identities(Email="ann@x"), "city": "Ulm"})
    assert standing(client, "ann@x", both) is None
    ingest(
        client,
        {
            "_id": "e1",
            "timestamp": "2026-01-01T00:00:00Z",
            "eventType": "purchase",
            "identityMap": identities(Email="ann@x"),
        },
    )

    assert [standing(client, "ann@x", one) for one in (buyers, both)] == ["realized"] * 2


def test_a_batch_audience_waits_for_the_batch(client: TestClient) -> None:
    """It is not evaluated when a profile is written."""
    batch = {"batch": {"enabled": True}, "continuous": {"enabled": False}}
    audience = define(client, "true", evaluationInfo=batch)
    ingest(client, {"identityMap": identities(Email="ann@x")})

    assert standing(client, "ann@x", audience) is None


def test_an_audience_that_is_gone_is_in_no_profile(client: TestClient) -> None:
    """Membership of a deleted audience is not shown."""
    audience = define(client, "true")
    ingest(client, {"identityMap": identities(Email="ann@x")})
    assert standing(client, "ann@x", audience) == "realized"
    client.delete(f"{PATH}/{audience}")

    assert standing(client, "ann@x", audience) is None


def test_an_estimate_counts_the_profiles_that_hold(client: TestClient) -> None:
    """Exact for few: as many as there are, with no error."""
    for number in range(7):
        entity = {"identityMap": identities(CRMID=str(number)), "n": number}
        ingest(client, entity)
    started = client.post(
        "/data/core/ups/preview",
        json={
            "predicateExpression": "n >= 4",
            "predicateType": "pql/text",
            "predicateModel": "_xdm.context.profile",
        },
    )
    assert started.status_code == 201
    until = time.monotonic() + 10
    while True:
        found = client.get(f"/data/core/ups/estimate/{started.json()['previewId']}").json()
        if found["state"] != "RUNNING" or time.monotonic() > until:
            break

    assert found["state"] == "RESULT_READY"
    assert (found["estimatedSize"], found["totalRows"], found["standardError"]) == (3, 7, 0)
    assert client.get("/data/core/ups/estimate/nope").status_code == 404
    assert client.post("/data/core/ups/preview", json={}).status_code == 422


def test_an_estimate_says_what_is_wrong_with_its_rule(client: TestClient) -> None:
    """A doubt in a header, and a rule that cannot be saved is refused at once, with each violation."""

    def preview(rule: str) -> Any:
        body = {"predicateExpression": rule, "predicateType": "pql/text", "predicateModel": "_xdm.context.profile"}
        return client.post("/data/core/ups/preview", json=body)

    ingest(client, {"identityMap": identities(CRMID="1"), "_acme": {"openTickets": 1}})
    misspelt = preview("_acme.openTikets = 1")
    path = f"/data/core/ups/estimate/{misspelt.json()['previewId']}"
    until = time.monotonic() + 10
    while (found := client.get(path)).json()["state"] == "RUNNING" and time.monotonic() < until:
        pass
    refused = [preview(rule) for rule in ("rules/adults.pql", "3", "n >=")]

    assert misspelt.status_code == 201
    assert misspelt.headers["warning"] == found.headers["warning"]
    assert "unknown field `openTikets`; did you mean `openTickets`?" in misspelt.headers["warning"]
    assert found.json()["estimatedSize"] == 0
    assert [answer.status_code for answer in refused] == [422] * 3
    assert all(answer.json()["report"]["violations"][0]["path"] == "$.predicateExpression" for answer in refused)


def test_an_audience_is_checked_like_a_rule_but_may_look_back(client: TestClient) -> None:
    """Warned of, refused with the other errors of the document, and checked again only when its rule changes."""
    looking_back = definition(f"{BUYERS}[timestamp occurs <= 3 days before now].count() > 0")
    doubtful = client.post(PATH, json=definition("preferredLanguage"))
    at = f"{PATH}/{doubtful.json()['id']}"
    renamed = client.patch(at, json={"name": "Another name"})
    refused = client.post(PATH, json=definition("3", evaluationInfo=5))
    changed = client.patch(at, json={"expression": definition("2 = 2")["expression"]})

    assert client.post(PATH, json=looking_back).status_code == 200
    assert "a text is a condition" in doubtful.headers["warning"]
    assert (renamed.status_code, "warning" in renamed.headers) == (200, False)
    assert (refused.status_code, changed.status_code) == (422, 422)
    assert {violation["path"] for violation in refused.json()["report"]["violations"]} == {
        "$.evaluationInfo",
        "$.expression.value",
    }


@pytest.mark.parametrize(
    "user",
    [
        lambda _: b.a_rule("user", 'inAudience("People of Ulm")'),
        lambda audience: b.a_rule("user", f'not inSegment("{audience}")'),
        lambda audience: b.a_formula("user", f'if(inAudience("{audience}"), 1, 2)'),
        lambda audience: b.an_offer("user", constraint=b.a_constraint(all_audiences=[audience])),
        lambda _: b.an_offer(
            "user", content={"web": [b.a_component("html", '{{#if inAudience("People of Ulm")}}Hi{{/if}}')]}
        ),
        lambda audience: b.a_decision(
            "user", b.a_criterion("everything", constraint=b.a_constraint(any_audience=[audience]))
        ),
    ],
)
def test_an_audience_in_use_is_not_deleted(client: TestClient, user: Callable[[str], dict[str, Any]]) -> None:
    """A rule that names a deleted audience would be false from then on, in silence."""
    audience = define(client, "true")
    a_library(client, b.an_offer("other"))
    document = user(audience)
    create(client, str(kind_of(document["@id"])), document)

    refused = client.delete(f"{PATH}/{audience}")

    assert refused.status_code == 409
    assert [referrer["@id"] for referrer in refused.json()["report"]["referrers"]] == [document["@id"]]


def test_an_audience_that_another_audience_names_is_not_deleted(client: TestClient) -> None:
    audience = define(client, "true")
    user = define(client, f'inSegment("{audience}")', name="Others")

    assert client.delete(f"{PATH}/{audience}").status_code == 409
    assert client.delete(f"{PATH}/{user}").status_code == 200
    assert client.delete(f"{PATH}/{audience}").status_code == 200


def test_an_audience_is_deleted_if_another_one_has_the_name_that_a_rule_uses(client: TestClient) -> None:
    audience, _ = define(client, "true"), define(client, "true", name="Others")
    create(client, "eligibility-rule", b.a_rule("user", 'inAudience("People of Ulm") or a = "Others"'))
    define(client, "false")

    assert client.delete(f"{PATH}/{audience}").status_code == 200


def test_audiences_are_no_objects_of_the_library(client: TestClient) -> None:
    """The repository API neither shows nor creates them."""
    from support.server import XCORE

    audience = define(client, "true")
    assert client.get(f"{XCORE}/instances/{audience}").status_code == 404
    assert client.delete(f"{XCORE}/instances/{audience}").status_code == 404
    schema = 'application/schema-instance+json; schema="https://ns.adobe.com/experience/offer-management/audience"'
    answer = client.post(f"{XCORE}/instances", json=definition("true"), headers={"Content-Type": schema})
    assert answer.status_code == 415


def test_a_standing_says_since_when() -> None:
    """The time of a standing is when the customer came in or left, and does not move meanwhile."""
    now = [1_767_225_600_000_000]
    clock: Clock = lambda: now[0]  # noqa: E731
    with server(clock=clock) as other:
        audience = define(other, 'city = "Ulm"')
        times = []
        for city in ("Ulm", "Ulm", "Rome", "Rome"):
            ingest(other, {"identityMap": identities(Email="ann@x"), "city": city})
            entity = person(other, "ann@x")["entity"]
            times.append(entity["segmentMembership"]["ups"][audience]["lastQualificationTime"])
            now[0] += 1_000_000

    assert [one[-7:] for one in times] == ["00.000Z", "00.000Z", "02.000Z", "02.000Z"]


def test_rules_and_content_name_audiences(client: TestClient) -> None:
    """By name or id, in other audiences, offers and content; a rule follows the name when audiences are renamed."""
    ulm = define(client, 'homeAddress.city = "Ulm"')
    both = define(client, f'inAudience("People of Ulm") and inAudience("{ulm}")', name="Both")
    content = b.a_component("html", '{{#if inAudience("Both")}}in both{{/if}}')
    offer = always(b.an_offer("local", content={"web": [content]}, rule="rule"))
    a_library(client, b.a_rule("rule", 'inAudience("People of Ulm")'), offer)
    for email, city in (("ann@x", "Ulm"), ("bob@x", "Rome")):
        ingest(client, {"identityMap": identities(Email=email), "homeAddress": {"city": city}})

    assert standing(client, "ann@x", both) == "realized"
    with_content: dict[str, Any] = {"xdm:responseFormat": {"xdm:includeContent": True}}
    answer = ask(client, **with_content)
    assert offer_ids(answer) == [b.id_of(EntityKind.OFFER, "local")]
    assert "in both" in str(answer)
    assert offer_ids(ask(client, email="bob@x")) == [b.id_of(EntityKind.FALLBACK, "fallback")]
    client.patch(f"{PATH}/{ulm}", json={"name": "Neighbours"})
    assert offer_ids(ask(client)) == [b.id_of(EntityKind.FALLBACK, "fallback")]


def test_a_rule_with_the_name_of_two_audiences_is_refused(client: TestClient) -> None:
    """So is such content. Not when only one has the name; a rule stored before follows the older audience."""
    ulm = define(client, 'homeAddress.city = "Ulm"', name="Loyal")
    a_library(client, b.a_rule("rule", 'inAudience("Loyal")'), always(b.an_offer("local", rule="rule")))
    rome = define(client, 'homeAddress.city = "Rome"', name="Loyal")
    ingest(client, {"identityMap": identities(Email="ann@x"), "homeAddress": {"city": "Ulm"}})
    ingest(client, {"identityMap": identities(Email="bob@x"), "homeAddress": {"city": "Rome"}})

    refused = client.post(
        f"{XCORE}/instances",
        json=b.a_rule("another", 'inAudience("Loyal")'),
        headers={"Content-Type": f'application/schema-instance+json; schema="{NAMESPACE}eligibility-rule"'},
    )

    content = {"web": [b.a_component("html", '{{#if inAudience("Loyal")}}hello{{/if}}')]}
    refused_offer = client.post(
        f"{XCORE}/instances",
        json=b.an_offer("greeting", content=content),
        headers={"Content-Type": f'application/schema-instance+json; schema="{NAMESPACE}personalized-offer"'},
    )

    for answer in (refused, refused_offer):
        assert answer.status_code == 422, answer.text
        (violation,) = answer.json()["report"]["violations"]
        assert violation["code"] == "pql.audience"
        assert ulm in violation["help"]
        assert rome in violation["help"]
    assert offer_ids(ask(client)) == [b.id_of(EntityKind.OFFER, "local")]
    assert offer_ids(ask(client, email="bob@x")) == [b.id_of(EntityKind.FALLBACK, "fallback")]
