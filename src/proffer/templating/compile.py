"""Entry point: compile content to a template, or return its problems.

Text without template tags needs no template: check `has_template_tags` first.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proffer.pql.check.schema import XDM, Schema
from proffer.pql.values.environment import Environment
from proffer.templating.nodes import Body, TemplateProblem
from proffer.templating.parser import has_template_tags, parse_template
from proffer.templating.render import (
    Escape,
    TemplateRenderError,
    escape_html,
    escape_json,
    escape_url,
    no_escape,
    render,
)


class Format(StrEnum):
    """Format of the rendered text. It decides how values are escaped."""

    HTML = "html"
    JSON = "json"
    URL = "url"
    TEXT = "text"


_ESCAPES: Mapping[Format, Escape] = {
    Format.HTML: escape_html,
    Format.JSON: escape_json,
    Format.URL: escape_url,
    Format.TEXT: no_escape,
}


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Template:
    """A compiled template. Immutable, so it can be shared."""

    body: Body
    format: Format

    def render(self, environment: Environment) -> str:
        """Render the text. Raises `TemplateRenderError` only; checks that JSON output is JSON."""
        text = render(self.body, environment, _ESCAPES[self.format])
        if self.format is Format.JSON and json_error(text) is not None:
            raise TemplateRenderError("the result for this customer is not valid JSON")
        return text


@dataclass(frozen=True, slots=True)
class TemplateErrors:
    """All problems of a text that is not a valid template."""

    problems: tuple[TemplateProblem, ...]


def json_error(text: str) -> json.JSONDecodeError | None:
    """Return why a text is not JSON, with its place; None if it is."""
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_int=len)  # Python's int refuses 5,000 digits
    except json.JSONDecodeError as error:
        return error
    except _ConstantFound as error:
        match = next(match for match in _CONSTANT.finditer(text) if match[1])
        return json.JSONDecodeError(f"`{error}` is not a JSON value", text, match.start(1))
    except RecursionError:
        return json.JSONDecodeError("it is nested too deeply", text, 0)
    return None


class _ConstantFound(Exception):
    """A constant that Python's JSON has and the standard has not."""


_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)')


def _refuse_constant(word: str) -> None:
    raise _ConstantFound(word)


def compile_template(text: str, format_: Format, schema: Schema = XDM) -> Template | TemplateErrors:
    """Compile a template from its text. Never raises. Its expressions compare by the types of the schema."""
    body, problems = parse_template(text, schema)
    return TemplateErrors(tuple(problems)) if problems else Template(body, format_)


__all__ = [
    "Format",
    "Template",
    "TemplateErrors",
    "TemplateProblem",
    "TemplateRenderError",
    "compile_template",
    "has_template_tags",
    "json_error",
]
