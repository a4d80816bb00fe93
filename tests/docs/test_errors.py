"""Every error code found in the source has its paragraph."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import proffer
import proffer.store.errors
from proffer import errors
from proffer.api.kit.problems import STATUS

SOURCE = Path(next(iter(proffer.__path__)))
PAGE = SOURCE.parents[1] / "docs" / "reference" / "errors.md"
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def paragraphs() -> dict[str, str]:
    """Return the text under the heading of each code."""
    parts = re.split(r"^### `([^`]+)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def modules() -> Iterator[ast.Module]:
    for path in sorted(SOURCE.rglob("*.py")):
        if "testing" not in path.parts:
            yield ast.parse(path.read_text(encoding="utf-8"))


def texts(node: ast.AST) -> set[str]:
    """Return the texts that an expression may have as its value.

    Texts in conditions and keys are left out.
    """
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    if isinstance(node, ast.Dict):
        return {text for value in node.values for text in texts(value)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return texts(node.func.value).union(*map(texts, node.args))
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def takers() -> dict[str, set[int]]:
    """Return the positions of `code` by name of function or class."""
    found: dict[str, set[int]] = {}
    for module in modules():
        for node in ast.walk(module):
            inside = node.body if isinstance(node, ast.ClassDef) else []
            named = [one for one in inside if isinstance(one, ast.AnnAssign)]
            fields = [one.target.id for one in named if isinstance(one.target, ast.Name)]
            if isinstance(node, ast.ClassDef) and "code" in fields:
                found.setdefault(node.name, set()).add(fields.index("code"))
            for function in [node, *inside]:
                if isinstance(function, FUNCTIONS):
                    name = node.name if isinstance(node, ast.ClassDef) else function.name
                    if isinstance(node, ast.ClassDef) and function.name != "__init__":
                        continue
                    given = [one.arg for one in function.args.args if one.arg != "self"]
                    if "code" in given:
                        found.setdefault(name, set()).add(given.index("code"))
    return found


def codes() -> set[str]:
    """Return the texts passed or assigned as a code in the source."""
    positions = takers()
    found: set[str] = set()
    for module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.id if isinstance(function, ast.Name) else ""
                name = function.attr if isinstance(function, ast.Attribute) else name
                for position in positions.get(name, ()):
                    if position < len(node.args):
                        found |= texts(node.args[position])
                found |= {text for keyword in node.keywords if keyword.arg == "code" for text in texts(keyword.value)}
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = {one.id for one in targets if isinstance(one, ast.Name)}
                if names & {"code", "default_code"}:
                    found |= texts(node.value)
    return found


def test_every_code_has_its_paragraph() -> None:
    """Each code in the source is a heading of the page."""
    found = codes()

    assert {"required", "token-missing", "internal", "terms", "no-such-path", "test"} <= found
    assert found - paragraphs().keys() == set()


def test_no_paragraph_is_about_a_code_that_is_gone() -> None:
    """Each heading of the page is a text of the source."""
    said = {
        node.value
        for module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert paragraphs().keys() - said == set()


def test_every_paragraph_names_the_status() -> None:
    """Each paragraph has the status of the classes raised with its code."""
    classes = {
        name: STATUS[one.kind]
        for module in (errors, proffer.store.errors)
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, errors.ProfferError) and hasattr(one, "kind")
    }
    raised: set[tuple[str, int]] = set()
    for module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                for keyword in node.keywords:
                    if keyword.arg == "code" and node.func.id in classes:
                        raised |= {(text, classes[node.func.id]) for text in texts(keyword.value)}
    told = paragraphs()
    wrong = {(code, status) for code, status in raised if str(status) not in told.get(code, "")}

    assert len(raised) > 15
    assert wrong == set()
