"""The server runs on the uvicorn versions it declares, and says so on others."""

import ast
import inspect
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from proffer.errors import Unavailable
from proffer.serving import uvicorn_version
from proffer.serving.connection import Connection
from proffer.serving.request_cycle import FastRequestCycle
from proffer.serving.uvicorn_version import BELOW, MINIMUM, check_uvicorn_version

ROOT = Path(__file__).parents[2]


def test_the_declared_range_is_stated_the_same_everywhere() -> None:
    """In the package's dependencies, in the check at start and in the page about errors."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (declared,) = [one for one in project["dependencies"] if re.match(r"uvicorn\b", one)]
    lower, upper = (".".join(map(str, bound)) for bound in (MINIMUM, BELOW))
    assert declared == f"uvicorn>={lower},<{upper}"
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    assert f"{lower} up to but not including {upper}" in page
    check_uvicorn_version()


@pytest.mark.parametrize("installed", ["0.40.0", "0.44.0", "0.55.0", "1.0.0"])
def test_a_version_outside_the_range_is_refused(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    """The message names both versions and the command that helps."""
    monkeypatch.setattr(uvicorn_version, "version", lambda _: installed)
    with pytest.raises(Unavailable, match=rf"uvicorn {installed} .*pip install 'uvicorn>=0.45,<"):
        check_uvicorn_version()


@pytest.mark.parametrize("installed", ["0.45.0", "0.54.3", "0.54.0.dev1"])
def test_a_version_inside_the_range_is_accepted(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    """Patch and development releases count by their first two numbers."""
    monkeypatch.setattr(uvicorn_version, "version", lambda _: installed)
    check_uvicorn_version()


def names_used_and_defined(owner: type) -> tuple[set[str], set[str]]:
    """Attributes of `self` that a class reads, and those that it assigns or defines."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    used: set[str] = set()
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    defined |= vars(owner).keys()  # attributes of the class, too
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"self", "super()"}:
            (defined if isinstance(node.ctx, ast.Store) else used).add(node.attr)
    return used, defined


def test_every_inherited_name_exists_in_the_installed_uvicorn() -> None:
    """What our connection and our cycle read and do not set themselves, uvicorn's objects have."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    config = uvicorn.Config(app, lifespan="off", log_config=None)
    config.load()
    loop: Any = object()
    protocol = HttpToolsProtocol(config, ServerState(), {}, loop)
    protocol.on_message_begin()  # the attributes of a request are there from now on
    parameters = inspect.signature(RequestResponseCycle).parameters
    request = RequestResponseCycle(**dict.fromkeys(parameters))  # type: ignore[arg-type]
    for ours, theirs in ((Connection, protocol), (FastRequestCycle, request)):
        used, defined = names_used_and_defined(ours)
        inherited = used - defined
        assert inherited
        assert {name for name in inherited if not hasattr(theirs, name)} == set()
