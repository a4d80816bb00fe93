"""`proffer library load`: files, and what is wrong with them."""

import json
import urllib.request
from pathlib import Path

import pytest

from cli.commands import Proffer
from support.process import run_server
from support.server import NAMESPACE, XCORE, sample_library


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'proffer.db'}"


def test_yaml_and_json_say_the_same(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """A file is created once, whichever way it is written; dates stay the text they are."""
    yaml, json_, tabs = (tmp_path / name for name in ("a.yaml", "a.json", "b.JSON"))
    yaml.write_text("tags:\n  - xdm:name: a\n    since: 2024-01-01\n    at: 2024-01-01T00:00:00Z\n")
    json_.write_text(json.dumps({"tags": [{"xdm:name": "a", "since": "2024-01-01", "at": "2024-01-01T00:00:00Z"}]}))
    tabs.write_bytes(b'\xef\xbb\xbf{\n\t"tags": [\n\t\t{"xdm:name": "b"}]}')

    def load(*files: Path) -> list[str]:
        ran = proffer("library", "load", *files, "--database", database)
        assert (ran.code, ran.err) == (0, "")
        return [line.partition(": ")[2] for line in ran.out.splitlines()]

    assert load(yaml) == ["1 tag (1 created, 0 changed)"]
    assert load(yaml, json_) == ["1 tag (0 created, 0 changed)"] * 2
    assert load(tabs) == ["1 tag (1 created, 0 changed)"]
    yaml.write_text("tags:\n  - {xdm:name: a, since: 2025-01-01}\n  - xdm:name: c\n")
    assert load(yaml) == ["2 tags (1 created, 1 changed)"]
    assert load(yaml) == ["2 tags (0 created, 0 changed)"]


def test_the_sample_is_loaded_beside_a_running_server(proffer: Proffer, tmp_path: Path) -> None:
    """What is loaded is served at once, and loading it again changes nothing."""
    database = f"sqlite:///{tmp_path / 'proffer.db'}"
    with run_server(tmp_path) as address:
        ran = proffer("library", "load", sample_library(), "--database", database)
        assert (ran.code, ran.err) == (0, "")
        assert "(143 created, 0 changed)" in ran.out
        url = f"{address}{XCORE}/instances?schema={NAMESPACE}personalized-offer&limit=1"

        def total() -> int:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
                return int(json.load(answer)["_embedded"]["total"])

        assert any(total() == 64 for _ in range(200))
        again = proffer("library", "load", sample_library(), "--database", database)
        assert "(0 created, 0 changed)" in again.out


BAD: list[tuple[str, bytes, list[str]]] = [
    ("missing.yaml", b"", ["cannot read", "No such file"]),
    ("latin.yaml", "tags: [{xdm:name: \xe9}]".encode("latin-1"), ["not UTF-8"]),
    ("cut.yaml", b"tags:\n  - xdm:name: [\n", ["line 3, column 1"]),
    ("cut.json", b'{"tags":\n [}', ["line 2, column 3"]),
    ("empty.json", b"", ["empty"]),
    ("empty.yaml", b"", ["not a mapping"]),
    ("twice.yaml", b"tags: []\ntags: []\n", ["line 2, column 1", "tags"]),
    ("two.yaml", b"tags: []\n---\ntags: []\n", ["line 2, column 1"]),
    ("object.yaml", b"tags:\n  - !!python/object:os.system x\n", ["line 2, column 5"]),
    ("bytes.yaml", b"tags:\n  - xdm:name: !!binary aGk=\n", ["$.tags[0].xdm:name", "bytes"]),
    ("key.yaml", b"tags:\n  - xdm:name: a\n    7: x\n", ["$.tags[0]", "`7` is not text"]),
    ("nan.yaml", b"tags:\n  - xdm:name: a\n    x: [.nan, .inf]\n", ["$.tags[0].x[0]", ".x[1]"]),
    ("large.yaml", b"tags:\n  - xdm:name: a\n    x: 99999999999999999999\n", ["$.tags[0].x", "64"]),
    ("half.yaml", b'tags:\n  - xdm:name: "\\ud800"\n', ["$.tags[0].xdm:name", "surrogate"]),
    ("itself.yaml", b"tags: &a\n  - xdm:name: a\n    x: *a\n", ["more than 100 levels"]),
    ("section.yaml", b"tag:\n  - xdm:name: a\n", ["$.tag:", "lists are placements, tags"]),
    ("shape.yaml", b"tags:\n  - xdm:name: a\n  - xdm:name: 7\n", ["$.tags[1].xdm:name"]),
    ("twins.yaml", b"tags:\n  - xdm:name: a\n  - xdm:name: a\n", ["$.tags[1].xdm:name"]),
    (
        "zone.yaml",
        b"""
offers:
  - xdm:name: a
    xdm:status: draft
    xdm:representations: []
    xdm:rank: {xdm:priority: 1}
    xdm:selectionConstraint:
      xdm:startDate: 2024-01-01 00:00:00
      xdm:endDate: 2024-01-02T00:00:00Z
""",
        ["$.offers[0].xdm:selectionConstraint.xdm:startDate"],
    ),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD, ids=[case[0] for case in BAD])
def test_a_bad_file_is_said_in_words(
    proffer: Proffer, database: str, tmp_path: Path, name: str, content: bytes, words: list[str]
) -> None:
    """The file, the place in it, and how to mend it; no traceback."""
    file = tmp_path / name
    if not name.startswith("missing"):
        file.write_bytes(content)
    ran = proffer("library", "load", file, "--database", database)

    assert (ran.code, ran.out) == (1, "")
    assert str(file) in ran.err.splitlines()[0]
    for word in words:
        assert word in ran.err
    assert "Traceback" not in ran.err


def test_no_file_is_loaded_if_one_cannot_be_read(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """All are read first; of those that can be, the ones before the first refusal are loaded and reported."""
    good, bad, cut = (tmp_path / name for name in ("good.yaml", "bad.yaml", "cut.yaml"))
    good.write_text("tags: [{xdm:name: a}]")
    bad.write_text("tags: [{xdm:name: 7}]")
    cut.write_text("tags: [")
    assert proffer("library", "load", good, cut, "--database", database).out == ""
    ran = proffer("library", "load", good, bad, "--database", database)
    assert (ran.code, ran.out) == (1, f"{good}: 1 tag (1 created, 0 changed)\n")
    assert str(bad) in ran.err


def test_a_library_is_loaded_where_it_is_told(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Each organisation and sandbox has a library of its own, created when absent."""
    file = tmp_path / "a.yaml"
    file.write_text("tags: [{xdm:name: a}]")
    for where in (["--org", "a@AdobeOrg"], ["--org", "a@AdobeOrg", "--sandbox", "stage"], []):
        for count in (1, 0):
            ran = proffer("library", "load", file, "--database", database, *where)
            assert f"({count} created" in ran.out
