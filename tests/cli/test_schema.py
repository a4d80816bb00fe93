"""`proffer schema load`: it says what changes, and spares live rules."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Proffer
from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services, open_store
from proffer.cli.database import open_container
from proffer.config import load_settings

REMOTE = "https://ns.adobe.com/xdm/datatypes/consents-and-preferences#/definitions/profile-consents"


def pql(text: str) -> dict[str, str]:
    return {"xdm:type": "PQL", "xdm:format": "pql/text", "xdm:value": text}


def library(status: str) -> dict[str, Any]:
    """An offer of this status with a rule, and a rule that nothing uses."""
    return {
        "placements": [
            {"@id": "xcore:offer-placement:1", "xdm:name": "Hero", "xdm:channel": "c", "xdm:componentType": "t"}
        ],
        "rules": [
            {
                "@id": "xcore:eligibility-rule:1",
                "xdm:name": "Swedes",
                "xdm:condition": pql('homeAddress.countryCode = "SE"'),
            },
            {"@id": "xcore:eligibility-rule:2", "xdm:name": "Adults", "xdm:condition": pql("person.age >= 18")},
        ],
        "offers": [
            {
                "xdm:name": "For Swedes",
                "xdm:status": status,
                "xdm:representations": [],
                "xdm:rank": {"xdm:priority": 1},
                "xdm:selectionConstraint": {
                    "xdm:startDate": "2020-01-01T00:00:00Z",
                    "xdm:endDate": "2099-01-01T00:00:00Z",
                    "xdm:eligibilityRule": "xcore:eligibility-rule:1",
                },
            }
        ],
    }


@pytest.fixture
def database(proffer: Proffer, tmp_path: Path) -> str:
    address = f"sqlite:///{tmp_path / 'p.db'}"
    imported = proffer(
        "library", "import", written(tmp_path / "library.json", library("approved")), "--database", address
    )
    assert imported.code == 0, imported.err
    return address


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_schema_without_what_live_rules_read_is_refused_with_the_rules(
    proffer: Proffer, tmp_path: Path, database: str
) -> None:
    """The refusal names each live rule and its field, and leaves the schema as it was; `--force` loads it."""
    group = written(tmp_path / "group.json", {"properties": {"_acme": {"properties": {"plan": {"type": "string"}}}}})
    refused = proffer("schema", "load", group, "--database", database)
    listed = proffer("schema", "list", "--database", database)
    forced = proffer("schema", "load", group, "--force", "--database", database)

    assert (refused.code, listed.out) == (1, "")
    assert "1 live rule invalid or false" in refused.err
    assert "xcore:eligibility-rule:1: eligibility rule `Swedes`: unknown field `homeAddress`" in refused.err
    assert "fields removed (compared with the built-in fields):" in refused.out
    assert "  live eligibility rule `Swedes`" in refused.out
    assert "  eligibility rule `Adults`: unknown field `person`" in refused.out
    assert (forced.code, forced.out.splitlines()[-1]) == (0, f"{group}: 1 fields for `profile`")


@pytest.mark.parametrize(
    ("country", "reason"),
    [
        ({"type": "object", "properties": {"iso": {"type": "string"}}}, "comparing object with text is never true"),
        ({"type": "number"}, "a number never equals 'SE'"),
        ({"type": "string", "enum": ["DE", "FR"]}, "this is never 'SE'"),
    ],
)
def test_a_type_that_makes_a_live_rule_false_is_refused(
    proffer: Proffer, tmp_path: Path, database: str, country: dict[str, Any], reason: str
) -> None:
    """The declared type cannot be compared with the rule's literal."""
    schema = {"properties": {"homeAddress": {"properties": {"countryCode": country}}}}
    refused = proffer("schema", "load", written(tmp_path / "s.json", schema), "--database", database)

    assert refused.code == 1
    assert reason in refused.err


