"""Files of customers are brought in whole: bad rows are told, and what is stopped goes on where it stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proffer.app import Services
from proffer.auth.principal import Permission, Principal
from proffer.errors import Invalid, Malformed, NotFound, Unavailable, Unsupported
from proffer.model.capping import NO_SUBJECTS, OfferCaps, OfferLimits
from proffer.model.customer import Customer
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityField, IdentityKey
from proffer.model.ids import EntityKind
from proffer.service.imports import files as import_files
from proffer.service.imports.files import open_file
from proffer.service.imports.run import ImportResult
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.feedback_contract import GOLD, a_decision_event, a_limit
from proffer.testing.store_contract import NOON

BY = Principal(
    organisation="acme",
    sandbox="prod",
    permissions=frozenset({Permission.ADMIN}),
    user="u",
    client="c",
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_files, "BLOCK_ROWS", 3)


async def bring(store: Store, path: Path, told: Any = None, **more: Any) -> ImportResult:
    """Import one file into the container of a store; the rejects stand beside it."""
    services = Services(store)
    container = await services.tokens.container("acme", "prod")
    await services.registry.catch_up()
    rejects = path.with_name(path.name + ".rejects")
    return await services.imports.run(
        services.registry.authorize(BY, container.id),
        open_file(path),
        rejects,
        dataset="crm",
        on_progress=told,
        **more,
    )


async def people(store: Store) -> Sequence[Customer]:
    (container,) = await store.containers()
    return await store.page(container.id, 0, 10_000)


def lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows),
        encoding="utf-8",
    )
    return path


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"identityMap": {"CRMID": [{"id": str(number)}]}, "n": number, **more}


def reasons(path: Path) -> list[tuple[int, str]]:
    """Row and first reason of each reject."""
    text = path.with_name(path.name + ".rejects").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    return [(one["row"], one["why"][0]["message"]) for one in found]


async def test_json_lines_come_in_and_bad_ones_are_told(tmp_path: Path) -> None:
    """Bare profiles and whole messages; every bad row with its number and why."""
    schema = {"schemaRef": {"id": "x"}}
    path = lines(
        tmp_path / "a.jsonl",
        [
            row(1),
            "{broken",
            row(2, person="Ann"),
            {"n": 3},
            {"header": {**schema, "datasetId": "web"}, "body": {"xdmEntity": row(4)}},
            "",
            "[]",
            {"identityMap": {"nope": [{"id": "1"}]}},
            row(1, m=1),
        ],
    )

    store = MemoryStore()
    done = await bring(store, path)
    assert (done.accepted, done.rejected, done.resumed_at) == (3, 5, None)
    first, fourth = await people(store)
    assert first.attributes == {"n": 1, "m": 1}
    assert fourth.sources[0].dataset == "web"
    assert [number for number, _ in reasons(path)] == [2, 3, 4, 7, 8]
    assert "not JSON" in reasons(path)[0][1]
    assert "no identity" in reasons(path)[2][1]


async def test_a_ragged_row_in_a_table_is_told(tmp_path: Path) -> None:
    """Dotted paths, types after a colon, quoted line breaks; a row of the wrong width is rejected alone."""
    path = lines(
        tmp_path / "a.csv",
        [
            "identity.CRMID,identity.Email,person.name.firstName,person.age:number,vip:boolean,tags:json",
            '7,ann@x,Ann,30,true,"[""a""]"',
            '8,,"Bo\nb",15,,',
            "9,x@x,too,few",
            "10,,Eve,many,perhaps,{",
            ",,Nobody,1,,",
            "11,,Zoe,2,false,",
        ],
    )

    store = MemoryStore()
    done = await bring(store, path)
    assert (done.accepted, done.rejected) == (3, 3)
    ann, bob, zoe = await people(store)
    assert ann.identities == (IdentityKey("CRMID", "7"), IdentityKey("Email", "ann@x"))
    assert ann.attributes == {
        "person": {"name": {"firstName": "Ann"}, "age": 30},
        "vip": True,
        "tags": ["a"],
    }
    assert bob.attributes["person"] == {"name": {"firstName": "Bo\nb"}, "age": 15}
    assert zoe.attributes["vip"] is False
    assert [number for number, _ in reasons(path)] == [3, 4, 5]
    assert "4 cells and the header 6" in reasons(path)[0][1]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
async def test_a_table_is_read_with_its_delimiter(tmp_path: Path, delimiter: str) -> None:
    """It is told from the names of the columns; blanks around ids, and cells of blanks, do not count."""
    rows = [
        ["\ufeffidentity.Email", "homeAddress.city", "_acme.plan"],
        [" ann@x\xa0", "Ulm, Old Town", "a,b"],
        ["bob@x", "\xa0", "c"],
    ]
    path = lines(tmp_path / "a.csv", [delimiter.join(row) for row in rows])

    store = MemoryStore()
    done = await bring(store, path)
    assert (done.accepted, done.rejected) == (2, 0)
    ann, bob = await people(store)
    assert ann.identities == (IdentityKey("Email", "ann@x"),)
    assert ann.attributes == {"homeAddress": {"city": "Ulm, Old Town"}, "_acme": {"plan": "a,b"}}
    assert bob.attributes == {"_acme": {"plan": "c"}}


async def test_an_identity_field_that_the_table_lacks_is_told_once(tmp_path: Path) -> None:
    """Not as a reject of each row; a column that contains the field is enough."""
    store = MemoryStore()
    fields = (IdentityField("", ("customer", "number"), "CRMID", True),)
    with pytest.raises(Invalid, match="no identity column found among `number`"):
        await bring(store, lines(tmp_path / "a.csv", ["number", "7"]), fields=fields)
    done = await bring(store, lines(tmp_path / "b.csv", ["customer:json", '"{""number"": 7}"']), fields=fields)
    assert done.accepted == 1


async def test_a_column_of_a_known_field_needs_no_type(tmp_path: Path) -> None:
    """XDM says that a year is a number; identities may stand under `identityMap`; a wrong cell is told."""
    path = lines(
        tmp_path / "a.csv",
        [
            "identityMap.CRMID,identityMap.Email,person.birthYear,testProfile,_acme.size",
            "7,ann@x,1990,true,7",
            "8,bob@x,old,false,8",
        ],
    )

    store = MemoryStore()
    done = await bring(store, path)
    assert (done.accepted, done.rejected) == (1, 1)
    (ann, *_) = await people(store)
    assert ann.identities == (IdentityKey("CRMID", "7"), IdentityKey("Email", "ann@x"))
    assert ann.attributes == {
        "person": {"birthYear": 1990},
        "testProfile": True,
        "_acme": {"size": "7"},
    }
    assert reasons(path) == [(2, "`old` is not an integer")]


WRONG_ROW = {
    "person": {"birthDate": "31.12.1990", "birthYear": "19x", "name": {"firstName": "Eve"}},
    "consents": {"metadata": {"time": "yesterday"}},
    "testProfile": "perhaps",
    "loyalty": {"points": "abc"},
}
RIGHT_ROW = {
    "person": {"birthDate": "1990-12-31", "birthYear": 1990, "name": {"firstName": "Eve"}},
    "consents": {"metadata": {"time": "2025-03-01T08:30:00Z"}},
    "testProfile": True,
    "loyalty": {"points": 900.5},
}
COLUMNS = (
    "identity.CRMID,person.birthDate,person.birthYear,person.name.firstName,consents.metadata.time,testProfile,"
    "loyalty.points"
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
async def test_a_row_with_wrong_types_is_one_reject_with_every_reason(tmp_path: Path, name: str) -> None:
    """The same in every format: nothing of the row is stored, and right values have the declared types."""
    path = tmp_path / name
    if name.endswith("csv"):
        rows = [
            COLUMNS,
            "1,31.12.1990,19x,Eve,yesterday,perhaps,abc",
            "2, 1990-12-31,1990,Eve,2025-03-01T08:30:00Z ,TRUE,900.5",
        ]
        lines(path, rows)
    elif name.endswith("jsonl"):
        lines(path, [{**row(1), **WRONG_ROW}, {**row(2), **RIGHT_ROW}])
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {
            "identity.CRMID": ["1", "2"],
            "person.birthDate": ["31.12.1990", "1990-12-31 00:00:00"],
            "person.birthYear": ["19x", "1990"],
            "person.name.firstName": ["Eve", "Eve"],
            "consents": [{"metadata": {"time": "yesterday"}}, {"metadata": {"time": "2025-03-01T08:30:00Z"}}],
            "testProfile": ["perhaps", "true"],
            "loyalty": [{"points": "abc"}, {"points": "900.5"}],
        }
        parquet.write_table(pyarrow.table(columns), path)

    store = MemoryStore()
    done = await bring(store, path)
    (eve,) = await people(store)
    (reject,) = map(json.loads, path.with_name(f"{name}.rejects").read_text(encoding="utf-8").splitlines())
    assert (done.accepted, done.rejected, reject["row"]) == (1, 1, 1)
    assert {reason["path"]: reason["message"].partition(":")[0] for reason in reject["why"]} == {
        "$.person.birthDate": "`31.12.1990` is not a date",
        "$.person.birthYear": "`19x` is not an integer",
        "$.consents.metadata.time": "`yesterday` is not a date-time",
        "$.testProfile": "`perhaps` is not a boolean",
        "$.loyalty.points": "`abc` is not a number",
    }
    assert {**eve.attributes, "n": None} == {**RIGHT_ROW, "n": None}


async def test_the_types_of_cells_are_told_together_with_those_of_fields(tmp_path: Path) -> None:
    """A type in the header is for fields that are not declared; a number is one JSON number."""
    path = lines(
        tmp_path / "a.csv",
        [
            "identity.CRMID,_acme.points:number,_acme.tags:json,person.birthYear,_acme.vip:boolean",
            "1,007,{,19x,perhaps",
            "2,7,[1],1990,false",
        ],
    )

    store = MemoryStore()
    assert (await bring(store, path)).rejected == 1
    (one,) = await people(store)
    (reject,) = map(json.loads, path.with_name("a.csv.rejects").read_text(encoding="utf-8").splitlines())
    assert [reason["path"] for reason in reject["why"]] == [
        "$._acme.points",
        "$._acme.tags",
        "$._acme.vip",
        "$.person.birthYear",
    ]
    assert one.attributes == {"_acme": {"points": 7, "tags": [1], "vip": False}, "person": {"birthYear": 1990}}


async def test_parquet_comes_in_and_a_cut_file_is_told(tmp_path: Path) -> None:
    """Nested and dotted columns; a file cut short brings in nothing at all."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "identity.CRMID": ["1", "2", None, "4"],
            "person": [{"name": {"firstName": "Ann"}}, None, None, None],
            "score.value": [0.5, 1.0, 1.5, None],
        }
    )
    pq.write_table(table, path)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(path.read_bytes()[:-20])

    store = MemoryStore()
    done = await bring(store, path)
    assert (done.accepted, done.rejected) == (3, 1)
    first, *_ = await people(store)
    assert first.attributes == {
        "person": {"name": {"firstName": "Ann"}},
        "score": {"value": 0.5},
    }
    with pytest.raises(Malformed, match="not a complete Parquet file"):
        await bring(store, cut)


