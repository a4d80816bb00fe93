"""Names say what a thing is, and one class name means one thing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import proffer

SOURCE = Path(next(iter(proffer.__path__)))
EMPTY_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
        one ones other others found known kept asked given said told taken made named listed
        wanted shown held left gone come came whose whom who mine yours some every rest most few
        whole here there fresh alike somebody nobody nothing anything everybody anybody people own
        """,
    )
)
MOST_EMPTY_PERCENT = 2
MOST_SHARED_CLASS_NAMES = 9


def _modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the product by its path; the test kit is left out."""
    for path in sorted(SOURCE.rglob("*.py")):
        if "testing" not in path.relative_to(SOURCE).parts:
            yield str(path.relative_to(SOURCE)), ast.parse(path.read_text(encoding="utf-8"))


def _bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every assigned name and parameter, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg) and node.arg not in ("self", "cls"):
            yield node.arg, node.lineno


def test_few_names_are_participles_or_pronouns() -> None:
    """Fewer than 2 % of the bound names say nothing about the thing they name."""
    bound = [(f"{module}:{line}", name) for module, tree in _modules() for name, line in _bound_names(tree)]
    empty = [f"{place} {name}" for place, name in bound if name.strip("_") in EMPTY_NAMES]

    assert 100 * len(empty) < MOST_EMPTY_PERCENT * len(bound), "\n".join(empty)


def test_few_classes_share_a_name() -> None:
    """Fewer than ten class names are defined in more than one module."""
    modules_of = defaultdict(set)
    for module, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                modules_of[node.name].add(module)
    shared = {name: sorted(modules) for name, modules in modules_of.items() if len(modules) > 1}

    assert len(shared) <= MOST_SHARED_CLASS_NAMES, shared
