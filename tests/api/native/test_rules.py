"""Rules over the API: what an editor hears, what a save refuses, and what an import lets in."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import open_container
from proffer.cli.library import load_into
from proffer.config import Settings
from proffer.store.ports import Store
from support.customers import identities, ingest
from support.server import NAMESPACE, ODE, XCORE, create, in_memory, server
from test_main_job import small_library

RULE = f'application/schema-instance+json; schema="{NAMESPACE}eligibility-rule"'
FORMULA = f'application/schema-instance+json; schema="{NAMESPACE}ranking-function"'


def pql(text: Any, format_: str = "pql/text") -> dict[str, Any]:
    return {"xdm:type": "PQL", "xdm:format": format_, "xdm:value": text}


def checked(client: TestClient, **body: Any) -> Any:
    answer = client.post("/api/rules/check", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_editor_hears_everything_about_a_sound_rule() -> None:
    """Its type, what it reads, and its canonical text."""
    with server() as client:
        said = checked(client, value="person.age>=18 AND loyalty.points > 5")

    assert said == {
        "valid": True,
        "diagnostics": [],
        "type": "Boolean",
        "reads": ["profile.loyalty.points", "profile.person.age"],
        "canonical": "person.age >= 18 and loyalty.points > 5",
    }


def test_an_editor_hears_every_mistake_with_its_place() -> None:
    """In one pass, with carets for those who print them."""
    with server() as client:
        said = checked(client, value='nonsense(1)\nand lenght("a") > 2')

    assert said["valid"] is False
    assert [one["code"] for one in said["diagnostics"]] == ["pql.unknown-function"] * 2
    assert [(one["line"], one["column"]) for one in said["diagnostics"]] == [(1, 1), (2, 5)]
    assert "did you mean `length`?" in said["diagnostics"][1]["help"]
    assert "^^^^" in said["diagnostics"][1]["shown"]


def test_a_formula_and_a_tree_can_be_checked() -> None:
    """A formula may read the offer; a tree is written out."""
    tree = {
        "nodeType": "fnApply",
        "fnName": "=",
        "params": [
            {"nodeType": "fieldLookup", "fieldName": "country"},
            {"nodeType": "literal", "literalType": "String", "value": "US"},
        ],
    }
    with server() as client:
        formula = checked(client, value="offer.rank.priority * 2", kind="formula")
        written = checked(client, value=tree)

    assert (formula["valid"], formula["type"]) == (True, "number")
    assert written["canonical"] == 'country = "US"'


@pytest.mark.parametrize("body", [{}, {"value": 5}, {"value": "x", "kind": "poem"}, [], {"value": "x", "definedOn": 1}])
def test_a_check_of_nothing_is_refused(body: Any) -> None:
    """With the path of what is wrong."""
    with server() as client:
        answer = client.post("/api/rules/check", json=body)

    assert answer.status_code == 422
    assert answer.json()["report"]["violations"][0]["path"].startswith("$")


@pytest.mark.parametrize("way", ["create", "replace", "patch"])
@pytest.mark.parametrize(
    ("kind", "member", "media"),
    [("eligibility-rule", "xdm:condition", RULE), ("ranking-function", "xdm:expression", FORMULA)],
)
def test_what_does_not_check_is_not_saved(way: str, kind: str, member: str, media: str) -> None:
    """Created, replaced or patched: 422 with each diagnostic, and what was stored stays."""
    sound = {"xdm:name": "r", member: pql("person.age >= 18")}
    broken = {"xdm:name": "r", member: pql("person.age >= 18\nand nonsense(1) and 1 == 2")}
    with server() as client:
        receipt = create(client, kind, sound)
        at = f"{XCORE}/instances/{receipt['instanceId']}"
        if way == "create":
            refused = client.post(f"{XCORE}/instances", json=broken, headers={"Content-Type": media})
        elif way == "replace":
            refused = client.put(at, json=broken, headers={"Content-Type": media})
        else:
            value = {"op": "replace", "path": f"/_instance/{member}", "value": broken[member]}
            refused = client.patch(at, json=[value])
        kept = client.get(at).json()

    assert refused.status_code == 422
    violation = refused.json()["report"]["violations"][0]
    assert violation["code"].startswith("pql.")
    assert violation["path"].endswith(f"{member}.xdm:value")
    assert violation["line"] == 2
    assert violation["help"]
    assert kept["_instance"][member] == sound[member]
    assert kept["repo:etag"] == 1


def test_an_editor_hears_for_how_many_customers_a_comparison_cannot_be_made() -> None:
    """Only on request, with the most frequent values; `!=` is true for these customers."""
    with server() as client:
        for number, value in enumerate(["yes", "yes", "no", True, "false"]):
            ingest(client, {"identityMap": identities(Email=f"{number}@b.c"), "_acme": {"optOut": value}})
        silent = checked(client, value="_acme.optOut != true")
        said = checked(client, value="_acme.optOut != true", customers=True)
        broken = checked(client, value="_acme.optOut !=", customers=True)

    assert "customers" not in silent
    assert said["customers"] == {
        "total": 5,
        "evaluated": 5,
        "incomparable": [
            {
                "source": "_acme.optOut != true",
                "customers": 3,
                "holds": True,
                "values": [{"value": '"yes"', "customers": 2}, {"value": '"no"', "customers": 1}],
                "message": '`_acme.optOut != true`: 3 customers hold "yes", "no": it cannot be compared, so this is '
                "true for them",
            }
        ],
    }
    assert broken["customers"] == {"total": 5, "evaluated": 0, "incomparable": []}


def test_an_editor_gets_the_change_to_make() -> None:
    """A span and its replacement, where there is one."""
    with server() as client:
        (misspelt,) = checked(client, value="person.age.isNul()")["diagnostics"]
        (incomplete,) = checked(client, value="person.age >=")["diagnostics"]

    assert misspelt["fix"] == {"start": 11, "end": 16, "replacement": "isNull"}
    assert (misspelt["start"], misspelt["end"]) == (11, 16)
    assert incomplete["fix"] is None


def test_a_rule_with_a_doubt_is_saved_with_a_warning() -> None:
    """In the receipt's header, also for fields that no stored profile has; without profiles nothing is said."""

    def warning(client: TestClient, text: str) -> str | None:
        rule = {"xdm:name": "r", "xdm:condition": pql(text)}
        answer = client.post(f"{XCORE}/instances", json=rule, headers={"Content-Type": RULE})
        assert answer.status_code == 201, answer.text
        return answer.headers.get("warning")

    with server() as client:
        doubt = warning(client, "preferredLanguage and true")
        before = warning(client, "_acme.openTikets = 0")
        ingest(client, {"identityMap": identities(Email="ann@x"), "_acme": {"openTickets": 1}})
        after = warning(client, "_acme.openTikets = 0")
        known = warning(client, "_acme.openTickets = 0 and person.age > 3")

    assert (before, known) == (None, None)
    assert doubt is not None
    assert "a text is a condition that is true unless" in doubt
    assert after == ('199 proffer "$.xdm:condition.xdm:value: unknown field `openTikets`; did you mean `openTickets`?"')


