"""Parse template text to nodes, or report all its problems.

    {{ expression }}        its value, escaped        {{{ expression }}}     its value, raw
    {%= expression %}       its value, escaped        {{! … }}               nothing: a comment
    {%#if test%} … {%else if test%} … {%else%} … {%/if%}        {%#unless test%} … {%/unless%}
    {%#each list as |item|%} … {%else%} … {%/each%}             {%#with value as |name|%} … {%/with%}
    {%let name = expression%}

Blocks may be written with `{{ }}` as well as with `{% %}`. The parser keeps its own stack, so nesting
costs memory and not recursion.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from proffer.pql.check.schema import Schema
from proffer.pql.syntax.source import SourceText
from proffer.templating.expressions import ROOTS, ExpressionProblem, parse_expression, skip_quoted
from proffer.templating.nodes import (
    Body,
    EachBlock,
    IfBlock,
    LetTag,
    LiteralText,
    Node,
    OutputTag,
    TemplateExpression,
    TemplateProblem,
    WithBlock,
)
from proffer.templating.unsupported import (
    UNSUPPORTED_HELPERS,
    find_unsupported_helper,
    unsupported_message,
)

MAX_DEPTH = 30
MAX_TAGS = 2_000
MAX_CHARACTERS = 300 * 1024
MAX_PROBLEMS = 20
THIS = "this"

_OPENING = re.compile(r"\{\{\{|\{\{|\{%")
_CLOSINGS = {"{{{": "}}}", "{{": "}}", "{%": "%}"}
_AS = re.compile(r"(?P<value>.*?)\s+as\s+\|\s*(?P<name>[^\W\d]\w*)\s*\|\s*", re.DOTALL)
_LET = re.compile(r"let\s+(?P<name>[^\W\d]\w*)\s*=(?!=)(?P<value>.*)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]*")
_BLOCKS = ("if", "unless", "each", "with")


def has_template_tags(text: str) -> bool:
    """Return whether the text contains template tags."""
    return "{{" in text or "{%" in text


@dataclass(slots=True)
class _OpenBlock:
    """An open block and what has been parsed of it."""

    keyword: str
    at: int
    names: frozenset[str]
    body: list[Node] = field(default_factory=list)
    test: TemplateExpression | None = None
    variable: str = THIS
    branches: list[tuple[TemplateExpression, Body]] = field(default_factory=list)
    body_before_else: Body | None = None  # the body before `else`


@dataclass(frozen=True, slots=True)
class _Tag:
    """A tag: its opening delimiter, its inner text, and the offsets of both."""

    opening: str
    at: int
    text: str
    text_at: int


_EMPTY_EXPRESSION = TemplateExpression(())


def parse_template(text: str, schema: Schema) -> tuple[Body, list[TemplateProblem]]:
    """Parse a template. Returns its nodes and its problems in text order; with problems, ignore the nodes."""
    if len(text) > MAX_CHARACTERS:
        return (), [TemplateProblem("the template is too long", 1, 1, f"use at most {MAX_CHARACTERS:,} characters")]
    parser = _TemplateParser(text, schema)
    body = parser.run()
    source = SourceText(text)
    problems = [
        TemplateProblem(message, *source.position_of(at), help_)
        for at, message, help_ in sorted(parser.problems)[:MAX_PROBLEMS]
    ]
    return body, problems


class _TemplateParser:
    def __init__(self, text: str, schema: Schema) -> None:
        self.text = text
        self.schema = schema
        self.problems: list[ExpressionProblem] = []
        self.stack = [_OpenBlock("", 0, frozenset())]

    def run(self) -> Body:
        for count, part in enumerate(self._tokens()):
            if isinstance(part, str):
                self.stack[-1].body.append(LiteralText(part))
            elif count > 2 * MAX_TAGS:
                self._report_problem(part.at, f"more than {MAX_TAGS:,} template tags", "split the content")
                return ()
            elif len(self.stack) > MAX_DEPTH:
                self._report_problem(
                    part.at,
                    f"blocks are nested more than {MAX_DEPTH - 1} deep",
                    "reduce the nesting",
                )
                return ()
            else:
                self._parse_tag(part)
        for frame in self.stack[1:]:
            self._report_problem(frame.at, f"`{frame.keyword}` is not closed", f"close it: `{{%/{frame.keyword}%}}`")
        return tuple(self.stack[0].body)

    def _tokens(self) -> Iterator[str | _Tag]:
        text, at = self.text, 0
        while (mark := _OPENING.search(text, at)) is not None:
            if mark.start() > at:
                yield text[at : mark.start()]
            end = self._find_closing(mark)
            if end is None:
                self._report_problem(
                    mark.start(),
                    f"`{mark[0]}` is not closed",
                    f"write `{_CLOSINGS[mark[0]]}` after it",
                )
                return
            yield _Tag(mark[0], mark.start(), text[mark.end() : end], mark.end())
            at = end + len(_CLOSINGS[mark[0]])
        if at < len(text):
            yield text[at:]

    def _find_closing(self, mark: re.Match[str]) -> int | None:
        text, at, end = self.text, mark.end(), _CLOSINGS[mark[0]]
        if text[at : at + 1] == "!":  # a comment may hold quotes
            position = text.find(end, at)
            return position if position >= 0 else None
        depth = 0
        while at < len(text):
            character = text[at]
            if character in "\"'`":
                at = skip_quoted(text, at)
                continue
            if depth <= 0 and text.startswith(end, at):
                return at
            depth += (character == "{") - (character == "}")
            at += 1
        return None

    def _parse_tag(self, tag: _Tag) -> None:
        body = tag.text.strip()
        at = tag.text_at + len(tag.text) - len(tag.text.lstrip())
        word = _WORD.match(body, 1)
        if body.startswith("!"):
            return
        if tag.opening == "{{{":
            self._add_output(body, at, raw=True)
        elif body.startswith("#"):
            assert word is not None
            self._open_block(word[0], body[word.end() :], tag.at, at + word.end())
        elif body.startswith("/"):
            self._close_block(body[1:].strip(), tag.at)
        elif body == "else" or re.match(r"else\s*if\b", body):
            self._add_else(body[4:].strip(), tag.at, at)
        elif (let := _LET.fullmatch(body)) is not None:
            self._add_variable(let["name"], let["value"], tag.at, at + let.start("value"))
        elif tag.opening == "{{":
            self._add_output(body, at)
        elif body.startswith("="):
            self._add_output(body[1:], at + 1)
        elif (helper := find_unsupported_helper(body)) is not None:
            self._report_problem(tag.at, *unsupported_message(helper))
        else:
            self._report_problem(
                tag.at,
                "unknown template tag",
                "write `{%= expression %}`, a block, or `{%let name = expression%}`",
            )

    def _add_output(self, text: str, at: int, *, raw: bool = False) -> None:
        value = self._parse_expression(text, at)
        self.stack[-1].body.append(OutputTag(value, raw))

    def _open_block(self, word: str, text: str, tag_at: int, at: int) -> None:
        if word in UNSUPPORTED_HELPERS:
            self._report_problem(tag_at, *unsupported_message(word))
            return
        if word not in _BLOCKS:
            self._report_problem(tag_at, f"unknown block `{word}`", f"blocks are {', '.join(_BLOCKS)}")
            return
        names, name = self.stack[-1].names, THIS
        if word in ("each", "with"):
            binding = _AS.fullmatch(text)
            if binding is not None:
                text, name = binding["value"], binding["name"]
                self._check_name(name, tag_at)
        test = self._parse_expression(text, at)
        inside = names | {name} if word in ("each", "with") else names
        self.stack.append(_OpenBlock(word, tag_at, inside, test=test, variable=name))

    def _add_else(self, condition: str, tag_at: int, at: int) -> None:
        frame = self.stack[-1]
        is_else_if = condition.startswith("if")
        if not frame.keyword or frame.body_before_else is not None:
            self._report_problem(
                tag_at,
                "this `else` does not belong to an open block",
                "open a block before it, and write `else` last",
            )
        elif is_else_if and frame.keyword != "if":
            self._report_problem(tag_at, "`else if` is valid only in an `if` block", "nest an `if` in an `else`")
        elif is_else_if:
            assert frame.test is not None
            frame.branches.append((frame.test, tuple(frame.body)))
            skipped = self.text.index("if", at + 4) + 2
            frame.test = self._parse_expression(condition[2:], skipped)
            frame.body = []
        else:
            frame.body_before_else = tuple(frame.body)
            frame.body = []
            frame.names = self.stack[-2].names if frame.keyword in ("each", "with") else frame.names

    def _close_block(self, word: str, at: int) -> None:
        if word in UNSUPPORTED_HELPERS:
            self._report_problem(at, *unsupported_message(word))
            return
        frame = self.stack[-1]
        if not frame.keyword or frame.keyword != word:
            open_block = f"the open block is `{frame.keyword}`" if frame.keyword else "no block is open"
            self._report_problem(
                at,
                f"`/{word}` closes a block, but {open_block}",
                "close blocks in the order they were opened, last first",
            )
            return
        self.stack.pop()
        self.stack[-1].body.append(_build_block(frame))

    def _add_variable(self, name: str, text: str, tag_at: int, at: int) -> None:
        self._check_name(name, tag_at)
        frame = self.stack[-1]
        frame.body.append(LetTag(name, self._parse_expression(text, at)))
        frame.names |= {name}

    def _check_name(self, name: str, at: int) -> None:
        if name in ROOTS:
            self._report_problem(at, f"`{name}` is a reserved name", "choose another name")

    def _parse_expression(self, text: str, at: int) -> TemplateExpression:
        value, problems = parse_expression(text, at, self.stack[-1].names, self.schema)
        self.problems += problems
        return value or _EMPTY_EXPRESSION

    def _report_problem(self, at: int, message: str, help_: str) -> None:
        self.problems.append((at, message, help_))


def _build_block(frame: _OpenBlock) -> Node:
    body = frame.body_before_else if frame.body_before_else is not None else tuple(frame.body)
    otherwise: Body = tuple(frame.body) if frame.body_before_else is not None else ()
    test = frame.test or _EMPTY_EXPRESSION
    match frame.keyword:
        case "if":
            return IfBlock((*frame.branches, (test, body)), otherwise)
        case "unless":
            return IfBlock(((test, otherwise),), body)
        case "each":
            return EachBlock(test, frame.variable, body, otherwise)
        case _:
            return WithBlock(test, frame.variable, body, otherwise)
