"""`proffer audiences create | list | show | delete`."""

import json
from pathlib import Path

import pytest

from cli.commands import Proffer


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'p.db'}"


def test_an_audience_is_created_listed_shown_and_deleted(proffer: Proffer, database: str, tmp_path: Path) -> None:
    customers = tmp_path / "customers.jsonl"
    customers.write_text('{"identityMap": {"Email": [{"id": "a@b.c"}]}, "_acme": {"n": 7}}\n')
    assert proffer("profiles", "import", customers, "--database", database).code == 0
    ran = proffer(
        *("audiences", "create", "Sevens", "--rule", "_acme.n = 7", "--description", "lucky", "--database", database)
    )
    assert (ran.code, ran.err) == (0, "")
    audience = ran.out.strip()
    proffer("audiences", "create", "A list", "--database", database)

    listed = proffer("audiences", "list", "--database", database).out
    assert f"{audience}  Sevens (_acme.n = 7)" in listed
    assert "A list (list)" in listed
    assert "evaluated: never; next: 20" in listed
    assert proffer("audiences", "evaluate", "--database", database).code == 0

    shown = json.loads(proffer("audiences", "show", "Sevens", "--database", database, "--json").out)
    assert (shown["id"], shown["rule"], shown["members"]) == (audience, "_acme.n = 7", 1)
    assert shown["evaluated"] is not None
    assert shown["next"][11:16] == "03:00"
    text = proffer("audiences", "show", audience, "--database", database).out
    assert "description: lucky" in text
    assert "members: 1" in text

    assert proffer("audiences", "delete", "Sevens", "--database", database).out == "deleted audience `Sevens`\n"
    ran = proffer("audiences", "show", "Sevens", "--database", database)
    assert (ran.code, ran.err) == (1, "proffer: there is no audience `Sevens`\n")


def test_a_wrong_rule_is_refused(proffer: Proffer, database: str) -> None:
    ran = proffer("audiences", "create", "Wrong", "--rule", "n >=", "--database", database)
    assert ran.code == 1
    assert "line 1" in ran.err


def test_a_name_of_several_audiences_is_refused(proffer: Proffer, database: str) -> None:
    for _ in range(2):
        assert proffer("audiences", "create", "Twins", "--rule", "n = 1", "--database", database).code == 0
    ran = proffer("audiences", "delete", "Twins", "--database", database)
    assert ran.code == 1
    assert "2 audiences have the name `Twins`: use one of the ids" in ran.err
