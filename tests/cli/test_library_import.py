"""`proffer library import` and `export` to folders: libraries in and out, and what a dry run says."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cli.commands import Proffer
from support.server import sample_library


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'proffer.db'}"


@pytest.fixture
def other(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'other.db'}"


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def test_a_folder_moves_a_library(proffer: Proffer, database: str, other: str, tmp_path: Path) -> None:
    """Out of one database as a file for each kind, into an empty one, and out again: the same bytes."""
    first, second = tmp_path / "first", tmp_path / "second"
    proffer("library", "import", sample_library(), "--database", database)
    ran = proffer("library", "export", first, "--database", database)
    assert (ran.code, ran.err, ran.out) == (0, "", f"{first}: 143 objects\n")
    assert "offers.yaml" in contents(first)

    ran = proffer("library", "import", first, "--database", other)
    assert (ran.code, ran.err) == (0, "")
    assert "(143 created, 0 changed)" in ran.out
    proffer("library", "export", second, "--database", other)
    assert contents(first) == contents(second)
    again = proffer("library", "import", first, "--database", database)
    assert "(0 created, 0 changed)" in again.out


def test_the_order_of_making_does_not_show(proffer: Proffer, database: str, other: str, tmp_path: Path) -> None:
    """Two libraries with the same objects are exported alike, whichever object came first."""
    objects = [{"@id": f"xcore:tag:{at}", "xdm:name": f"n{at % 3}{at}"} for at in range(1, 8)]
    for where, order in ((database, objects), (other, objects[::-1])):
        file, folder = tmp_path / "tags.json", tmp_path / Path(where).stem
        file.write_text(json.dumps({"tags": order}))
        proffer("library", "import", file, "--database", where)
        proffer("library", "export", folder, "--database", where)

    assert contents(tmp_path / "proffer") == contents(tmp_path / "other")


def test_a_kind_without_objects_leaves_no_file(proffer: Proffer, database: str, other: str, tmp_path: Path) -> None:
    """A file of a kind that has none any more goes; files that are not the export's stay."""
    folder, file = tmp_path / "library", tmp_path / "a.yaml"
    folder.mkdir()
    (folder / "README.md").write_text("ours")
    (folder / "placements.yaml").write_text("placements: []")
    file.write_text("tags: [{'@id': xcore:tag:1, xdm:name: a}]")
    proffer("library", "import", file, "--database", database)
    proffer("library", "export", folder, "--database", database)

    assert contents(folder) == {
        "README.md": b"ours",
        "tags.yaml": b"tags:\n- '@id': xcore:tag:1\n  xdm:name: a\n",
    }
    assert "1 tag (1 created" in proffer("library", "import", folder, "--database", other).out