def test_a_rule_that_is_surely_wrong_is_refused_with_the_other_errors_of_its_document() -> None:
    """A constant, a number, a comparison that cannot be made; all in one answer."""
    for text in ("3", "person.age + 1", 'person.birthYear = "x"'):
        with server() as client:
            rule = {"xdm:name": 5, "xdm:condition": pql(text)}
            refused = client.post(f"{XCORE}/instances", json=rule, headers={"Content-Type": RULE})

        assert refused.status_code == 422
        assert {violation["path"] for violation in refused.json()["report"]["violations"]} == {
            "$.xdm:name",
            "$.xdm:condition.xdm:value",
        }


def test_a_stored_rule_is_checked_again_only_when_its_condition_changes() -> None:
    """An import takes a rule that could not be saved, and says so; it can be renamed, and must be mended to change."""

    async def opening(_: Settings) -> Store:
        store = await in_memory(_)
        content = {"rules": [{"xdm:name": "Everybody", "xdm:condition": pql("1 = 1")}]}
        report = await load_into(Services(store), DEV_ORGANISATION, DEV_SANDBOX, content)
        assert not report.broken
        assert [(warning.code, warning.path) for warning in report.warnings] == [
            ("pql.always-true", "$.rules[0].xdm:condition.xdm:value")
        ]
        return store

    with server(opening=opening) as client:
        schema = f"{NAMESPACE}eligibility-rule"
        (stored,) = client.get(f"{XCORE}/instances", params={"schema": schema}).json()["_embedded"]["results"]
        at = f"{XCORE}/instances/{stored['instanceId']}"
        renamed = client.patch(at, json=[{"op": "replace", "path": "/_instance/xdm:name", "value": "All"}])
        value = {"op": "replace", "path": "/_instance/xdm:condition", "value": pql("2 = 2")}
        changed = client.patch(at, json=[value])

    assert (renamed.status_code, "warning" in renamed.headers) == (200, False)
    assert changed.status_code == 422


