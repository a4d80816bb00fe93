"""Entry point: compile content to a template, or return its problems.

Text without template tags needs no template: check `has_template_tags` first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proffer.pql.values.environment import Environment
from proffer.templating.nodes import Body, Problem
from proffer.templating.parser import has_marks, parse
from proffer.templating.render import (
    Escape,
    Fault,
    as_is,
    in_html,
    in_json,
    in_url,
    render,
)


class Format(StrEnum):
    """Format of the rendered text. It decides how values are escaped."""

    HTML = "html"
    JSON = "json"
    URL = "url"
    TEXT = "text"


_ESCAPES: Mapping[Format, Escape] = {
    Format.HTML: in_html,
    Format.JSON: in_json,
    Format.URL: in_url,
    Format.TEXT: as_is,
}


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. Immutable, so it can be shared."""

    body: Body
    format: Format

    def render(self, environment: Environment) -> str:
        """Render the text. Raises `TemplateRenderError` only; checks that JSON output is JSON."""
        text = render(self.body, environment, _ESCAPES[self.format])
        if self.format is Format.JSON:
            try:
                json.loads(text, parse_constant=_refuse)
            except (ValueError, RecursionError):
                raise Fault("what it gives for this customer is not JSON") from None
        return text


@dataclass(frozen=True, slots=True)
class Rejected:
    """All problems of a text that is not a valid template."""

    problems: tuple[Problem, ...]


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def compile_template(text: str, format_: Format) -> Template | Rejected:
    """Compile a template from its text. Never raises."""
    body, problems = parse(text)
    return Rejected(tuple(problems)) if problems else Template(body, format_)


__all__ = ["Fault", "Format", "Problem", "Rejected", "Template", "compile_template", "has_marks"]
