"""Every setting and command has its paragraph, and every link leads somewhere."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from proffer.cli import serve
from proffer.cli.main import app
from proffer.config import Settings

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]


def headings(page: str) -> set[str]:
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    return set(re.findall(r"^### `([^`]+)`$", text, re.MULTILINE))


def commands(command: Any, name: str) -> Iterator[str]:
    """Yield the full name of every command without subcommands."""
    inside = getattr(command, "commands", None)
    if inside is None:
        yield name
    else:
        for word, inner in inside.items():
            yield from commands(inner, f"{name} {word}")


def test_every_setting_has_its_paragraph() -> None:
    """The headings are exactly the fields of the settings."""
    assert {field.name for field in fields(Settings)} == headings("settings.md")


def test_every_setting_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """`proffer serve` passes on every setting and shows the defaults of numbers."""
    names = {field.name for field in fields(Settings)}
    loaded: list[dict[str, Any]] = []
    monkeypatch.setattr(serve, "load_settings", loaded.append)
    monkeypatch.setattr("proffer.serving.run.run", lambda _: None)
    serve.serve(**{name: f"the {name}" for name in names})  # type: ignore[arg-type]
    assert loaded == [{name: f"the {name}" for name in names}]

    shown = {option.name: option.show_default for option in get_command(app).commands["serve"].params}  # type: ignore[attr-defined]
    numbers = {field.name: str(field.default) for field in fields(Settings) if type(field.default) is int}
    assert numbers.items() <= shown.items()


def test_every_command_has_its_paragraph() -> None:
    """The headings are exactly the commands, and `proffer --version`."""
    known = set(commands(get_command(app), "proffer"))

    assert known | {"proffer --version"} == headings("cli.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Every link target within the project exists."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (page.parent / link).exists()] == []