async def test_identities_are_taken_from_the_fields_that_say_so(tmp_path: Path) -> None:
    """Fields named for this file, and fields that its schema declares; a schema that declares none is told."""
    path = lines(tmp_path / "a.csv", ["mail,customer.number,n:number", "ann@x,7,1", ",8,2", ",,3"])
    mail, number = (
        IdentityField("", tuple(name.split(".")), code, code == "Email")
        for name, code in (("mail", "Email"), ("customer.number", "CRMID"))
    )
    schema = "https://ns.adobe.com/acme/schemas/loyalty"

    store = MemoryStore()
    done = await bring(store, path, fields=(mail, number))
    assert (done.accepted, done.rejected) == (2, 1)
    ann, other = await people(store)
    assert ann.identities == (IdentityKey("CRMID", "7"), IdentityKey("Email", "ann@x"))
    assert ann.sources[0].origin == IdentityKey("Email", "ann@x")
    assert other.identities == (IdentityKey("CRMID", "8"),)
    assert other.attributes == {"customer": {"number": "8"}, "n": 2}
    with pytest.raises(NotFound, match="no identity is declared"):
        await bring(store, path, schema=schema)
    with pytest.raises(Invalid, match="no identity namespace"):
        await bring(store, path, fields=(IdentityField("", ("mail",), "nope"),))

    services = Services(store)
    container = await services.tokens.container("acme", "prod")
    await services.registry.catch_up()
    declared = {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceSchema": schema,
        "xdm:sourceProperty": "/customer/number",
        "xdm:namespace": "CRMID",
    }
    await services.catalog.create(services.registry.authorize(BY, container.id), EntityKind.DESCRIPTOR, declared)
    done = await bring(store, path, schema=schema)
    assert (done.accepted, done.rejected) == (2, 1)
    assert len(await people(store)) == 2
    assert reasons(path)[0][0] == 3


