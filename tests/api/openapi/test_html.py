"""GET /docs: the description as a page, whole and on its own."""

import re
from html.parser import HTMLParser

from proffer.api.openapi.document import OPERATIONS
from proffer.api.openapi.html import render_page
from support.server import server


class Reader(HTMLParser):
    """Collects what a page links to and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")


def test_it_shows_every_operation() -> None:
    """Each has its place, and the menu leads to it."""
    with server(dev=False) as client:
        answer = client.get("/docs")
    reader = Reader()
    reader.feed(answer.text)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    names = [one.name for one in OPERATIONS]
    assert sorted(reader.ids) == sorted(names)
    assert {f"#{name}" for name in names} | {"/openapi.json"} == set(reader.links)


def test_it_needs_nothing_from_elsewhere() -> None:
    """No script, no picture, no font, no address of another server that would be loaded."""
    with server() as client:
        answer = client.get("/docs")
    reader = Reader()
    reader.feed(answer.text)

    assert not reader.tags & {"script", "link", "img", "iframe", "object"}
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_texts_of_the_description_are_escaped() -> None:
    """What a description says is shown, and is no markup."""
    document = {
        "info": {"title": "<b>", "version": "&", "description": "<script>"},
        "tags": [],
        "paths": {},
    }

    assert re.search("<script|<b>", render_page(document)) is None
