"""POST /decisions: what a request may look like, and what every answer promises."""

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import (
    BANNER,
    CARD,
    CONTEXT,
    FOR_ADULTS,
    FOR_ALL,
    HERO,
    HOME,
    HOUSE,
    LIBRARY,
    OVER,
    PAUSED,
    REQUEST,
    SHOP,
    WHEN_HOT,
    XDM,
    asked,
    asked_09,
    decide,
    decision,
    fill,
    offered,
)
from support.server import ODE, create, server

ADULT = {"xdm:attributes": {"person": {"age": 30}}}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client


def refused(answer: Any) -> list[str]:
    """The JSON paths of everything an answer complains about."""
    return [one["path"] for one in answer["report"]["violations"]]


def scope_of(proposition: Any) -> Any:
    return json.loads(b64decode(proposition["xdm:scope"]))


# Which version a request is.


@pytest.mark.parametrize(
    "media",
    [
        f'{XDM}; schema="{REQUEST};version=1.0"',
        f"{XDM}; schema='{REQUEST};version=1.0'",
        f"{XDM};schema={REQUEST};version=1.0",
        f'{XDM}; schema="{REQUEST}"',
        XDM,
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "",
    ],
)
def test_a_body_of_version_1_is_read_as_such(client: TestClient, media: str) -> None:
    """Proposition requests make a request 1.0, with a schema in any documented spelling or without."""
    answer = decide(client, asked((HOME, HERO)), content_type=media)

    assert "xdm:activity" in answer["xdm:propositions"][0]


@pytest.mark.parametrize(
    "media",
    [f'{XDM}; schema="{REQUEST};version=0.9"', f'{XDM}; schema="{REQUEST}"', "application/json"],
)
def test_a_body_of_version_0_9_is_read_as_such(client: TestClient, media: str) -> None:
    """Offer activities make a request 0.9; the answer holds addresses and no documents."""
    answer = decide(client, asked_09(HOME), content_type=media)

    assert answer["xdm:propositions"][0]["xdm:offerActivity"] == HOME
    assert answer["xdm:propositions"][0]["xdm:offers"] == [FOR_ALL]
    assert "xdm:propositionId" not in answer


def test_the_version_shows_in_members_not_in_text(client: TestClient) -> None:
    """The names of one version inside the customer's data do not make a request of the other."""
    hidden: dict[str, Any] = {"xdm:attributes": {"a": {"xdm:offerActivities": [], "xdm:propositionRequests": []}}}
    newer = decide(client, asked((HOME, HERO), profile=hidden))
    older = decide(client, {**asked_09(HOME), **hidden})

    assert "xdm:propositionId" in newer
    assert "xdm:propositionId" not in older


def test_escaped_member_names_are_read(client: TestClient) -> None:
    """JSON may escape any character of a name."""
    body = json.dumps(asked((HOME, HERO))).replace('"xdm:propositionRequests"', '"xdm:proposition\\u0052equests"')
    answer = client.post(f"{ODE}/decisions", content=body)

    assert answer.status_code == 200, answer.text