async def test_csv_rows_with_wrong_quotes_or_letters_are_rejects(tmp_path: Path) -> None:
    """What is not UTF-8, or goes on behind a closing quote, harms its row alone; an open quote is told by lines."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'identity.CRMID,n\n1,a\n2,\xff\xfe\n3,\xc3\xbc\n4,"x"y\n5,b\n6,"open\n7,c\n8,d\n')

    store = MemoryStore()
    done = await bring(store, path)
    assert (done.accepted, done.rejected) == (3, 3)
    assert [one.attributes["n"] for one in await people(store)] == ["a", "\u00fc", "b"]
    (second, letters), (fourth, quotes), (sixth, opened) = reasons(path)
    assert (second, fourth, sixth) == (2, 4, 6)
    assert "not UTF-8" in letters
    assert "lines 5 to 5" in quotes
    assert "lines 7 to 9 are not a valid row" in opened


async def test_what_stands_before_a_break_is_taken_in(tmp_path: Path) -> None:
    """A Parquet file that is damaged in the middle: the rows before it are kept, and how many is said."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"identity.CRMID": list(range(12))}), path, row_group_size=3)
    damaged = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(2).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    damaged[begin : begin + 8] = b"\xff" * 8
    path.write_bytes(damaged)

    store = MemoryStore()
    for _ in range(2):
        with pytest.raises(Malformed, match="cannot be read after row 6"):
            await bring(store, path)
        assert len(await people(store)) == 6


