"""`proffer profiles`, `proffer audiences` and `proffer vacuum` do what their pages say."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Proffer


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'a.db'}"


def customers(path: Path, count: int, **more: Any) -> Path:
    rows = [
        {"identityMap": {"CRMID": [{"id": str(n)}], "Email": [{"id": f"p{n}@x"}]}, "n": n, **more} for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_profiles_are_imported_and_counted(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """What was taken in and what was not is said; a rule counts whom it picks."""
    path = customers(tmp_path / "a.jsonl", 10)
    path.write_text(path.read_text(encoding="utf-8") + "bad\n", encoding="utf-8")
    ran = proffer("profiles", "import", path, "--database", database)

    assert ran.code == 0
    assert ran.out.startswith(f"{path}: 10 imported, 1 rejected (reasons in `{path}.rejects.jsonl`)")
    assert "11 rows" in ran.err
    ran = proffer("audiences", "estimate", "n >= 7", "--database", database)
    assert ran.out == "3 of 10 profiles\n"
    ran = proffer("audiences", "estimate", "n >=", "--database", database)
    assert (ran.code, ran.out) == (1, "")


def test_an_estimate_reads_a_file_and_says_what_is_wrong_with_the_rule(
    proffer: Proffer, database: str, tmp_path: Path
) -> None:
    """A misspelt field is a warning with the field that there is; what is no condition is refused."""
    proffer("profiles", "import", customers(tmp_path / "a.jsonl", 1), "--database", database)
    rule = tmp_path / "rule.pql"
    rule.write_text("n = 0", encoding="utf-8")

    from_file, misspelt, refused, missing = (
        proffer("audiences", "estimate", text, "--database", database)
        for text in (rule, "person.shoeSise = 7", "n / 2", "rules/a.pql")
    )

    assert (from_file.out, from_file.err) == ("1 of 1 profiles\n", "")
    assert misspelt.out == "0 of 1 profiles\n"
    assert "warning: unknown field `shoeSise`" in misspelt.err
    assert refused.code != 0
    assert "always a number" in refused.err
    assert missing.code != 0
    assert "`rules/a.pql`: cannot be read" in missing.err


def test_what_is_erased_is_gone_from_the_file_after_vacuum(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """It is said what there was; before the vacuum the bytes may still be there, after it they are not."""
    secret = "a-secret-to-be-forgotten"
    path = customers(tmp_path / "a.jsonl", 3, word=secret)
    event: dict[str, Any] = {
        "_id": "e1",
        "timestamp": "2026-01-01T00:00:00Z",
        "note": f"seen {secret}",
    }
    event["identityMap"] = {"Email": [{"id": "p0@x"}]}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")
    proffer("profiles", "import", path, "--database", database)
    for number in range(3):
        ran = proffer("profiles", "erase", "--identity", f"email:p{number}@x", "--database", database)
        assert ran.code == 0
        assert f"2 identities (CRMID:{number}, Email:p{number}@x), 2 attributes" in ran.out
    again = proffer("profiles", "erase", "--identity", "email:p0@x", "--database", database)
    assert (again.code, again.out) == (1, "")
    ran = proffer("vacuum", "--database", database)

    assert ran.code == 0
    kept = b"".join(one.read_bytes() for one in tmp_path.glob("a.db*"))
    assert all(word not in kept for word in (secret.encode(), b"p0@x", b"p2@x"))
    assert b"p1@x" not in kept
    assert proffer("vacuum", "--database", f"sqlite:///{tmp_path / 'no.db'}").code == 1


def test_a_list_is_uploaded_enriches_and_is_replaced(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Members are in the audience, known or not; who is not in the next file leaves."""
    proffer("profiles", "import", customers(tmp_path / "a.jsonl", 3), "--database", database)
    listed = tmp_path / "list.csv"
    listed.write_text("mail,tier\np1@x,gold\nnew@x,silver\n", encoding="utf-8")
    options = ("--namespace", "email", "--database", database)
    ran = proffer("audiences", "upload", "Loyal", listed, *options)
    assert ran.out.endswith(": 2 members, 0 removed\n")
    audience = ran.out.split()[1].rstrip(":")

    def count(condition: str) -> str:
        rule = f"segmentMembership.ups.`{audience}`.{condition}"
        return proffer("audiences", "estimate", rule, "--database", database).out.split(" of")[0]

    assert count('status = "realized"') == "2"
    assert count('enrichment.tier = "gold"') == "1"
    listed.write_text("tier,mail\nplatinum,p1@x\n", encoding="utf-8")
    ran = proffer("audiences", "upload", audience, listed, "--identity", "mail", *options)
    assert ran.out == f"audience {audience}: 1 members, 1 removed\n"
    assert [count(f'status = "{one}"') for one in ("existing", "exited")] == ["1", "1"]
    assert count('enrichment.tier = "platinum"') == "1"


def test_a_list_that_loses_most_members_needs_an_option(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """The numbers and the option are named; nobody has left before."""
    listed = tmp_path / "list.csv"
    listed.write_text("mail;n\n" + "".join(f"p{number}@x;1\n" for number in range(3)), encoding="utf-8")
    options = ("--namespace", "email", "--database", database)
    audience = proffer("audiences", "upload", "Loyal", listed, *options).out.split()[1].rstrip(":")
    listed.write_text("mail;n\np1@x;1\n", encoding="utf-8")
    refused = proffer("audiences", "upload", audience, listed, *options)
    forced = proffer("audiences", "upload", audience, listed, "--replace-all", "--delimiter", ";", *options)

    assert refused.code == 1
    assert "the list has 1 customer and the audience has 3 members" in refused.err
    assert "--replace-all" in refused.err
    assert forced.out == f"audience {audience}: 1 members, 2 removed\n"


@pytest.mark.parametrize("content", ["mail,tier\np1@x\n", "mail,tier\n,gold\n", "mail,tier\n \u00a0,gold\n"])
def test_a_list_with_a_wrong_line_is_refused_whole(
    proffer: Proffer, database: str, tmp_path: Path, content: str
) -> None:
    """Nobody of it is in the audience, which is not even made."""
    listed = tmp_path / "list.csv"
    listed.write_text(content, encoding="utf-8")
    ran = proffer(*("audiences", "upload", "Loyal", listed, "--namespace", "Email", "--database", database))

    assert ran.code == 1
    assert "line" in ran.err


def test_everybody_is_evaluated(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Without audiences nothing changes; the number of profiles is said."""
    proffer("profiles", "import", customers(tmp_path / "a.jsonl", 4), "--database", database)
    ran = proffer("audiences", "evaluate", "--database", database)

    assert ran.out == "4 profiles evaluated, 0 changed their memberships\n"
    wrong = proffer("profiles", "erase", "--identity", "ann", "--database", database)
    assert wrong.code == 2
