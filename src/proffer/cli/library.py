"""`proffer library`: what its commands share: whose library it is, and how a file is read."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from proffer.app import Services
from proffer.cli.database import open_container
from proffer.errors import Finding, Invalid, Malformed, NotFound, ProfferError
from proffer.model.ids import WORDS, EntityKind
from proffer.service.library.load import Entry, Report, load, sections, together
from proffer.validation import path as json_path
from proffer.wire.codec import MAX_DEPTH, decode

app = typer.Typer(help="A library as files.", no_args_is_help=True)

USER = "library-load@AdobeID"
"""The user that objects name as their author when a `library` command wrote them."""
LIBRARY_FILES = frozenset({".yaml", ".yml", ".json"})
"""How the names of library files end."""


@app.callback()
def _library() -> None:
    pass


async def load_into(services: Services, org: str, sandbox: str, content: Any) -> Report:
    """Load one file's content into a sandbox, created when absent."""
    access = await open_container(services, org, sandbox, user=USER)
    return await load(services.catalog, access, content)


def read_library(path: Path) -> list[Entry]:
    """The objects of a library file, or of all the library files in a folder, in loading order.

    Raises what `read` raises, and `Invalid` for what is no library.
    """
    if not path.is_dir():
        return sections(read(path))
    files = sorted(
        one for one in path.iterdir() if one.suffix.lower() in LIBRARY_FILES and one.is_file()
    )
    return together([(f"{one.name}: $", read(one)) for one in files])


def read(path: Path) -> Any:
    """The content of a YAML or JSON file as plain JSON values; dates are text, as written.

    Raises `NotFound`, `Malformed`, with line and column where there is one, or `Invalid` for what YAML
    can say and JSON cannot.
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
            raise type(error)(f"`{path}`: {error.detail}", findings=error.findings) from None
    content = _yaml(path, text)
    wrong = list(islice(_not_json(content, ()), 100))
    if wrong:
        raise Invalid(f"`{path}` has values that JSON has no word for", findings=wrong)
    return content


def _yaml(path: Path, text: str) -> Any:
    from ruamel.yaml import YAML  # slow to import
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(SafeConstructor):
        """Leaves dates as the text they are written as."""

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = Constructor
    try:
        return reader.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        finding = Finding(
            code="yaml",
            message=str(getattr(error, "problem", None) or "this is not YAML or JSON"),
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
        )
        raise Malformed(f"`{path}` is not YAML or JSON", findings=[finding]) from None


def _not_json(value: Any, keys: tuple[str | int, ...]) -> Iterator[Finding]:
    """What JSON cannot say, or not within the bounds of a document: a YAML file may also hold itself."""
    message = None
    if len(keys) > MAX_DEPTH:
        message = f"lists and objects are nested more than {MAX_DEPTH} levels deep"
    elif isinstance(value, dict):
        for name, member in value.items():
            if isinstance(name, str) and _encodes(name):
                yield from _not_json(member, (*keys, name))
            else:
                message = f"the name `{name!a}` is not text"
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _not_json(element, (*keys, index))
    elif isinstance(value, float) and not math.isfinite(value):
        message = f"`{value}` is no number"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        message = "the number does not fit into 64 bits"
    elif isinstance(value, str) and not _encodes(value):
        message = "the text holds half of a surrogate pair"
    elif not isinstance(value, str | int | float | None):
        message = f"a value of type `{type(value).__name__}` cannot be stored"
    if message is not None:
        yield Finding(code="yaml", message=message, path=json_path(*keys), help="write it as text")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def described(report: Report) -> str:
    """A report in one line: `8 placements, 64 personalized offers (71 created, 1 changed)`."""
    counts = [
        f"{report.count(kind)} {WORDS[kind]}{'s' if report.count(kind) != 1 else ''}"
        for kind in EntityKind
        if report.count(kind)
    ]
    created, changed = sum(report.created.values()), sum(report.changed.values())
    return f"{', '.join(counts) or 'nothing'} ({created} created, {changed} changed)"