class Crash(Exception):
    pass


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
async def test_a_stopped_import_goes_on_where_it_stopped(tmp_path: Path, name: str) -> None:
    """Nothing is repeated and nothing left out, of the rejects neither."""
    if name.endswith("csv"):
        rows: list[Any] = ["identity.CRMID,n:number", *(f"{n},{n}" for n in range(20))]
        rows[5] = rows[11] = "ragged"
    else:
        rows = [row(n) for n in range(20)]
        rows[4] = rows[10] = "bad"
    path = lines(tmp_path / name, rows)
    seen: list[int] = []

    def crash(progress: Any) -> None:
        seen.append(progress.row)
        if len(seen) in {3, 6}:
            raise Crash

    store = await SqliteStore.open(tmp_path / "a.db")
    for _ in range(2):
        with pytest.raises(Crash):
            await bring(store, path, crash)
    done = await bring(store, path)
    assert (done.accepted, done.rejected, done.resumed_at) == (18, 2, 13)
    assert sorted(one.attributes["n"] for one in await people(store)) == [n for n in range(20) if n not in {4, 10}]
    again = await bring(store, path)
    assert (again.accepted, again.resumed_at) == (18, None)
    assert len(await people(store)) == 18
    await store.close()
    assert [number for number, _ in reasons(path)] == [5, 11]