def test_an_unresolved_reference_is_reported_and_keeps_live_rules(
    proffer: Proffer, tmp_path: Path, database: str
) -> None:
    """The level is open, so the rule stays as it is."""
    schema = {"allOf": [{"$ref": REMOTE}]}
    loaded = proffer("schema", "load", written(tmp_path / "s.json", schema), "--database", database)

    assert loaded.code == 0
    assert f"any field is allowed there: {REMOTE}" in loaded.out
    assert "fields removed" not in loaded.out
    assert "person.age: integer -> any" in loaded.out
    assert "rules that become" not in loaded.out
    assert "rules that read a retyped field:\n  eligibility rule `Swedes`\n  eligibility rule `Adults`\n" in loaded.out
    assert "0 fields and any others for `profile`" in loaded.out


def test_a_folder_of_files_is_one_schema_and_the_next_one_says_what_changes(
    proffer: Proffer, tmp_path: Path, database: str
) -> None:
    """References lead from file to file; fields added, removed and retyped are listed."""
    folder = tmp_path / "schemas"
    address: dict[str, Any] = {"properties": {"countryCode": {"type": "string"}}}
    written(folder / "profile.schema.json", {"properties": {"homeAddress": {"$ref": "types/address.json"}}})
    (folder / "types").mkdir()
    written(folder / "types" / "address.json", address)
    first = proffer("schema", "load", folder, "--database", database)
    address["properties"] |= {"countryCode": {"type": "string", "enum": ["SE"]}, "city": {"type": "string"}}
    written(folder / "types" / "address.json", address)
    second = proffer("schema", "load", folder, "--database", database)
    again = proffer("schema", "load", folder, "--database", database)

    assert first.out.splitlines()[-1] == f"{folder}: 1 fields for `profile`"
    assert second.out.splitlines() == [
        "1 fields added:",
        "  homeAddress.city: text",
        "1 fields retyped:",
        "  homeAddress.countryCode: text -> text: SE",
        "rules that read a retyped field:",
        "  eligibility rule `Swedes`",
        f"{folder}: 1 fields for `profile`",
    ]
    assert again.out == f"{folder}: 1 fields for `profile`\n"


def test_an_audience_that_becomes_false_prevents_a_load(proffer: Proffer, tmp_path: Path, database: str) -> None:
    """It is in force without an offer; a field that the schema lacks does not change it."""
    asyncio.run(define_audience(database, 'homeAddress.countryCode = "SE" and _acme.plan = "gold"'))
    fields: dict[str, Any] = {"homeAddress": {"countryCode": "text"}, "person": "any", "_acme": {"plan": "text: a|b"}}
    refused = proffer("schema", "load", written(tmp_path / "s.json", fields), "--database", database)
    fields["_acme"]["plan"] = "text"
    del fields["person"]
    loaded = proffer("schema", "load", written(tmp_path / "s.json", fields), "--database", database)

    assert refused.code == 1
    assert "audience `Gold`: this is never 'gold'" in refused.err
    assert loaded.code == 0


async def define_audience(database: str, rule: str) -> None:
    services = Services(await open_store(load_settings({"database": database})))
    access = await open_container(services, DEV_ORGANISATION, DEV_SANDBOX)
    await services.audiences.create(
        access, {"name": "Gold", "expression": {"type": "PQL", "format": "pql/text", "value": rule}}
    )
    await services.stop()


def test_only_live_rules_prevent_a_load(proffer: Proffer, tmp_path: Path) -> None:
    """A rule of a draft is listed, and nothing is refused."""
    database = ("--database", f"sqlite:///{tmp_path / 'p.db'}")
    proffer("library", "import", written(tmp_path / "library.json", library("draft")), *database)
    loaded = proffer("schema", "load", written(tmp_path / "s.json", {"loyalty": {"points": "number"}}), *database)

    assert loaded.code == 0
    assert "  eligibility rule `Swedes`: unknown field `homeAddress`" in loaded.out