def test_a_schema_of_something_else_is_unsupported(client: TestClient) -> None:
    """415 names the schema that would do."""
    other = 'application/json; schema="https://ns.adobe.com/experience/offer-management/tag"'
    answer = decide(client, asked((HOME, HERO)), status=415, content_type=other)

    assert answer["code"] == "unknown-schema"
    assert REQUEST in answer["detail"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/json"),
        ("application/json, application/problem+json", "application/json"),
        (f'{XDM}; schema="x;version=1.0"', XDM),
        ("image/png", "application/json"),
    ],
)
def test_accept_chooses_the_words_of_the_answer(client: TestClient, accept: str, expected: str) -> None:
    """The documented media type for who asks for it; nothing is refused for its Accept header."""
    answer = client.post(f"{ODE}/decisions", json=asked((HOME, HERO)), headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == expected


def test_a_0_9_scope_names_a_placement_where_there_are_several(client: TestClient) -> None:
    """A decision of one placement is a scope by itself; of several, each proposition says which it is for (R36)."""
    with server() as other:
        for kind, document in LIBRARY:
            if document["@id"] == HOME:
                create(other, *decision(HOME, "Home", [HERO]))
            else:
                create(other, kind, document)
        alone = decide(other, asked_09(HOME))["xdm:propositions"]
    several = decide(client, asked_09(HOME, SHOP))["xdm:propositions"]

    assert [scope_of(one) for one in alone] == [{"xdm:activityId": HOME}]
    assert [scope_of(one) for one in several] == [
        {"xdm:activityId": one, "xdm:placementId": where}
        for one, where in ((HOME, HERO), (HOME, CARD), (SHOP, HERO), (SHOP, BANNER))
    ]


# What is tolerated.


def test_unknown_members_are_ignored(client: TestClient) -> None:
    """What documented clients send in the wrong place, or what only older versions know, does no harm."""
    profile = {
        "xdm:profileModel": "_xdm.context.profile",
        "xdm:validateContextData": True,
        "xdm:contextData": [{"@type": CONTEXT, "xdm:data": {"a": 1}, "extra": [None]}],
    }
    body = asked(
        (HOME, HERO),
        profile=profile,
        includeMetadata={"xdm:option": ["name"]},
        validateContextData=False,
        mergePolicy={"xdm:id": "x"},
        enrichedAudience=True,
        dryRun=True,
    )

    assert offered(decide(client, body)["xdm:propositions"][0]) == [FOR_ALL]


def test_null_is_the_same_as_absent(client: TestClient) -> None:
    """An optional member may be null, at any depth."""
    nothing = dict.fromkeys(["xdm:attributes", "xdm:contextData", "xdm:decisionRequestId"])
    body = asked((HOME, HERO), profile=nothing, allowDuplicatePropositions=None, responseFormat=None)
    body |= dict.fromkeys(["xdm:dryRun", "xdm:mergePolicy"])
    body["xdm:propositionRequests"][0]["xdm:itemCount"] = None
    body["xdm:profiles"][0]["xdm:identityMap"]["Email"][0]["primary"] = None
    deep = asked(
        (HOME, HERO),
        profile={"xdm:contextData": [{"@type": "t", "xdm:data": None}]},
        allowDuplicatePropositions=dict.fromkeys(["xdm:acrossActivities", "xdm:acrossPlacements"]),
        responseFormat={
            "xdm:includeContent": None,
            "xdm:includeMetadata": dict.fromkeys(["xdm:activity", "xdm:placement", "xdm:option"]),
        },
    )
    older = asked_09(HOME, dryRun=None, contextData=None, allowDuplicatePropositions=None)

    answer = decide(client, body)
    assert "xdm:decisionRequestId" not in answer
    assert answer["xdm:factors"]["xdm:profileResponse"] == "HTTP 404"
    decide(client, deep)
    decide(client, older)


@pytest.mark.parametrize(
    "identities",
    [
        {"Email": [{"xdm:id": "a"}, {"xdm:id": "b", "primary": True}], "CRMID": [{"xdm:id": "7"}]},
        {"ECID": [{"xdm:id": "0", "xdm:authenticatedState": "ambiguous"}]},
        {"Email": []},
        {},
    ],
)
def test_any_number_of_identities_will_do(client: TestClient, identities: Any) -> None:
    """Several namespaces, several identities in one, or none that is known: the scope is answered."""
    answer = decide(client, asked((HOME, HERO), profile={"xdm:identityMap": identities}))
    (proposition,) = answer["xdm:propositions"]
    assert proposition["xdm:options"]


# What is refused.


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"xdm:propositionRequests": []}, "$.xdm:propositionRequests"),
        (
            {"xdm:propositionRequests": [{"xdm:activityId": HOME, "xdm:placementId": HERO}] * 31},
            "$.xdm:propositionRequests",
        ),
        ({"xdm:profiles": []}, "$.xdm:profiles"),
        ({"xdm:profiles": [{"xdm:identityMap": {}}] * 2}, "$.xdm:profiles"),
        ({"xdm:profiles": [{}]}, "$.xdm:profiles[0].xdm:identityMap"),
        ({"xdm:profiles": None}, "$.xdm:profiles"),
        ({"xdm:dryRun": 1}, "$.xdm:dryRun"),
        (
            {"xdm:responseFormat": {"xdm:includeMetadata": {"xdm:option": "name"}}},
            "$.xdm:responseFormat.xdm:includeMetadata.xdm:option",
        ),
        (
            {"xdm:allowDuplicatePropositions": {"xdm:acrossActivities": "yes"}},
            "$.xdm:allowDuplicatePropositions.xdm:acrossActivities",
        ),
    ],
)
def test_a_mistake_is_told_with_its_path(client: TestClient, change: dict[str, Any], path: str) -> None:
    """422, and the JSON path of what is wrong."""
    answer = decide(client, {**asked((HOME, HERO)), **change}, status=422)

    assert refused(answer) == [path]


