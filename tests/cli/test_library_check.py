"""`proffer library check`, and `rules check` with a database."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.commands import Proffer

CUSTOMERS = (
    {"identityMap": {"Email": [{"id": "a@b.c"}]}, "optOut": "yes"},
    {"identityMap": {"Email": [{"id": "b@b.c"}]}, "optOut": "true"},
    {"identityMap": {"Email": [{"id": "c@b.c"}]}, "optOut": False},
)


@pytest.fixture
def database(proffer: Proffer, tmp_path: Path) -> str:
    """A database with three customers, of whom one has a text that is no Boolean."""
    url = f"sqlite:///{tmp_path / 'p.db'}"
    file = tmp_path / "customers.jsonl"
    file.write_text("".join(json.dumps(customer) + "\n" for customer in CUSTOMERS))
    assert proffer("profiles", "import", file, "--database", url).code == 0
    return url


def test_rules_are_checked_against_stored_customers(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """The customers for whom a comparison cannot be made are counted, and the stored fields are known."""
    rule, other = tmp_path / "r.pql", tmp_path / "other.pql"
    rule.write_text("optOut != true")
    other.write_text("optOut = false")
    ran = proffer("rules", "check", rule, other, "--database", database)
    assert ran.code == 0
    assert "unknown-field" not in ran.out
    assert (
        f'{rule}: warning: `optOut != true`: 1 customer holds "yes": it cannot be compared, so this is true for them'
        in ran.out
    )
    assert f"{other}: warning: `optOut = false`: 1 customer holds" in ran.out
    assert "so this is false for them" in ran.out
    assert ran.out.endswith("2 expressions checked, 0 with errors, 2 with warnings\n")
    assert proffer("rules", "check", rule, "--database", database, "--strict").code == 1


def test_a_database_that_does_not_exist_is_not_created(proffer: Proffer, tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    for command in (("library", "check"), ("library", "check", "--upgrade")):
        ran = proffer(*command, "--database", f"sqlite:///{path}")
        assert (ran.code, ran.err) == (1, "proffer: the database is missing or empty: name it with `--database`\n")
    assert not path.exists()


def test_a_stored_library_is_checked(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Errors are rules that count as false; warnings make it fail with `--strict`; the file stays as it is."""
    condition = {"xdm:type": "PQL", "xdm:format": "pql/text"}
    file = tmp_path / "library.json"

    def check(*rules: Mapping[str, object], strict: bool = False) -> tuple[int, str]:
        documents = [
            {"xdm:name": f"Rule {number}", "xdm:condition": condition, **rule} for number, rule in enumerate(rules)
        ]
        file.write_text(json.dumps({"rules": documents}))
        assert proffer("library", "import", file, "--database", database).code == 0
        ran = proffer("library", "check", "--database", database, *(["--strict"] if strict else []))
        return ran.code, ran.out

    sound = {"xdm:condition": {**condition, "xdm:value": "person.age >= 18"}}
    doubtful = {"xdm:condition": {**condition, "xdm:value": "optOt = 5"}, "xdm:descripton": "misspelt"}
    broken = {"xdm:condition": {**condition, "xdm:value": "person.age >="}}
    assert check(sound) == (0, "DEV@AdobeOrg, sandbox `prod`:\n1 objects checked, 0 errors, 0 warnings\n")
    code, text = check(sound, doubtful)
    assert code == 0
    assert "warning: eligibility rule `Rule 1`, $.xdm:condition.xdm:value, line 1, column 1: unknown field" in text
    assert "0 errors, 2 warnings" in text
    assert check(sound, doubtful, strict=True)[0] == 1
    code, text = check(sound, doubtful, broken)
    assert code == 1
    assert "error: eligibility rule `Rule 2`, $.xdm:condition.xdm:value, line 1" in text
    path = Path(database.removeprefix("sqlite:///"))
    digest = hashlib.sha256(path.read_bytes()).digest()
    proffer("library", "check", "--database", database)
    assert hashlib.sha256(path.read_bytes()).digest() == digest


def test_a_sandbox_that_does_not_exist_is_named(proffer: Proffer, database: str, tmp_path: Path) -> None:
    rule = tmp_path / "r.pql"
    rule.write_text("optOut != true")
    for command in (("library", "check"), ("rules", "check", rule)):
        ran = proffer(*command, "--database", database, "--sandbox", "nowhere")
        assert ran.code == 1
        assert "nowhere" in ran.err