def test_json_is_written_where_the_name_says_so(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """A name that ends in .json gets JSON, which is read back as the same."""
    file, small = tmp_path / "a.json", tmp_path / "small.yaml"
    small.write_text("tags: [{'@id': xcore:tag:2, xdm:name: ä}, {'@id': xcore:tag:1, xdm:name: b}]")
    proffer("library", "import", small, "--database", database)
    proffer("library", "export", file, "--database", database)

    tags = json.loads(file.read_text(encoding="utf-8"))["tags"]
    assert [tag["xdm:name"] for tag in tags] == ["b", "ä"]
    assert proffer("library", "diff", small, file).code == 0


def test_what_cannot_be_written_is_said(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """A folder that is not there is no place for a file, and a file none for a folder."""
    file = tmp_path / "a.yaml"
    file.write_text("tags: [{xdm:name: a}]")
    proffer("library", "import", file, "--database", database)
    for target in (tmp_path / "nowhere" / "b.yaml", file / "folder"):
        ran = proffer("library", "export", target, "--database", database)
        assert ran.code == 1
        assert f"cannot write `{target}`" in ran.err


def test_the_files_of_a_folder_are_one_library(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """References go across files whatever their names; twins and mistakes are told with their file."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "a.yaml").write_text("collections: [{xdm:name: c, xdm:filterType: anyTags, xdm:ids: [xcore:tag:1]}]")
    (folder / "b.json").write_text('{"tags": [{"@id": "xcore:tag:1", "xdm:name": "t"}]}')
    ran = proffer("library", "import", folder, "--database", database)
    assert (ran.code, ran.err) == (0, "")

    (folder / "c.yaml").write_text("tags: [{'@id': dps:tag:1, xdm:name: u}]")
    ran = proffer("library", "import", folder, "--database", database)
    assert ran.code == 1
    assert "c.yaml: $.tags[0].@id: `dps:tag:1` is also the `@id` of the object at b.json: $.tags[0]" in (ran.err)
    (folder / "c.yaml").write_text("tags: [{xdm:name: 7}]")
    assert "c.yaml: $.tags[0].xdm:name" in (proffer("library", "import", folder, "--database", database).err)
    (folder / "c.yaml").write_text("tagss: []")
    assert "c.yaml: $.tagss" in (proffer("library", "import", folder, "--database", database).err)


def test_folders_are_compared(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """A folder and a file of one library are alike; an object changed, one gone and one new are told."""
    before, after, small = (tmp_path / name for name in ("before", "after", "small.json"))
    named = [{"@id": f"xcore:tag:{at}", "xdm:name": f"t{at}"} for at in range(1, 5)]
    place = {"xdm:filterType": "anyTags", "xdm:ids": ["xcore:tag:3"]}
    small.write_text(json.dumps({"tags": named, "collections": [{"xdm:name": "c", **place}]}))
    proffer("library", "import", small, "--database", database)
    for folder in (before, after):
        proffer("library", "export", folder, "--database", database)
    assert sorted(contents(after)) == ["collections.yaml", "tags.yaml"]
    assert proffer("library", "diff", before, after).code == 0
    whole = tmp_path / "whole.yaml"
    proffer("library", "export", whole, "--database", database)
    assert proffer("library", "diff", whole, after).code == 0

    yaml = YAML(typ="safe")
    tags = yaml.load(after / "tags.yaml")["tags"]
    (gone, changed, *kept) = tags
    fresh = {"@id": "xcore:tag:fffffff", "xdm:name": "fresh"}
    yaml.dump({"tags": [*kept, {**changed, "xdm:name": "other"}, fresh]}, after / "tags.yaml")
    ran = proffer("library", "diff", before, after)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        f"removed: tag `{gone['xdm:name']}` {gone['@id']}",
        f"changed: tag `other` {changed['@id']}",
        '  replace /xdm:name "other"',
        "added: tag `fresh` xcore:tag:fffffff",
    ]


def test_a_dry_run_writes_nothing(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """It says what would be created and changed and how, and the database is as it was, to the byte."""
    file, path = tmp_path / "a.yaml", Path(database.removeprefix("sqlite:///"))
    file.write_text("tags: [{'@id': xcore:tag:1, xdm:name: a, x: [1, 2]}]")
    empty = proffer("library", "import", file, "--dry-run", "--database", database)
    assert (empty.code, empty.err) == (0, "")
    assert empty.out.splitlines() == [
        "would be created: tag `a` xcore:tag:1",
        f"{file}: 1 tag (1 created, 0 changed); dry run, nothing was written",
    ]
    assert not path.exists()

    proffer("library", "import", file, "--database", database)
    held = path.read_bytes()
    file.write_text("tags: [{'@id': xcore:tag:1, xdm:name: ä, x: [1, {y: z}]}, {'@id': xcore:tag:2, xdm:name: b}]")
    ran = proffer("library", "import", file, "--dry-run", "--database", database)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "would be changed: tag `ä` xcore:tag:1",
        '  replace /xdm:name "ä"',
        '  replace /x/1 {"y": "z"}',
        "would be created: tag `b` xcore:tag:2",
        f"{file}: 2 tags (1 created, 1 changed); dry run, nothing was written",
    ]
    elsewhere = ("--database", database, "--org", "new@AdobeOrg")
    assert "(2 created" in proffer("library", "import", file, "--dry-run", *elsewhere).out
    assert path.read_bytes() == held
    assert proffer("library", "export", *elsewhere).code == 1
    assert "(1 created, 1 changed)" in proffer("library", "import", file, "--database", database).out


def test_a_dry_run_says_every_refusal(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Where an import ends at the first object that is refused, a dry run tells of them all, and ends with 1."""
    file = tmp_path / "a.yaml"
    file.write_text(
        "tags: [{xdm:name: 7}, {xdm:name: a}]\n"
        "collections: [{xdm:name: c, xdm:filterType: anyTags, xdm:ids: [xcore:tag:9]}]\n"
    )
    ran = proffer("library", "import", file, "--dry-run", "--database", database)

    assert ran.code == 1
    assert "$.tags[0].xdm:name" in ran.err
    assert "$.collections[0].xdm:ids[0]: there is no tag `xcore:tag:9`" in ran.err
    assert f"`{file}`" in ran.err
    assert ran.out.splitlines()[0] == "would be created: tag `a`" + ran.out.splitlines()[0][25:]
    assert "1 tag (1 created, 0 changed); 2 would be refused" in ran.out


@pytest.mark.parametrize("options", [("--dry-run",), ()])
def test_an_import_checks_its_rules(proffer: Proffer, database: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Doubts, rules that could not be saved, and rules that cannot be evaluated; a dry run says the same."""
    file, profiles = tmp_path / "a.yaml", tmp_path / "p.jsonl"
    profiles.write_text(json.dumps({"identityMap": {"CRMID": [{"id": "1"}]}, "_acme": {"plan": "free"}}))
    proffer("profiles", "import", profiles, "--database", database)
    rules = ["preferredLanguage", "1 = 1", "person.age between 1 and 2", '_acme.plaan = "free"', '_acme.plan = "x"']
    file.write_text(
        json.dumps(
            {
                "rules": [
                    {"xdm:name": text, "xdm:condition": {"type": "PQL", "format": "pql/text", "value": text}}
                    for text in rules
                ]
            }
        )
    )
    ran = proffer("library", "import", file, *options, "--database", database)
    parts = [
        "warning: $.rules[0].xdm:condition.value: a text is a condition",
        "warning: $.rules[1].xdm:condition.value: this rule is true for everybody",
        "warning: $.rules[3].xdm:condition.value: unknown field `plaan`; did you mean `plan`?",
        "line 1, column 12: `between` is not an operator; it is stored and counts as false",
    ]

    assert ran.code == 0
    assert [part for part in parts if part not in ran.err] == []
    assert "$.rules[4]" not in ran.err
    assert "5 eligibility rules (5 created, 0 changed)" in ran.out


def test_an_id_once_used_is_refused_in_a_dry_run_too(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """The copy that a dry run works on remembers what was deleted, as the database does."""
    import asyncio

    from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services, open_store
    from proffer.cli.database import find_container
    from proffer.config import Settings

    file = tmp_path / "a.yaml"
    file.write_text("tags: [{'@id': xcore:tag:1, xdm:name: a}]")
    proffer("library", "import", file, "--database", database)

    async def delete() -> None:
        services = Services(await open_store(Settings(database=database)))
        await services.registry.catch_up()
        access = find_container(services, DEV_ORGANISATION, DEV_SANDBOX)
        (tag,) = access.state.catalog
        await services.catalog.delete(access, tag.instance_id)
        await services.stop()

    asyncio.run(delete())
    for options in (["--dry-run"], []):
        ran = proffer("library", "import", file, "--database", database, *options)
        assert ran.code == 1
        assert "xcore:tag:1" in ran.err


def test_new_ids_are_given_and_references_follow(proffer: Proffer, database: str, other: str, tmp_path: Path) -> None:
    """Into another library under other ids: the same but for those; doing it again makes nothing twice."""
    proffer("library", "import", sample_library(), "--database", database)
    new = ("--ids", "new", "--database", other)
    ran = proffer("library", "import", sample_library(), *new)
    assert (ran.code, ran.err) == (0, "")
    assert "(143 created, 0 changed)" in ran.out
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    proffer("library", "export", first, "--database", database)
    proffer("library", "export", second, "--database", other)

    before, after = (json.loads(one.read_text(encoding="utf-8")) for one in (first, second))
    text = second.read_text(encoding="utf-8")
    for section, objects in before.items():
        for one, same in zip(objects, after[section], strict=True):
            assert one["@id"] != same["@id"]
            assert one["@id"] not in text
            text = text.replace(same["@id"], one["@id"])
    assert json.loads(text) == before
    assert "(0 created, 0 changed)" in proffer("library", "import", sample_library(), *new).out
    dry = proffer("library", "import", sample_library(), *new, "--dry-run")
    assert "(0 created, 0 changed)" in dry.out


def test_new_ids_need_names_that_say_which(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Two objects of one kind and name, in the file or in the library, are refused where ids do not count."""
    file, one = tmp_path / "a.json", {"xdm:componentType": "html", "xdm:channel": "web"}
    html = "https://ns.adobe.com/experience/offer-management/content-component-html"
    one["xdm:componentType"] = html
    named = [{"@id": f"xcore:offer-placement:{at}", "xdm:name": "p", **one} for at in (1, 2)]
    file.write_text(json.dumps({"placements": named}))
    ran = proffer("library", "import", file, "--ids", "new", "--database", database)
    assert ran.code == 1
    assert "$.placements[1].xdm:name: the object at $.placements[0]" in ran.err

    assert proffer("library", "import", file, "--database", database).code == 0
    file.write_text(json.dumps({"placements": [{**named[0], "@id": "dps:offer-placement:9"}]}))
    ran = proffer("library", "import", file, "--ids", "new", "--database", database)
    assert ran.code == 1
    assert "2 objects of kind placement named `p`" in ran.err


def test_the_first_of_two_representations_is_taken_over(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Where an offer has two for one placement, the second is left out with a warning; twice changes nothing."""
    html = "https://ns.adobe.com/experience/offer-management/content-component-html"
    here = [
        {
            "xdm:placement": f"{scheme}:offer-placement:1",
            "xdm:components": [{"@type": html, "dc:format": "text/html", "xdm:content": scheme}],
        }
        for scheme in ("xcore", "dps")
    ]
    offer = {"xdm:name": "f", "xdm:status": "approved", "xdm:representations": here}
    place = {"@id": "xcore:offer-placement:1", "xdm:name": "p"}
    file, out = tmp_path / "a.json", tmp_path / "out.json"
    file.write_text(
        json.dumps(
            {
                "placements": [{**place, "xdm:channel": "web", "xdm:componentType": html}],
                "fallbacks": [offer],
            }
        )
    )
    for made in ("2 created", "0 created"):
        ran = proffer("library", "import", file, "--database", database)
        assert ran.code == 0
        assert f"{made}, 0 changed" in ran.out
        assert "$.fallbacks[0].xdm:representations[1]: representation 0 is also for placement" in ran.err
    proffer("library", "export", out, "--database", database)
    assert json.loads(out.read_text())["fallbacks"][0]["xdm:representations"] == here[:1]


def test_a_source_is_named_once(proffer: Proffer, database: str) -> None:
    """Files or an address: neither and both are refused, and so is a token that would be sent nowhere."""
    for arguments in ((), (sample_library(), "--from-url", "http://127.0.0.1:1")):
        ran = proffer("library", "import", *arguments, "--database", database)
        assert ran.code == 1
        assert "use --from-url, not both" in ran.err
    ran = proffer("library", "import", sample_library(), "--token", "x", "--database", database)
    assert ran.code == 1
    assert "need --from-url" in ran.err


def test_imported_content_that_is_not_json_is_reported_as_not_delivered(proffer: Proffer, tmp_path: Path) -> None:
    """It is stored as it is; a rule that does not compile counts as false instead."""
    component = {
        "@type": "https://ns.adobe.com/experience/offer-management/content-component-json",
        "dc:format": "application/json",
        "xdm:content": '{"a": 1,}',
    }
    placement = {
        "@id": "xcore:offer-placement:1",
        "xdm:name": "JSON",
        "xdm:channel": "https://ns.adobe.com/xdm/channel-types/web",
        "xdm:componentType": component["@type"],
    }
    fallback = {
        "xdm:name": "Broken",
        "xdm:status": "approved",
        "xdm:representations": [{"xdm:placement": placement["@id"], "xdm:components": [component]}],
    }
    file = tmp_path / "library.json"
    file.write_text(json.dumps({"placements": [placement], "fallbacks": [fallback]}))
    ran = proffer("library", "import", file, "--database", f"sqlite:///{tmp_path}/p.db")

    assert ran.code == 0
    assert "the content is not JSON" in ran.err
    assert "it is stored and is not delivered" in ran.err
