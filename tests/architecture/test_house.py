"""The house stands as it was drawn: contracts hold, rooms stay rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import proffer

SOURCE = Path(next(iter(proffer.__path__)))
FACADES = {"pql/__init__.py"}


def test_imports_point_down() -> None:
    """Every import contract of pyproject.toml is kept."""
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=SOURCE.parents[1],
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_packages_are_entered_by_their_modules() -> None:
    """`__init__.py` is empty everywhere but in the façades, so what a name means is where it is defined."""
    filled = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("__init__.py")
        if ast.parse(path.read_text(encoding="utf-8")).body
    }

    assert filled <= FACADES


def test_every_module_says_what_it_is() -> None:
    """The top of a file tells a newcomer what it does."""
    silent = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if path.name != "__init__.py"
        and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]

    assert silent == []
