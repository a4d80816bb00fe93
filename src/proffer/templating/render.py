"""Render nodes to text. Work and length are bounded, so that a template cannot delay a request."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from html import escape
from typing import Any
from urllib.parse import quote

from proffer.pql.run.interpret import evaluate
from proffer.pql.values.environment import Environment, TooMuchWork
from proffer.pql.values.values import show_number, truth
from proffer.templating.nodes import Body, Each, Expression, If, Let, Node, Show, Text, With

MOST_CHARACTERS = 300 * 1024

Escape = Callable[[str], str]


class Fault(Exception):
    """A template could not be rendered for this customer; the message says why."""


def in_html(text: str) -> str:
    return escape(text, quote=True)


def in_json(text: str) -> str:
    """Escape for the inside of a JSON string, also within an HTML `<script>`."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("</", "<\\/")


def in_url(text: str) -> str:
    return quote(text, safe="")


def as_is(text: str) -> str:
    return text


def render(body: Body, environment: Environment, escaped: Escape) -> str:
    """Render the text. Raises only `TemplateRenderError`: too much work, too long, or too deep."""
    renderer = _Renderer(environment, escaped)
    try:
        renderer.body(body)
    except TooMuchWork:
        raise Fault("it takes too much work") from None
    except RecursionError:
        raise Fault("it is nested too deep") from None
    return "".join(renderer.parts)


class _Renderer:
    def __init__(self, environment: Environment, escaped: Escape) -> None:
        self.variables: dict[str, Any] = dict(environment.variables)
        self.environment = Environment(
            profile=environment.profile,
            now=environment.now,
            context=environment.context,
            events=environment.events,
            offer=environment.offer,
            variables=self.variables,
            tz=environment.tz,
        )
        self.escaped = escaped
        self.parts: list[str] = []
        self.length = 0

    def body(self, body: Body) -> None:
        before = dict(self.variables) if any(isinstance(node, Let) for node in body) else None
        for node in body:
            self.node(node)
        if before is not None:
            self.variables.clear()
            self.variables.update(before)

    def node(self, node: Node) -> None:
        match node:
            case Text(text):
                self.write(text)
            case Show(value, raw):
                text = as_text(self.value(value))
                self.write(text if raw else self.escaped(text))
            case If(branches, otherwise):
                for test, body in branches:
                    if truth(self.value(test)):
                        self.body(body)
                        return
                self.body(otherwise)
            case Each():
                self.each(node)
            case With(value, name, body, otherwise):
                found = self.value(value)
                if _is_missing(found):
                    self.body(otherwise)
                else:
                    self.under(name, found, body)
            case Let(name, value):
                self.variables[name] = self.value(value)

    def each(self, node: Each) -> None:
        found = self.value(node.items)
        if isinstance(found, Mapping):
            items: Sequence[Any] = list(found.values())
        else:
            items = found if isinstance(found, list | tuple) else [] if found is None else [found]
        if not items:
            self.body(node.otherwise)
        for item in items:
            self.environment.charge(1)
            self.under(node.name, item, node.body)

    def under(self, name: str, value: Any, body: Body) -> None:
        shadowed = self.variables.get(name)
        self.variables[name] = value
        self.body(body)
        self.variables[name] = shadowed

    def value(self, expression: Expression) -> Any:
        """Return the first value that is not missing, else the last."""
        found = None
        for core in expression.choices:
            self.environment.charge(1)
            found = evaluate(core, self.environment)
            if not _is_missing(found):
                break
        return found

    def write(self, text: str) -> None:
        self.length += len(text)
        if self.length > MOST_CHARACTERS:
            raise Fault(f"it becomes longer than {MOST_CHARACTERS:,} characters")
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
        return show_number(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    return json.dumps(value, ensure_ascii=False, default=as_text)