@pytest.mark.parametrize("count", [0, 31, -1, 1.5, "2", True])
def test_item_counts_are_1_to_30(client: TestClient, count: Any) -> None:
    """Anything else is a mistake, and so is `true`, which is no number."""
    answer = decide(client, asked((HOME, HERO, count)), status=422)

    assert refused(answer) == ["$.xdm:propositionRequests[0].xdm:itemCount"]


def test_thirty_scopes_of_one_offer_are_fine(client: TestClient) -> None:
    """Thirty scopes may be asked for; every one is answered, by options or a fallback, never both."""
    answer = decide(client, asked(*[(HOME, HERO), (HOME, CARD), (SHOP, BANNER)] * 10))

    assert len(answer["xdm:propositions"]) == 30
    for one in answer["xdm:propositions"]:
        assert ("xdm:options" in one) != ("xdm:fallback" in one)
        assert one.get("xdm:options") != []


def test_an_answer_holds_a_hundred_offers_at_most(client: TestClient) -> None:
    """The sum of the item counts is limited; exactly a hundred is allowed."""
    decide(client, asked((HOME, HERO, 30), (HOME, CARD, 30), (SHOP, HERO, 30), (SHOP, BANNER, 10)))
    answer = decide(client, asked(*[(HOME, HERO, 30)] * 3, (HOME, CARD, 11)), status=422)

    assert answer["report"]["violations"][0]["code"] == "limit"
    assert "101" in answer["detail"]


def test_every_mistake_is_told_at_once(client: TestClient) -> None:
    """Also of a 0.9 request."""
    body = {"xdm:offerActivities": [{}, {"xdm:offerActivity": 1}], "xdm:contextData": [{}]}
    answer = decide(client, body, status=422)

    assert refused(answer) == [
        "$.xdm:offerActivities[0].xdm:offerActivity",
        "$.xdm:offerActivities[1].xdm:offerActivity",
        "$.xdm:contextData[0].@type",
        "$.xdm:identityMap",
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty"),
        (b"{", "syntax"),
        (b'{"xdm:propositionRequests": NaN}', "syntax"),
        (b"\xff\xfe{}", "encoding"),
        (b'{"xdm:propositionRequests": "\\ud800"}', "surrogate"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "depth"),
    ],
)
def test_what_is_not_json_is_malformed(client: TestClient, body: bytes, code: str) -> None:
    """400 with line and column."""
    answer = client.post(f"{ODE}/decisions", content=body)

    assert answer.status_code == 400, answer.text
    (violation,) = answer.json()["report"]["violations"]
    assert violation["code"] == code
    assert violation["line"] == 1


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7"])
def test_json_that_is_no_object_is_refused(client: TestClient, body: bytes) -> None:
    """422 at the root."""
    answer = client.post(f"{ODE}/decisions", content=body)

    assert answer.status_code == 422, answer.text
    assert refused(answer.json()) == ["$"]


def test_nul_is_refused_wherever_it_stands(client: TestClient) -> None:
    """Also in the customer's data, which no type describes."""
    attributes = {"a": [{"b": "x\0y"}], "c\0": 1}
    answer = decide(client, asked((HOME, HERO), profile={"xdm:attributes": attributes}), status=422)

    assert {one["code"] for one in answer["report"]["violations"]} == {"nul"}
    assert refused(answer)[0] == "$.xdm:profiles[0].xdm:attributes.a[0].b"


def test_bodies_over_a_megabyte_are_too_large(client: TestClient) -> None:
    """413 just over the limit; at the limit the request is served."""
    body = asked((HOME, HERO), profile={"xdm:attributes": {"pad": ""}})
    room = 1_000_000 - len(json.dumps(body))
    for size, status in ((room, 200), (room + 1, 413)):
        body["xdm:profiles"][0]["xdm:attributes"]["pad"] = "x" * size
        answer = client.post(f"{ODE}/decisions", content=json.dumps(body))
        assert answer.status_code == status, answer.text[:200]


# Scopes nobody can answer (R8).


