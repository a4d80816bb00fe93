"""`proffer library import --from-url`: out of a running server over both APIs, and servers that misbehave."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Proffer
from proffer.app import DEV_CONTAINER
from proffer.cli import remote
from proffer.cli.library import read_document
from proffer.service.library.load import library_entries
from proffer.wire import dps
from proffer.wire.renaming import to_public
from support.process import run_server
from support.server import sample_library


@pytest.mark.parametrize("api", ["xcore", "dps"])
def test_a_library_is_read_from_a_running_server(
    proffer: Proffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """All kinds, through pages, into an empty database: what it serves and exports is the same, and twice is once."""
    monkeypatch.setattr(remote, "PAGE_SIZE", 7)
    source = f"sqlite:///{tmp_path / 'proffer.db'}"
    target = f"sqlite:///{tmp_path / 'target.db'}"
    exported, again = tmp_path / "exported.yaml", tmp_path / "again.yaml"
    proffer("library", "import", sample_library(), "--database", source)
    proffer("library", "export", exported, "--database", source)
    with run_server(tmp_path) as address:
        command = ("library", "import", "--database", target, "--from-url", address, "--api", api)
        dry = proffer(*command, "--dry-run")
        assert "(143 created, 0 changed); dry run" in dry.out
        ran = proffer(*command)
        assert (ran.code, ran.err) == (0, "")
        assert "(143 created, 0 changed)" in ran.out
        assert "(0 created, 0 changed)" in proffer(*command).out
        back = ("--database", source, "--from-url", f"{address}/data/core/{api}/")
        assert "(0 created, 0 changed)" in proffer("library", "import", *back, "--dry-run").out
    proffer("library", "export", again, "--database", target)

    if api == "xcore":
        assert again.read_bytes() == exported.read_bytes()
    assert served(again) == served(exported)


def served(file: Path) -> list[Any]:
    """What the newer API shows of a library: it has one spelling where what is stored may have several."""
    return [
        (kind, to_public(dps.RENAMING_BY_KIND[kind], document))
        for kind, _, document in library_entries(read_document(file))
    ]


def test_an_address_may_say_the_api_and_the_container(proffer: Proffer, tmp_path: Path) -> None:
    """The address of a container, with or without a slash; or of a server, which is then asked for dps."""
    file = tmp_path / "a.yaml"
    file.write_text("tags: [{'@id': xcore:tag:1, xdm:name: a}]")
    proffer("library", "import", file, "--database", f"sqlite:///{tmp_path / 'proffer.db'}")
    with run_server(tmp_path) as address:
        xcore = f"{address}/data/core/xcore"
        for arguments, base in [
            ([address], f"{address}/data/core/dps"),
            ([f"{xcore}/{DEV_CONTAINER}"], xcore),
            ([f"{xcore}/{DEV_CONTAINER}/"], xcore),
            ([address, "--api", "xcore", "--container", DEV_CONTAINER], xcore),
        ]:
            target = f"sqlite:///{tmp_path / 'target.db'}"
            ran = proffer("library", "import", "--database", target, "--from-url", *arguments)
            assert (ran.code, ran.err) == (0, "")
            assert ran.out.startswith(f"{base}: 1 tag (")


def test_a_token_opens_a_server(proffer: Proffer, tmp_path: Path) -> None:
    """Without dev mode a token is needed; it is not printed where it is refused."""
    database = f"sqlite:///{tmp_path / 'proffer.db'}"
    made = proffer(*("token", "create", "--org", "a@AdobeOrg", "--database", database, "--json"))
    token = json.loads(made.out)["token"]
    file = tmp_path / "a.yaml"
    file.write_text("tags: [{'@id': xcore:tag:1, xdm:name: a}]")
    proffer("library", "import", file, "--org", "a@AdobeOrg", "--database", database)
    target = ("library", "import", "--database", f"sqlite:///{tmp_path / 'target.db'}")
    with run_server(tmp_path, "--no-dev", ready="/healthz") as address:
        kept = tmp_path / "token"
        kept.write_text(f"{token}\n")
        for api, given in (("xcore", token), ("dps", f"@{kept}")):
            wrong = proffer(*target, "--from-url", address, "--api", api, "--token", "pfr_secret")
            assert wrong.code == 1
            assert "responded with status 401" in wrong.err
            assert "pfr_secret" not in wrong.err
            ran = proffer(
                *(*target, "--from-url", address, "--api", api, "--token", given),
                *("--from-org", "a@AdobeOrg", "--from-sandbox", "prod"),
            )
            assert (ran.code, ran.err) == (0, "")
            assert "1 tag" in ran.out


Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


@contextmanager
def answering(answer: Answer) -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """A server on a free port that answers every path as told; its address, and what it was asked."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, {name.lower(): one for name, one in self.headers.items()}))
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page(*results: Any, following: str | None = None, total: int | None = None) -> bytes:
    links = {"next": {"href": following}} if following else {}
    count = len(results) if total is None else total
    return json.dumps({"results": results, "count": len(results), "total": count, "_links": links}).encode()


