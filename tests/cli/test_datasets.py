"""`proffer datasets export`: the library as the four documented datasets."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from cli.commands import Proffer
from proffer.app import DEV_ORGANISATION, DEV_SANDBOX
from proffer.cli.database import find_container, with_services
from proffer.model.ids import EntityKind
from proffer.testing import builders as b

NAMES = ["personalized-offers", "fallback-offers", "placements", "decisions"]


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'proffer.db'}"


def load(proffer: Proffer, database: str, tmp_path: Path, *documents: Any) -> None:
    sections = {
        "personalized-offer": "offers",
        "fallback-offer": "fallbacks",
        "offer-placement": "placements",
        "offer-activity": "decisions",
        "offer-filter": "collections",
        "tag": "tags",
        "eligibility-rule": "rules",
    }
    content: dict[str, list[Any]] = {}
    for document in b.a_library(*documents):
        content.setdefault(sections[document["@id"].split(":")[1]], []).append(document)
    file = tmp_path / "library.json"
    file.write_text(json.dumps(content))
    ran = proffer("library", "import", file, "--database", database)
    assert ran.code == 0, ran.err


def rows(folder: Path, name: str) -> list[Any]:
    text = (folder / f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_four_datasets_say_what_the_library_says(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """In the documented columns, the same rows in both forms."""
    gold = b.an_offer(
        "gold",
        priority=7,
        tags=["vip"],
        rule="adults",
        cap=3,
        caps=[b.a_cap(2, scope="profile") | {"xdm:events": ["click"]}],
    ) | {"xdm:characteristics": {"colour": "gold"}}
    load(proffer, database, tmp_path, gold, b.a_rule("adults"))
    out = tmp_path / "out"

    ran = proffer("datasets", "export", "--out", out, "--form", "jsonl", "--database", database)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [f"{out / name}.jsonl: 1 rows" for name in NAMES]
    again = proffer("datasets", "export", "--out", out, "--database", database)
    assert (again.code, again.err) == (0, "")

    (offer,) = rows(out, "personalized-offers")
    said = offer["_experience"]["decisioning"]
    assert (offer["_id"], offer["_repo"]["etag"]) == (gold["@id"], "1")
    assert said["characteristics"] == {"colour": "gold"}
    assert said["lifecycleStatus"] == "approved"
    assert said["ranking"] == {"priority": 7}
    assert said["calendarConstraints"]["startDate"] == "2025-12-31T12:00:00.000000Z"
    assert said["profileConstraints"] == {
        "eligibilityRule": b.id_of(EntityKind.RULE, "adults"),
        "profileConstraintType": "eligibilityRule",
    }
    assert said["contents"][0]["components"][0]["content"] == "gold"
    assert said["cappingConstraint"] == {"globalCap": 3}
    assert said["frequencyCappingConstraints"] == [
        {"index": 1, "limit": 2, "scope": "profile", "entity": "offer", "events": ["click"]}
    ]
    (decision,) = rows(out, "decisions")
    (criterion,) = decision["_experience"]["decisioning"]["criteria"]
    assert criterion["optionSelection"] == {"filter": b.id_of(EntityKind.COLLECTION, "everything")}
    for name in NAMES:
        table = pyarrow.parquet.read_table(out / f"{name}.parquet").to_pylist()
        assert [row["_id"] for row in table] == [row["_id"] for row in rows(out, name)]


def test_what_was_deleted_is_archived(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Its row stays, with what it last was."""
    load(proffer, database, tmp_path, b.an_offer("gold"))
    out = tmp_path / "out"

    async def work(services: Any, _: object) -> None:
        access = find_container(services, DEV_ORGANISATION, DEV_SANDBOX)
        instance = access.state.catalog.by_id(b.id_of(EntityKind.DECISION, "decision"))
        assert instance is not None
        await services.catalog.delete(access, instance.instance_id)

    with_services(database, work, libraries=True)
    proffer("datasets", "export", "--out", out, "--form", "jsonl", "--database", database)

    (decision,) = rows(out, "decisions")
    assert decision["_experience"]["decisioning"]["lifecycleStatus"] == "archived"
    assert decision["_experience"]["decisioning"]["name"] == "decision"
    assert decision["_repo"]["etag"] == "2"


def test_wrong_forms_and_places_are_refused(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """With what to do instead."""
    wrong = proffer("datasets", "export", "--out", tmp_path, "--form", "csv", "--database", database)
    assert (wrong.code, "`parquet` or `jsonl`" in wrong.err) == (1, True)
    file = tmp_path / "file"
    file.write_text("")
    ran = proffer("datasets", "export", "--out", file / "x", "--database", database)
    assert (ran.code, "cannot write" in ran.err) == (1, True)