def test_every_unknown_scope_is_named(client: TestClient) -> None:
    """One bad scope refuses the call; the detail names each, the violations say why and where."""
    bad = [(PAUSED, HERO), (OVER, HERO), (HOME, BANNER), ("xcore:offer-activity:99", HERO)]
    answer = decide(client, asked((HOME, HERO), *bad, (HOME, "nonsense")), status=404)

    assert answer["type"] == "https://ns.adobe.com/aep/errors/ODE-0001-404"
    for scope in bad:
        assert "/".join(scope) in answer["detail"]
    assert refused(answer) == [f"$.xdm:propositionRequests[{index}]" for index in range(1, 6)]


def test_a_partial_answer_has_the_rest(client: TestClient) -> None:
    """207: good scopes answered, a problem for each bad one, told where it stands in the request."""
    answer = decide(client, asked((PAUSED, HERO), (HOME, HERO)), "?partial=true", status=207)
    only_bad = decide(client, asked_09(PAUSED), "?partial=true", status=207)

    assert [one["xdm:activity"]["xdm:id"] for one in answer["xdm:propositions"]] == [HOME]
    (error,) = answer["errors"]
    assert error["status"] == 404
    assert error["report"]["violations"][0]["path"] == "$.xdm:propositionRequests[0]"
    assert only_bad["xdm:propositions"] == []
    assert only_bad["errors"][0]["detail"].endswith(PAUSED)


def test_a_whole_answer_has_no_errors(client: TestClient) -> None:
    """`partial` changes nothing where every scope is known."""
    assert "errors" not in decide(client, asked((HOME, HERO)), "?partial=true")


@pytest.mark.parametrize("query", ["?partial=maybe", "?explain=2"])
def test_switches_are_true_or_false(client: TestClient, query: str) -> None:
    """Any other word is a mistake of the caller."""
    assert decide(client, asked((HOME, HERO)), query, status=400)["code"] == "bad-parameter"


def test_ids_of_the_newer_spelling_are_the_same(client: TestClient) -> None:
    """`dps:` and `xcore:` name one object; answers name it as the library does."""
    newer = asked((HOME.replace("xcore", "dps"), HERO.replace("xcore", "dps")))
    proposition = decide(client, newer)["xdm:propositions"][0]

    assert proposition["xdm:activity"]["xdm:id"] == HOME
    assert proposition["xdm:placement"]["xdm:id"] == HERO


# What an answer holds.


def test_the_form_strict_clients_decode(client: TestClient) -> None:
    """Both spellings of the id, the time as a whole number, etags as text, the scope, content even of a picture."""
    answer = decide(
        client,
        asked((HOME, HERO), (SHOP, BANNER), responseFormat={"xdm:includeContent": True}),
    )

    assert answer["xdm:propositionId"] == answer["xdm:propositionID"]
    assert isinstance(answer["ode:createDate"], int)
    for proposition in answer["xdm:propositions"]:
        assert isinstance(proposition["xdm:scope"], str)
        assert isinstance(proposition["xdm:activity"]["repo:etag"], str)
        assert isinstance(proposition["xdm:placement"]["repo:etag"], str)
        for option in proposition.get("xdm:options", [proposition.get("xdm:fallback")]):
            assert isinstance(option["repo:etag"], str)
            assert isinstance(option["xdm:content"], str)
            assert option["@type"]


def test_content_only_where_it_is_asked_for(client: TestClient) -> None:
    """Without `includeContent`, an option is an id and an etag."""
    (option,) = decide(client, asked((HOME, HERO)))["xdm:propositions"][0]["xdm:options"]

    assert option == {"xdm:id": FOR_ALL, "repo:etag": "1"}


@pytest.mark.parametrize(
    ("listed", "where", "members"),
    [
        ({"xdm:activity": ["name"]}, "xdm:activity", {"xdm:name"}),
        ({"xdm:placement": ["name"]}, "xdm:placement", {"xdm:name"}),
        ({"xdm:placement": ["channel"]}, "xdm:placement", {"xdm:channel"}),
        ({"xdm:placement": ["componentType"]}, "xdm:placement", {"xdm:componentType"}),
        ({"xdm:option": ["name"]}, "xdm:options", {"xdm:name"}),
        (
            {"xdm:option": ["characteristics", "priority", "unheard of"]},
            "xdm:options",
            {"xdm:characteristics", "xdm:priority"},
        ),
    ],
)
def test_metadata_comes_list_by_list(client: TestClient, listed: dict[str, Any], where: str, members: set[str]) -> None:
    """Each list adds its own members, and nothing to its neighbours."""
    wanted = {"xdm:includeMetadata": listed}
    proposition = decide(client, asked((HOME, HERO), responseFormat=wanted))["xdm:propositions"][0]
    found = {"xdm:activity", "xdm:placement", "xdm:options"}
    for name in found:
        document = proposition[name][0] if name == "xdm:options" else proposition[name]
        extra = document.keys() - {"xdm:id", "repo:etag"}
        assert extra == (members if name == where else set())


