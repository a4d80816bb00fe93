"""Render nodes to text. Work and length are bounded, so that a template cannot delay a request."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from html import escape
from typing import Any
from urllib.parse import quote

from proffer.pql.run.interpret import evaluate
from proffer.pql.values.environment import Environment, WorkLimitExceeded
from proffer.pql.values.values import format_number, truth
from proffer.templating.nodes import (
    Body,
    EachBlock,
    IfBlock,
    LetTag,
    LiteralText,
    Node,
    OutputTag,
    TemplateExpression,
    WithBlock,
)

MAX_OUTPUT_CHARACTERS = 300 * 1024

Escape = Callable[[str], str]


class TemplateRenderError(Exception):
    """A template could not be rendered for this customer; the message says why."""


def escape_html(text: str) -> str:
    return escape(text, quote=True)


def escape_json(text: str) -> str:
    """Escape for inside a JSON string, also within an HTML `<script>`."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("</", "<\\/")


def escape_url(text: str) -> str:
    return quote(text, safe="")


def no_escape(text: str) -> str:
    return text


def render(body: Body, environment: Environment, escape_value: Escape) -> str:
    """Render the text. Raises only `TemplateRenderError`: too much work, too long, or too deep."""
    renderer = _Renderer(environment, escape_value)
    try:
        renderer.render_body(body)
    except WorkLimitExceeded:
        raise TemplateRenderError("it exceeds the work limit") from None
    except RecursionError:
        raise TemplateRenderError("it is nested too deeply") from None
    return "".join(renderer.parts)


class _Renderer:
    def __init__(self, environment: Environment, escape_value: Escape) -> None:
        self.variables: dict[str, Any] = dict(environment.variables)
        self.environment = Environment(
            profile=environment.profile,
            now=environment.now,
            context=environment.context,
            events=environment.events,
            offer=environment.offer,
            variables=self.variables,
            tz=environment.tz,
            audience_ids=environment.audience_ids,
        )
        self.escape_value = escape_value
        self.parts: list[str] = []
        self.length = 0

    def render_body(self, body: Body) -> None:
        before = dict(self.variables) if any(isinstance(node, LetTag) for node in body) else None
        for node in body:
            self.render_node(node)
        if before is not None:
            self.variables.clear()
            self.variables.update(before)

    def render_node(self, node: Node) -> None:
        match node:
            case LiteralText(text):
                self.write(text)
            case OutputTag(value, raw):
                text = as_text(self.evaluate_expression(value))
                self.write(text if raw else self.escape_value(text))
            case IfBlock(branches, otherwise):
                for test, body in branches:
                    if truth(self.evaluate_expression(test)):
                        self.render_body(body)
                        return
                self.render_body(otherwise)
            case EachBlock():
                self.render_each(node)
            case WithBlock(value, name, body, otherwise):
                with_value = self.evaluate_expression(value)
                if _is_missing(with_value):
                    self.render_body(otherwise)
                else:
                    self.render_with(name, with_value, body)
            case LetTag(name, value):
                self.variables[name] = self.evaluate_expression(value)

    def render_each(self, node: EachBlock) -> None:
        collection = self.evaluate_expression(node.items)
        if isinstance(collection, Mapping):
            items: Sequence[Any] = list(collection.values())
        else:
            items = collection if isinstance(collection, list | tuple) else [] if collection is None else [collection]
        if not items:
            self.render_body(node.otherwise)
        for item in items:
            self.environment.charge(1)
            self.render_with(node.name, item, node.body)

    def render_with(self, name: str, value: Any, body: Body) -> None:
        previous = self.variables.get(name)
        self.variables[name] = value
        self.render_body(body)
        self.variables[name] = previous

    def evaluate_expression(self, expression: TemplateExpression) -> Any:
        """Return the first value that is not missing, else the last."""
        value = None
        for core in expression.choices:
            self.environment.charge(1)
            value = evaluate(core, self.environment)
            if not _is_missing(value):
                break
        return value

    def write(self, text: str) -> None:
        self.length += len(text)
        if self.length > MAX_OUTPUT_CHARACTERS:
            raise TemplateRenderError(f"it is longer than {MAX_OUTPUT_CHARACTERS:,} characters")
        self.parts.append(text)


def _is_missing(value: Any) -> bool:
    return value is None or value == ""


def as_text(value: Any) -> str:
    """Format a value: empty for null, `true`, `12`, `1.5`; lists and objects as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format_number(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    return json.dumps(value, ensure_ascii=False, default=as_text)