MISBEHAVIOUR: list[tuple[str, int, dict[str, str], bytes, str]] = [
    ("elsewhere", 302, {"Location": "http://127.0.0.2/"}, b"", "responded with status 302"),
    ("broken", 500, {}, b"x", "responded with status 500"),
    ("text", 200, {}, b"<html>", "cannot read the response"),
    ("list", 200, {}, b"[]", "it is not an object"),
    ("bare", 200, {}, b"{}", "no list `results`"),
    ("rows", 200, {}, page(7), "a result is not an object"),
    ("loop", 200, {}, page(following="/placements?limit=1"), "the list repeats a page"),
    ("other", 200, {}, page(following="http://127.0.0.2/x"), "leads to another host"),
    ("relative", 200, {}, page(following="//127.0.0.2/x"), "leads to another host"),
]


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [case[1:] for case in MISBEHAVIOUR],
    ids=[case[0] for case in MISBEHAVIOUR],
)
def test_a_server_that_misbehaves_is_left(
    proffer: Proffer, tmp_path: Path, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    """Redirects, links elsewhere, pages without end and what is no page are refused in words; nothing is written."""
    database = tmp_path / "target.db"
    with answering(lambda _: (status, headers, body)) as (address, _):
        ran = proffer(
            *("library", "import", "--database", f"sqlite:///{database}"),
            *("--from-url", address, "--token", "secret"),
        )

    assert (ran.code, ran.out) == (1, "")
    assert words in ran.err
    assert address in ran.err
    assert "Traceback" not in ran.err
    assert not database.exists()


def test_answers_are_bounded(proffer: Proffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is too large is not read to its end; a server that is silent or away is not waited for."""
    monkeypatch.setattr(remote, "MAX_RESPONSE_BYTES", 1_000)
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.2)
    command = ("library", "import", "--database", f"sqlite:///{tmp_path / 'a.db'}", "--from-url")
    with answering(lambda _: (200, {}, b" " * 1_001)) as (address, _):
        assert "larger than 1,000 bytes" in proffer(*command, address).err
    assert "cannot read http" in proffer(*command, address).err
    silent = threading.Event()

    def wait(_: str) -> tuple[int, dict[str, str], bytes]:
        silent.wait(10)
        return 500, {}, b""

    with answering(wait) as (address, _):
        ran = proffer(*command, address)
        silent.set()
    assert "cannot read http" in ran.err


def test_what_is_sent_and_what_is_taken(proffer: Proffer, tmp_path: Path) -> None:
    """The documented headers and links; an object met twice is one; fewer than promised is said."""
    tags = [{"id": f"dps:tag:{at}", "name": f"t{at}", "etag": 3, "created": "x"} for at in (1, 2)]

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if not path.startswith("/data/core/dps/tags"):
            return 200, {}, page()
        if "start" in path:
            return 200, {}, page(tags[0], tags[1])
        return 200, {}, page(tags[0], following='/tags?start=a b,"ü"', total=9)

    target = f"sqlite:///{tmp_path / 'a.db'}"
    with answering(answer) as (address, asked):
        ran = proffer(
            *("library", "import", "--database", target, "--from-url", address),
            *("--token", "secret", "--from-org", "o@AdobeOrg", "--from-sandbox", "s"),
        )

    assert ran.code == 0
    assert "2 tags (2 created, 0 changed)" in ran.out
    assert "of 9 objects" in ran.err
    assert "/data/core/dps/tags?start=a%20b,%22%C3%BC%22" in [path for path, _ in asked]
    for _, headers in asked:
        assert headers["authorization"] == "Bearer secret"
        assert headers["x-gw-ims-org-id"] == "o@AdobeOrg"
        assert headers["x-sandbox-name"] == "s"
        assert headers["x-api-key"] == "proffer"
    out = proffer("library", "export", "--database", target).out
    assert out == ("tags:\n- '@id': dps:tag:1\n  xdm:name: t1\n- '@id': dps:tag:2\n  xdm:name: t2\n")


def test_what_does_not_compile_is_taken_over_with_a_warning(proffer: Proffer, tmp_path: Path) -> None:
    """A broken rule counts as false, and of two representations for one placement the first is taken."""
    html = {"type": "html", "format": "text/html", "content": "x"}
    here = {"placement": "dps:offer-placement:1", "components": [html]}
    condition = {"type": "PQL", "format": "pql/text", "value": "person.age >"}
    rows: dict[str, dict[str, Any]] = {
        "placements": {
            "id": "dps:offer-placement:1",
            "name": "p",
            "channel": "web",
            "componentType": "html",
        },
        "offer-rules": {"id": "dps:eligibility-rule:1", "name": "r", "condition": condition},
        "offers": {
            "id": "dps:fallback-offer:1",
            "name": "f",
            "status": "approved",
            "representations": [here, here],
        },
    }

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        collection = path.removeprefix("/data/core/dps/").partition("?")[0]
        if collection not in rows or "offer-type=personalized" in path:
            return 200, {}, page()
        return 200, {}, page(rows[collection])

    target = f"sqlite:///{tmp_path / 'a.db'}"
    with answering(answer) as (address, _):
        ran = proffer("library", "import", "--database", target, "--from-url", address)

    assert ran.code == 0
    assert "(3 created, 0 changed)" in ran.out
    assert "it is stored and counts as false" in ran.err
    assert "representation 0 is also for placement `dps:offer-placement:1` and is used" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ftp://host/"],
        ["host"],
        ["http://["],
        ["http://user:word@host/"],
        ["http://host/data/core/dps", "--api", "xcore"],
        ["http://host/", "--token", "ä"],
        ["http://host/", "--token", "@nowhere"],
    ],
    ids=" ".join,
)
def test_an_address_that_makes_no_sense_is_refused(proffer: Proffer, tmp_path: Path, arguments: list[str]) -> None:
    """Before anything is asked."""
    target = f"sqlite:///{tmp_path / 'a.db'}"
    ran = proffer("library", "import", "--database", target, "--from-url", *arguments)

    assert (ran.code, ran.out) == (1, "")
    assert "Traceback" not in ran.err


def test_several_containers_are_told_apart(proffer: Proffer, tmp_path: Path) -> None:
    """Where the home resource lists several, the sandbox chooses; without one they are named."""
    home = {
        "_embedded": {
            "https://ns.adobe.com/experience/xcore/container": [
                {"instanceId": f"c-{name}", "_instance": {"parentName": name}} for name in ("prod", "stage")
            ]
        }
    }
    empty = {"_embedded": {"results": [], "total": 0}, "_links": {}}

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps(home if path == "/data/core/xcore/" else empty).encode()

    command = (
        "library",
        "import",
        "--database",
        f"sqlite:///{tmp_path / 'a.db'}",
        "--api",
        "xcore",
    )
    with answering(answer) as (address, asked):
        ran = proffer(*command, "--from-url", address)
        assert ran.code == 1
        assert "2 readable containers: c-prod, c-stage" in ran.err
        ran = proffer(*command, "--from-url", address, "--from-sandbox", "stage")
        assert (ran.code, ran.err) == (0, "")
    assert all("/c-stage/instances" in path for path, _ in asked[2:])