def test_a_fallback_has_metadata_too(client: TestClient) -> None:
    """A name and characteristics; it has no priority."""
    wanted = {"xdm:includeMetadata": {"xdm:option": ["name", "characteristics", "priority"]}}
    answer = decide(client, asked((HOME, HERO), (HOME, CARD), responseFormat=wanted))

    assert answer["xdm:propositions"][1]["xdm:fallback"] == {
        "xdm:id": HOUSE,
        "repo:etag": "1",
        "xdm:name": "House",
        "xdm:characteristics": {"tier": "none"},
    }


def test_the_request_id_is_echoed_if_sent(client: TestClient) -> None:
    """Any text, as it was sent; nothing where nothing was."""
    for sent in ("req-71", "", "日本 😀"):
        answer = decide(client, asked((HOME, HERO), profile={"xdm:decisionRequestId": sent}))
        assert answer["xdm:decisionRequestId"] == sent

    assert "xdm:decisionRequestId" not in decide(client, asked((HOME, HERO)))


def test_fewer_than_asked_are_not_padded(client: TestClient) -> None:
    """Of five asked for, those that are eligible; the fallback is not among them (R19)."""
    answer = decide(client, asked((HOME, HERO, 5), profile=ADULT))
    proposition = answer["xdm:propositions"][0]

    assert offered(proposition) == [FOR_ALL, FOR_ADULTS]
    assert "xdm:fallback" not in proposition


def test_no_score_without_a_formula(client: TestClient) -> None:
    """Where the priority alone decided, there is no score (R20)."""
    (option,) = decide(client, asked((HOME, HERO)))["xdm:propositions"][0]["xdm:options"]

    assert "xdm:score" not in option


# Duplicates (R6).


@pytest.mark.parametrize(
    ("allowed", "second"),
    [
        (None, [FOR_ADULTS]),
        ({}, [FOR_ADULTS]),
        ({"xdm:acrossActivities": False, "xdm:acrossPlacements": True}, [FOR_ADULTS]),
        ({"xdm:acrossActivities": True}, [FOR_ALL]),
        ({"xdm:acrossActivities": True, "xdm:acrossSelectionStrategies": False}, [FOR_ALL]),
    ],
)
def test_duplicates_across_decisions(client: TestClient, allowed: Any, second: list[str]) -> None:
    """Two decisions in one placement: the later one takes the next best, unless it is allowed not to."""
    body = asked((HOME, HERO), (SHOP, HERO), profile=ADULT, allowDuplicatePropositions=allowed)
    first, later = decide(client, body)["xdm:propositions"]

    assert offered(first) == [FOR_ALL]
    assert offered(later) == second


@pytest.mark.parametrize(
    ("allowed", "second"),
    [
        (None, []),
        ({"xdm:acrossActivities": True}, []),
        ({"xdm:acrossPlacements": True}, [FOR_ALL]),
    ],
)
def test_duplicates_across_placements(client: TestClient, allowed: Any, second: list[str]) -> None:
    """Two placements of one decision; the fallback stands where nothing is left."""
    newer = asked((HOME, HERO), (HOME, CARD), allowDuplicatePropositions=allowed)
    older = asked_09(HOME, allowDuplicatePropositions=allowed)

    assert offered(decide(client, newer)["xdm:propositions"][1]) == second
    card = decide(client, older)["xdm:propositions"][1]
    assert card.get("xdm:offers", []) == second
    assert ("xdm:fallbackOffer" in card) != bool(second)


# Who asks, and when.


@pytest.mark.parametrize(
    "attributes",
    [
        {"person": {"age": 18}},
        {"xdm:person": {"age": 18}},
        {"xdm:person": {"xdm:age": 18}},
        {"person": {"age": 18, "xdm:age": 3}},
    ],
)
def test_attributes_may_carry_prefixes(client: TestClient, attributes: Any) -> None:
    """`xdm:` in front of a name makes no difference; where both stand, the plain name counts."""
    body = asked((HOME, HERO, 2), profile={"xdm:attributes": attributes})

    assert FOR_ADULTS in offered(decide(client, body)["xdm:propositions"][0])