async def test_a_full_disk_leaves_whole_blocks(tmp_path: Path) -> None:
    """The message says where it stopped; with room again the rest comes in."""
    path = lines(tmp_path / "a.jsonl", [row(n, text="x" * 5_000) for n in range(60)])

    store = await SqliteStore.open(tmp_path / "a.db")
    (pages,) = await store.submit(lambda c: c.execute("PRAGMA page_count").fetchone())
    await store.submit(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 30}").fetchone())
    with pytest.raises(Unavailable, match=r"stopped before row \d+.*full.*same command"):
        await bring(store, path)
    kept = len(await people(store))
    assert 0 < kept < 60
    assert kept % 3 == 0
    await store.submit(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
    done = await bring(store, path)
    assert (done.accepted, done.resumed_at) == (60, kept + 1)
    assert len(await people(store)) == 60
    await store.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
async def test_rejects_that_cannot_be_written_stop_the_import(tmp_path: Path) -> None:
    """With nothing of their block kept, so that the same call goes on before them."""
    path = lines(tmp_path / "a.jsonl", [row(0), row(1), row(2), row(3), "bad", row(5)])
    rejects = tmp_path / "a.jsonl.rejects"
    rejects.symlink_to("/dev/full")

    store = MemoryStore()
    with pytest.raises(Unavailable, match=r"before row 4.*rejects to.*No space left.*same"):
        await bring(store, path)
    assert len(await people(store)) == 3
    rejects.unlink()
    done = await bring(store, path)
    assert (done.accepted, done.rejected, done.resumed_at) == (5, 1, 4)
    assert [number for number, _ in reasons(path)] == [5]


async def test_what_the_store_refuses_is_told_with_its_row(tmp_path: Path) -> None:
    """A row that would link too many identities is a reject like any other, counted once."""
    many = [{"id": str(number)} for number in range(MAX_LINKED_IDENTITIES + 1)]
    path = lines(tmp_path / "a.jsonl", [row(0), {"identityMap": {"ECID": many}}, row(2), "bad"])

    store = await SqliteStore.open(tmp_path / "a.db")
    done = await bring(store, path)
    assert (done.accepted, done.rejected) == (2, 2)
    await store.close()
    (second, why), (fourth, _) = reasons(path)
    assert (second, fourth) == (2, 4)
    assert "51 identities" in why
    text = path.with_name("a.jsonl.rejects").read_text(encoding="utf-8").splitlines()[0]
    assert '"ECID"' in json.loads(text)["record"]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("identity.Emial,n", r"no identity namespace `Emial`"),
        ("identity.Email,n:numbr", r"`numbr` is not a column type"),
        ("identity.Email,n,n", r"two columns"),
        ("mail;n", r"no identity column found among `mail`, `n`"),
    ],
)
async def test_wrong_columns_are_told_once(tmp_path: Path, header: str, why: str) -> None:
    """Before any row, and with no file of rejects."""
    path = lines(tmp_path / "a.csv", [header, *(["x"] * 10)])

    store = MemoryStore()
    with pytest.raises(Invalid, match=why):
        await bring(store, path)
    assert await people(store) == ()
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_imported_are_told(tmp_path: Path) -> None:
    """Not there, of no known form, without a header."""
    with pytest.raises(NotFound):
        open_file(tmp_path / "nope.jsonl")
    with pytest.raises(Unsupported):
        open_file(lines(tmp_path / "a.xml", []))
    with pytest.raises(Unsupported, match="one object per line"):
        open_file(lines(tmp_path / "a.json", ["[", {}, "]"]))
    for content in ("", "a,,b\n"):
        (tmp_path / "a.csv").write_text(content, encoding="utf-8")
        with pytest.raises(Exception, match="must name every column"):
            open_file(tmp_path / "a.csv")
    with pytest.raises(Invalid, match="contains an id and not the names"):
        open_file(lines(tmp_path / "b.csv", ["ann@x;Ulm", "bob@x;Bonn"]))


async def test_imported_events_are_feedback_too(tmp_path: Path) -> None:
    """Counted once, however often the file is brought in; of nobody too; what cannot be read is rejected."""
    event = {"timestamp": "2026-01-01T12:00:00Z", "eventType": "decisioning.propositionDisplay"}
    ann = {"identityMap": {"Email": [{"id": "ann@x"}]}}

    def about(*propositions: Any) -> dict[str, Any]:
        return {"_experience": {"decisioning": {"propositions": list(propositions)}}}

    store = MemoryStore()
    services = Services(store)
    container = await services.tokens.container("acme", "prod")
    limit = a_limit()
    caps = [OfferCaps(offer=GOLD, limits=(limit,), approved=True)]
    await store.ensure_caps(container.id, 1, caps)
    decision = a_decision_event(container=container.id)
    await store.record(container.id, decision)
    shown = about({"id": decision.id})
    rows = [
        {**event, **ann, **shown, "_id": "e1"},
        {**event, **shown, "_id": "e2"},
        {**event, "_id": "e3"},
        {**event, **ann, **about({"id": 7}), "_id": "e4"},
        {**ann, "city": "Ulm"},
    ]
    file = lines(tmp_path / "events.jsonl", rows)
    for _ in range(2):
        done = await bring(store, file)
        assert (done.accepted, done.rejected) == (3, 2)
    rejected = file.with_name("events.jsonl.rejects").read_text()
    assert "no identity" in rejected
    assert "$._experience.decisioning.propositions[0].id" in rejected
    kept = await store.feedback_events(container.id, 0, 10)
    assert [one.feedback.id for _, one in kept] == ["e1", "e2"]
    used = await store.usage(container.id, OfferLimits([(GOLD, limit)]), NO_SUBJECTS, NOON)
    assert dict(used.counts) == {(GOLD, "1", ""): 2}
    (person,) = await store.page(container.id, 0, 10)
    assert person.attributes == {"city": "Ulm"}
