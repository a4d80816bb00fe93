"""`proffer library export` and `diff`: out as a file, and what two files say differently."""

from pathlib import Path

import pytest

from cli.commands import Proffer
from support.server import sample_library


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'proffer.db'}"


def test_what_is_exported_is_the_library(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Loaded again it changes nothing; loaded elsewhere it makes the same library, byte for byte in its export."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    other = f"sqlite:///{tmp_path / 'other.db'}"
    proffer("library", "load", sample_library(), "--database", database)
    ran = proffer("library", "export", first, "--database", database)
    assert (ran.code, ran.err, ran.out) == (0, "", f"{first}: 143 objects\n")

    assert "(0 created, 0 changed)" in proffer("library", "load", first, "--database", database).out
    assert "(143 created, 0 changed)" in proffer("library", "load", first, "--database", other).out
    proffer("library", "export", second, "--database", other)
    assert first.read_bytes() == second.read_bytes()
    printed = proffer("library", "export", "--database", other).out
    assert printed == first.read_text(encoding="utf-8")
    assert proffer("library", "diff", sample_library(), first).out == ""


def test_nothing_is_an_empty_file(proffer: Proffer, database: str) -> None:
    """A sandbox that is not there is refused; one without objects exports as nothing."""
    assert proffer("library", "export", "--database", database).code == 1
    empty = Path(database.removeprefix("sqlite:///")).with_name("empty.yaml")
    empty.write_text("tags: []\n")
    proffer("library", "load", empty, "--database", database)

    assert proffer("library", "export", "--database", database).out == "{}\n"


def test_texts_survive(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Whatever a text holds: lines, spaces at its end, words that YAML takes for something else."""
    texts = [
        "a\nb\n",
        "a \n b",
        "",
        "yes",
        "012",
        "2024-01-01",
        "a: b",
        "# x",
        "ü\u2028 \t",
        "'\"",
        "~",
    ]
    written, again = tmp_path / "a.json", tmp_path / "b.yaml"
    import json

    written.write_text(json.dumps({"tags": [{"xdm:name": "a", "texts": texts, "n": [1, 1.5, None, True]}]}))
    proffer("library", "load", written, "--database", database)
    proffer("library", "export", again, "--database", database)

    assert "(0 created, 0 changed)" in proffer("library", "load", again, "--database", database).out


def test_a_difference_is_told_by_operations(proffer: Proffer, tmp_path: Path) -> None:
    """Objects added, removed and changed; ids of either spelling are one."""
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(
        "tags:\n- {'@id': xcore:tag:1, xdm:name: a}\n- {'@id': xcore:tag:2, xdm:name: b}\n- xdm:name: c\n"
    )
    after.write_text("tags:\n- {'@id': dps:tag:1, xdm:name: a2}\n- {'@id': xcore:tag:3, xdm:name: d}\n- xdm:name: c\n")
    ran = proffer("library", "diff", before, after)

    assert ran.code == 1
    assert ran.out.splitlines() == [
        "changed: tag `a2` dps:tag:1",
        '  replace /xdm:name "a2"',
        "removed: tag `b` xcore:tag:2",
        "added: tag `d` xcore:tag:3",
    ]
    assert proffer("library", "diff", before, before).code == 0