def test_an_unknown_customer_is_no_error(client: TestClient) -> None:
    """Rules that read the profile are false, and a factor says that nothing was found."""
    answer = decide(client, asked((HOME, HERO, 30)))

    assert offered(answer["xdm:propositions"][0]) == [FOR_ALL]
    assert answer["xdm:factors"] == {
        "xdm:profileResponse": "HTTP 404",
        "xdm:numberOfIneligibleOffers": "2",
    }


@pytest.mark.parametrize("name", ["weather", "xdm:weather"])
def test_context_reaches_rules(client: TestClient, name: str) -> None:
    """`@{type}.field` reads the context data of that type, with or without prefix, in both versions."""
    context = [{"@type": "other;version=1"}, {"@type": CONTEXT, "xdm:data": {name: "hot"}}]
    newer = decide(client, asked((HOME, HERO, 3), profile={"xdm:contextData": context}))
    older = decide(client, asked_09(HOME, contextData=context))

    assert WHEN_HOT in offered(newer["xdm:propositions"][0])
    assert older["xdm:factors"]["xdm:numberOfIneligibleOffers"] == "1"


@pytest.mark.parametrize(
    ("accept_language", "preferred", "content"),
    [
        (None, None, "all"),
        ("de", None, "alle"),
        ("de-AT, en;q=0.5", None, "alle"),
        ("de;q=0.5, en", None, "all"),
        ("fr", None, "all"),
        ("fr", "de", "alle"),
        ("en", "de", "all"),
        (None, "DE", "alle"),
        ("de;q=0", None, "all"),
        ("de_CH-1996", None, "alle"),
        ("fr," + "x" * 36 + ",de", None, "alle"),
        (";;q=x,*;q=nan", None, "all"),
    ],
)
def test_languages_choose_the_content(
    client: TestClient, accept_language: str | None, preferred: str | None, content: str
) -> None:
    """The header first, then the profile's preferred language, else the first variant (R30)."""
    attributes = {"xdm:preferredLanguage": preferred} if preferred else {}
    body = asked(
        (HOME, HERO),
        profile={"xdm:attributes": attributes},
        responseFormat={"xdm:includeContent": True},
    )
    answer = decide(client, body, accept_language=accept_language)
    (option,) = answer["xdm:propositions"][0]["xdm:options"]

    assert option["xdm:content"] == f"<p>{content}</p>"


# Why (ours).


def test_a_trace_has_every_candidate(client: TestClient) -> None:
    """A trace per scope: the proposition id as seed, ranked offers first, everybody with stage and reason."""
    answer = decide(client, asked((HOME, HERO), (HOME, CARD)), "?explain=true")

    assert [one["scope"] for one in answer["trace"]] == [one["xdm:scope"] for one in answer["xdm:propositions"]]
    for scope in answer["trace"]:
        assert scope.keys() == {"scope", "seed", "candidates"}
        assert scope["seed"] == answer["xdm:propositionId"]
        assert len(scope["candidates"]) == 6
        for candidate in scope["candidates"]:
            ranked = candidate["stage"] == "ranked"
            parts = {"rule", "tests", "audience", "cap", "window", "by"}
            assert candidate.keys() - parts == {"id", "name", "stage", "reason"} | (
                {"rank", "score"} if ranked else set()
            )
    hero, card = answer["trace"]
    assert [one["stage"] for one in hero["candidates"]].count("ranked") == 1
    assert "dedup" in [one["stage"] for one in card["candidates"]]


def test_no_trace_unless_asked_for(client: TestClient) -> None:
    """Neither in 1.0 nor in 0.9."""
    for body in (asked((HOME, HERO)), asked_09(HOME)):
        assert "trace" not in decide(client, body, "?explain=false")
        assert "trace" in decide(client, body, "?explain=true")


def test_a_trace_in_part_has_unknown_scopes(client: TestClient) -> None:
    """Their entry is there, and has no candidates."""
    answer = decide(client, asked_09(PAUSED, HOME), "?explain=true&partial=true", status=207)

    assert [len(one["candidates"]) for one in answer["trace"]] == [0, 6, 6]
    assert answer["trace"][0]["scope"] == answer["errors"][0]["scope"]


def test_the_request_id_header_comes_back(client: TestClient) -> None:
    """Any text will do, on success and on refusal."""
    for body in (asked((HOME, HERO)), {}):
        answer = client.post(f"{ODE}/decisions", json=body, headers={"x-request-id": "any text at all"})
        assert answer.headers["x-request-id"] == "any text at all"
