"""Shared by the `proffer library` commands: reading library files, loading them."""

import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from proffer.app import Services
from proffer.cli.database import open_container
from proffer.errors import Invalid, Malformed, NotFound, ProfferError, Violation
from proffer.model.ids import KIND_LABELS, EntityKind
from proffer.service.library.load import (
    Entry,
    LoadReport,
    library_entries,
    load,
    sort_by_dependency,
)
from proffer.validation import json_path
from proffer.wire.codec import MAX_DEPTH, decode

app = typer.Typer(help="Import, export and compare libraries as files.", no_args_is_help=True)

USER = "library-load@AdobeID"
"""The author of objects that a `library` command writes."""
LIBRARY_FILES = frozenset({".yaml", ".yml", ".json"})
_ONLY_A_PATH = re.compile(r"\S*\.pql|(\.{1,2}|~)?/\S*")
"""Arguments that are no rule: no rule begins with a slash, or ends in `.pql`."""
"""File name suffixes of library files."""


@app.callback()
def _library() -> None:
    pass


async def load_into(services: Services, org: str, sandbox: str, content: Any) -> LoadReport:
    """Load one file's content into a sandbox, created when absent."""
    access = await open_container(services, org, sandbox, user=USER)
    return await load(services.catalog, access, content)


def read_library(path: Path) -> list[Entry]:
    """Return the objects of a library file or folder, in loading order.

    For a folder: the objects of all library files in it. Raises what `read_document` raises, and `Invalid`
    if the content is not a library.
    """
    if not path.is_dir():
        return library_entries(read_document(path))
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in LIBRARY_FILES and file.is_file())
    return sort_by_dependency([(f"{file.name}: $", read_document(file)) for file in files])


def read_document(path: Path) -> Any:
    """Return the content of a YAML or JSON file as JSON values; dates stay text.

    Raises `NotFound`; `Malformed`, with line and column if known; `Invalid` for YAML values that JSON
    cannot represent.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise NotFound(f"cannot read `{path}`: {error.strerror}", code="file-not-found") from None
    except UnicodeDecodeError:
        raise Malformed(f"`{path}` is not UTF-8 text") from None
    if path.suffix.lower() == ".json":
        try:
            return decode(data)
        except ProfferError as error:
            raise type(error)(f"`{path}`: {error.detail}", violations=error.violations) from None
    content = _parse_yaml(path, text)
    violations = list(islice(_json_violations(content, ()), 100))
    if violations:
        raise Invalid(f"`{path}` has values that JSON cannot represent", violations=violations)
    return content


def read_rule(argument: str) -> str:
    """Return the rule that an argument contains, or that is in the file of this path. Raises as `read_rule_file`.

    A text that can only be a path is read as one, so that a missing file is not taken for a rule.
    """
    path = Path(argument)
    is_path = _ONLY_A_PATH.fullmatch(argument) is not None or (len(argument) < 250 and path.is_file())
    return read_rule_file(path) if is_path else argument


def read_rule_file(path: Path) -> str:
    """Return the text of a file with one rule. Raises `Invalid`."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise rules_input_error(path, f"cannot be read: {error.strerror}", "use the path of a readable file") from None
    except UnicodeDecodeError:
        raise rules_input_error(path, "is not UTF-8 text", "save it as UTF-8") from None


def rules_input_error(subject: object, message: str, hint: str) -> Invalid:
    """Return the error of an argument that names no readable rule."""
    return Invalid.of([Violation(code="rules-input", message=f"`{subject}`: {message}", help=hint)])


def read_object(path: Path | None, code: str) -> dict[str, Any]:
    """Return the object in a YAML or JSON file.

    It is empty if there is no file. Raises what `read_document` raises, and `Invalid` with this code for other values.
    """
    if path is None:
        return {}
    content = read_document(path)
    if not isinstance(content, dict):
        message, hint = f"`{path}` is not an object", "use one mapping of names to values"
        raise Invalid.of([Violation(code=code, message=message, help=hint)])
    return content


def _parse_yaml(path: Path, text: str) -> Any:
    from ruamel.yaml import YAML  # slow to import
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(SafeConstructor):
        """Keeps dates as text."""

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = Constructor
    try:
        return reader.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        violation = Violation(
            code="yaml",
            message=str(getattr(error, "problem", None) or "this is not YAML or JSON"),
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
        )
        raise Malformed(f"`{path}` is not YAML or JSON", violations=[violation]) from None


def _json_violations(value: Any, keys: tuple[str | int, ...]) -> Iterator[Violation]:
    """Yield the values that JSON cannot represent. The depth is limited, as YAML may be recursive."""
    message = None
    if len(keys) > MAX_DEPTH:
        message = f"lists and objects are nested more than {MAX_DEPTH} levels deep"
    elif isinstance(value, dict):
        for name, member in value.items():
            if isinstance(name, str) and _is_encodable(name):
                yield from _json_violations(member, (*keys, name))
            else:
                message = f"the name `{name!a}` is not text"
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _json_violations(element, (*keys, index))
    elif isinstance(value, float) and not math.isfinite(value):
        message = f"`{value}` is not a JSON number"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        message = "the integer does not fit into 64 bits"
    elif isinstance(value, str) and not _is_encodable(value):
        message = "the text contains half of a surrogate pair"
    elif not isinstance(value, str | int | float | None):
        message = f"a value of type `{type(value).__name__}` cannot be stored"
    if message is not None:
        yield Violation(code="yaml", message=message, path=json_path(*keys), help="write it as text")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def format_report(report: LoadReport) -> str:
    """Format a report: `8 placements, 64 personalized offers (71 created, 1 changed)`."""
    counts = [
        f"{report.count(kind)} {KIND_LABELS[kind]}{'s' if report.count(kind) != 1 else ''}"
        for kind in EntityKind
        if report.count(kind)
    ]
    created, changed = sum(report.created.values()), sum(report.changed.values())
    return f"{', '.join(counts) or 'nothing'} ({created} created, {changed} changed)"
