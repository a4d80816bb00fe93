"""The layout of the package: import contracts, empty `__init__` files, module docstrings."""

import ast
import subprocess
import sys
from pathlib import Path

import proffer

SOURCE = Path(next(iter(proffer.__path__)))
FACADES = {"pql/__init__.py"}


def test_imports_point_down() -> None:
    """Every import contract of pyproject.toml is kept."""
    result = subprocess.run(
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

    assert result.returncode == 0, result.stdout + result.stderr


def test_packages_are_entered_by_their_modules() -> None:
    """`__init__.py` is empty except in façades, so a name is imported from where it is defined."""
    non_empty = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("__init__.py")
        if ast.parse(path.read_text(encoding="utf-8")).body
    }

    assert non_empty <= FACADES


def test_every_module_has_a_docstring() -> None:
    """The first line of a module says what it contains."""
    undocumented = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if path.name != "__init__.py" and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]

    assert undocumented == []