def test_looking_back_is_refused_on_save_alone() -> None:
    """A rule over event history cannot be saved (spec 7.4)."""
    text = "xEvent[timestamp occurs < 7 days before now].count() > 1"
    with server() as client:
        refused = client.post(
            f"{XCORE}/instances",
            json={"xdm:name": "r", "xdm:condition": pql(text)},
            headers={"Content-Type": RULE},
        )

    assert refused.status_code == 422
    assert refused.json()["report"]["violations"][0]["code"] == "pql.look-back"


def test_a_rule_in_its_json_form_is_saved_and_decides() -> None:
    """The tree itself, or a string of JSON."""
    tree = {
        "nodeType": "fnApply",
        "fnName": ">=",
        "params": [
            {
                "nodeType": "fieldLookup",
                "fieldName": "age",
                "object": {"nodeType": "fieldLookup", "fieldName": "person"},
            },
            {"nodeType": "literal", "literalType": "Integer", "value": 18},
        ],
    }
    for value in (tree, json.dumps(tree)):
        with server() as client:
            scope = small_library(client)
            schema = f"{NAMESPACE}eligibility-rule"
            found = client.get(f"{XCORE}/instances", params={"schema": schema}).json()
            instance = found["_embedded"]["results"][0]["instanceId"]
            patch = [
                {
                    "op": "replace",
                    "path": "/_instance/xdm:condition",
                    "value": pql(value, "pql/json"),
                }
            ]
            assert client.patch(f"{XCORE}/instances/{instance}", json=patch).status_code == 200
            kinds = [answered(client, scope, age) for age in (30, 12)]

        assert kinds == ["xdm:options", "xdm:fallback"]


def answered(client: TestClient, scope: tuple[str, str], age: int) -> str:
    """Whether a customer of this age gets options or the fallback."""
    body = {
        "xdm:propositionRequests": [{"xdm:activityId": scope[0], "xdm:placementId": scope[1]}],
        "xdm:profiles": [
            {
                "xdm:identityMap": {"Email": [{"xdm:id": "a@b.c"}]},
                "xdm:attributes": {"person": {"age": age}},
            }
        ],
    }
    proposition = client.post(f"{ODE}/decisions", json=body).json()["xdm:propositions"][0]
    return next(name for name in ("xdm:options", "xdm:fallback") if name in proposition)


def test_an_import_lets_a_broken_rule_in_and_says_so() -> None:
    """It counts as false, is reported, and harms nobody else (R33)."""

    async def opening(_: Settings) -> Store:
        store = await in_memory(_)
        services = Services(store)
        content = {"rules": [{"xdm:name": "Broken", "xdm:condition": pql("nonsense(")}]}
        report = await load_into(services, DEV_ORGANISATION, DEV_SANDBOX, content)
        (finding,) = report.broken
        assert finding.path == "$.rules[0].xdm:condition.xdm:value"
        assert finding.line == 1
        return store

    with server(opening=opening) as client:
        assert answered(client, small_library(client), 30) == "xdm:options"


def test_a_loaded_schema_decides_what_may_be_saved_and_what_still_counts(tmp_path: Path) -> None:
    """New rules that do not fit are refused; old ones count as false and are reported; removing it brings them back."""
    services_of: list[Services] = []

    async def opening(_: Settings) -> Store:
        store = await in_memory(_)
        services_of.append(Services(store))
        return store

    async def load(fields: dict[str, Any] | None) -> None:
        services = services_of[0]
        access = await open_container(services, DEV_ORGANISATION, DEV_SANDBOX)
        if fields is None:
            await services.schemas.remove(access, "profile")
        else:
            await services.schemas.load(access, "profile", fields, force=True)

    with server(opening=opening) as client:
        scope = small_library(client)
        before = answered(client, scope, 30)
        asyncio.run(load({"person": {"birthYear": "integer"}}))
        wait_until(lambda: answered(client, scope, 30) == "xdm:fallback")
        refused = client.post(
            f"{XCORE}/instances",
            json={"xdm:name": "r", "xdm:condition": pql("person.age > 1")},
            headers={"Content-Type": RULE},
        )
        report = client.get(f"{ODE}/diagnostics").json()
        asyncio.run(load(None))
        wait_until(lambda: answered(client, scope, 30) == "xdm:options")

    assert before == "xdm:options"
    assert refused.status_code == 422
    assert refused.json()["report"]["violations"][0]["code"] == "pql.unknown-field"
    assert "eligibility rule `Adults`" in json.dumps(report)


def wait_until(holds: Any) -> None:
    """Another process's change is in force within 200 ms; the bound here is generous."""
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
