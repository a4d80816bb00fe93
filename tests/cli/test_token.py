"""`proffer token`: create, list and revoke."""

import json
import re
from pathlib import Path

import pytest

from cli.commands import Proffer


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'p.db'}"


def test_a_token_is_created_with_its_container(proffer: Proffer, database: str) -> None:
    """As JSON: token, organisation, sandbox, container, and nothing else; a second one is of the same container."""
    ran = proffer("token", "create", "--org", "a@AdobeOrg", "--database", database, "--json")
    assert (ran.code, ran.err) == (0, "")
    made = json.loads(ran.out)
    assert list(made) == ["token", "organisation", "sandbox", "container"]
    assert re.fullmatch(r"pfr_[A-Za-z0-9_-]{43}", made["token"])
    assert (made["organisation"], made["sandbox"]) == ("a@AdobeOrg", "prod")
    again = json.loads(proffer("token", "create", "--org", "a@AdobeOrg", "--database", database, "--json").out)
    assert again["container"] == made["container"]
    assert again["token"] != made["token"]
    stage = json.loads(
        proffer(
            *("token", "create", "--org", "a@AdobeOrg", "--sandbox", "stage"),
            *("--database", database, "--json"),
        ).out
    )
    assert (stage["sandbox"], stage["container"] == made["container"]) == ("stage", False)


def test_a_token_in_words(proffer: Proffer, database: str) -> None:
    """Each of the four on a line of its own, and the advice to keep it."""
    ran = proffer("token", "create", "--org", "a@AdobeOrg", "--database", database)
    lines = dict(line.split(maxsplit=1) for line in ran.out.splitlines()[:4])
    assert list(lines) == ["token", "organisation", "sandbox", "container"]
    assert "only its hash is stored" in ran.out


def test_the_text_of_a_token_is_nowhere_in_the_database(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Not in the file, nor in its log; listing shows neither text nor hash."""
    ran = proffer("token", "create", "--org", "a@AdobeOrg", "--database", database, "--json")
    text = json.loads(ran.out)["token"]
    files = list(tmp_path.iterdir())
    assert files
    for file in files:
        content = file.read_bytes()
        assert text.encode() not in content
        assert text.removeprefix("pfr_").encode() not in content
    for shown in (
        proffer("token", "list", "--database", database, "--json"),
        proffer("token", "list", "--database", database),
    ):
        assert text not in shown.out
        assert not re.search(r"[0-9a-f]{40}", shown.out)


def test_tokens_are_listed_and_revoked(proffer: Proffer, database: str) -> None:
    """By id, once; the state says what has become of each."""
    for label, options in (
        ("first", []),
        ("second", ["--permission", "library:read", "--days", 3]),
    ):
        proffer(
            *("token", "create", "--org", "a@AdobeOrg", "--label", label),
            *("--database", database, *options),
        )
    first, second = json.loads(proffer("token", "list", "--database", database, "--json").out)
    assert list(first) == [
        *("id", "organisation", "sandbox", "permissions", "label", "created", "state"),
    ]
    assert [first["label"], second["label"]] == ["first", "second"]
    assert first["permissions"] == [
        *("decisions:execute", "library:read", "library:write", "profiles:read", "profiles:write"),
    ]
    assert second["permissions"] == ["library:read"]
    assert {first["state"], second["state"]} == {"valid"}

    ran = proffer("token", "revoke", first["id"], "--database", database)
    assert (ran.code, ran.out) == (0, f"revoked {first['id']}\n")
    ran = proffer("token", "revoke", first["id"], "--database", database)
    assert (ran.code, ran.out) == (1, "")
    assert "proffer token list" in ran.err
    first, second = json.loads(proffer("token", "list", "--database", database, "--json").out)
    assert (first["state"], second["state"]) == ("revoked", "valid")


def test_a_list_in_words_cuts_nothing_off(proffer: Proffer, database: str) -> None:
    """Ids can be copied, and a long organisation is read in full, also where the terminal is narrow."""
    organisation = "0123456789abcdefghijklmnopqrstuvwxyz@AdobeOrg"
    proffer("token", "create", "--org", organisation, "--database", database)
    (token,) = json.loads(proffer("token", "list", "--database", database, "--json").out)
    shown = proffer("token", "list", "--database", database).out

    assert token["id"] in shown
    assert "…" not in shown
    cells = [line.split("│")[2].strip() for line in shown.splitlines() if line.count("│") > 2]
    assert "".join(cells) == organisation


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--permission", "everything"], 1, "library:read"),
        (["--permission", "admin", "--permission", "no", "--permission", "nor"], 1, "`nor`"),
        (["--days", "0"], 2, "--days"),
        (["--days", "99999999999"], 2, "--days"),
        (["--org", ""], 1, "not a valid name of an organisation"),
        (["--org", "a\nb"], 1, "not a valid name of an organisation"),
        (["--sandbox", " prod"], 1, "not a valid name of a sandbox"),
    ],
)
def test_what_cannot_be_created_is_said_in_words(
    proffer: Proffer, database: str, options: list[str], code: int, words: str
) -> None:
    """No traceback, nothing on stdout, and nothing created."""
    ran = proffer("token", "create", "--org", "a@AdobeOrg", "--database", database, *options)

    assert (ran.code, ran.out) == (code, "")
    assert words in re.sub(r"\x1b\[[0-9;]*m", "", ran.err)
    assert "Traceback" not in ran.err
    assert json.loads(proffer("token", "list", "--database", database, "--json").out) == []


def test_the_database_may_come_from_the_environment(
    proffer: Proffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROFFER_DATABASE is used where no option says otherwise; one that cannot be opened is told."""
    monkeypatch.setenv("PROFFER_DATABASE", f"sqlite:///{tmp_path / 'other.db'}")
    assert proffer("token", "list", "--json").out == "[]\n"
    assert (tmp_path / "other.db").exists()
    (tmp_path / "bad.db").write_text("no database" * 100)
    for url in (f"sqlite:///{tmp_path / 'bad.db'}", "sqlite:////nowhere/p.db", "mysql://x"):
        ran = proffer("token", "list", "--database", url)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith("proffer: ")
        assert "Traceback" not in ran.err
