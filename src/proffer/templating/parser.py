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

from proffer.pql.syntax.source import Source
from proffer.templating.expressions import ROOTS, Mistake, after_quote, read_expression
from proffer.templating.nodes import (
    Body,
    Each,
    Expression,
    If,
    Let,
    Node,
    Problem,
    Show,
    Text,
    With,
)
from proffer.templating.unsupported import UNSUPPORTED, helper_in, message_of

MOST_NESTED = 30
MOST_TAGS = 2_000
MOST_CHARACTERS = 300 * 1024
MOST_PROBLEMS = 20
THIS = "this"

_MARK = re.compile(r"\{\{\{|\{\{|\{%")
_ENDS = {"{{{": "}}}", "{{": "}}", "{%": "%}"}
_AS = re.compile(r"(?P<value>.*?)\s+as\s+\|\s*(?P<name>[^\W\d]\w*)\s*\|\s*", re.DOTALL)
_LET = re.compile(r"let\s+(?P<name>[^\W\d]\w*)\s*=(?!=)(?P<value>.*)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]*")
_BLOCKS = ("if", "unless", "each", "with")


def has_marks(text: str) -> bool:
    """Return whether the text contains template tags."""
    return "{{" in text or "{%" in text


@dataclass(slots=True)
class _Frame:
    """An open block and what has been parsed of it."""

    word: str
    at: int
    names: frozenset[str]
    body: list[Node] = field(default_factory=list)
    test: Expression | None = None
    name: str = THIS
    branches: list[tuple[Expression, Body]] = field(default_factory=list)
    first: Body | None = None  # the body before `else`


@dataclass(frozen=True, slots=True)
class _Tag:
    """A tag: its opening delimiter, its inner text, and the offsets of both."""

    mark: str
    at: int
    text: str
    text_at: int


_NOTHING = Expression(())


def parse(text: str) -> tuple[Body, list[Problem]]:
    """Parse a template. Returns its nodes and its problems in text order; with problems, ignore the nodes."""
    if len(text) > MOST_CHARACTERS:
        return (), [
            Problem("the template is too long", 1, 1, f"use at most {MOST_CHARACTERS:,} characters")
        ]
    parser = _Parser(text)
    body = parser.run()
    source = Source(text)
    problems = [
        Problem(message, *source.place(at), help_)
        for at, message, help_ in sorted(parser.mistakes)[:MOST_PROBLEMS]
    ]
    return body, problems


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.mistakes: list[Mistake] = []
        self.stack = [_Frame("", 0, frozenset())]

    def run(self) -> Body:
        for count, part in enumerate(self._parts()):
            if isinstance(part, str):
                self.stack[-1].body.append(Text(part))
            elif count > 2 * MOST_TAGS:
                self._complain(part.at, f"more than {MOST_TAGS:,} marks", "split the content")
                return ()
            elif len(self.stack) > MOST_NESTED:
                self._complain(
                    part.at, f"blocks are nested more than {MOST_NESTED - 1} deep", "nest less"
                )
                return ()
            else:
                self._tag(part)
        for frame in self.stack[1:]:
            self._complain(
                frame.at, f"`{frame.word}` is not closed", f"close it: `{{%/{frame.word}%}}`"
            )
        return tuple(self.stack[0].body)

    def _parts(self) -> Iterator[str | _Tag]:
        text, at = self.text, 0
        while (mark := _MARK.search(text, at)) is not None:
            if mark.start() > at:
                yield text[at : mark.start()]
            end = self._end(mark)
            if end is None:
                self._complain(
                    mark.start(), f"`{mark[0]}` is not closed", f"write `{_ENDS[mark[0]]}` after it"
                )
                return
            yield _Tag(mark[0], mark.start(), text[mark.end() : end], mark.end())
            at = end + len(_ENDS[mark[0]])
        if at < len(text):
            yield text[at:]

    def _end(self, mark: re.Match[str]) -> int | None:
        text, at, end = self.text, mark.end(), _ENDS[mark[0]]
        if text[at : at + 1] == "!":  # a comment may hold quotes
            found = text.find(end, at)
            return found if found >= 0 else None
        depth = 0
        while at < len(text):
            character = text[at]
            if character in "\"'`":
                at = after_quote(text, at)
                continue
            if depth <= 0 and text.startswith(end, at):
                return at
            depth += (character == "{") - (character == "}")
            at += 1
        return None

    def _tag(self, tag: _Tag) -> None:
        body = tag.text.strip()
        at = tag.text_at + len(tag.text) - len(tag.text.lstrip())
        word = _WORD.match(body, 1)
        if body.startswith("!"):
            return
        if tag.mark == "{{{":
            self._show(body, at, raw=True)
        elif body.startswith("#"):
            assert word is not None
            self._open(word[0], body[word.end() :], tag.at, at + word.end())
        elif body.startswith("/"):
            self._close(body[1:].strip(), tag.at)
        elif body == "else" or re.match(r"else\s*if\b", body):
            self._else(body[4:].strip(), tag.at, at)
        elif (let := _LET.fullmatch(body)) is not None:
            self._let(let["name"], let["value"], tag.at, at + let.start("value"))
        elif tag.mark == "{{":
            self._show(body, at)
        elif body.startswith("="):
            self._show(body[1:], at + 1)
        elif (helper := helper_in(body)) is not None:
            self._complain(tag.at, *message_of(helper))
        else:
            self._complain(
                tag.at,
                "this mark says nothing that is known",
                "write `{%= expression %}`, a block, or `{%let name = expression%}`",
            )

    def _show(self, text: str, at: int, *, raw: bool = False) -> None:
        value = self._expression(text, at)
        self.stack[-1].body.append(Show(value, raw))

    def _open(self, word: str, text: str, tag_at: int, at: int) -> None:
        if word in UNSUPPORTED:
            self._complain(tag_at, *message_of(word))
            return
        if word not in _BLOCKS:
            self._complain(
                tag_at, f"there is no block `{word}`", f"blocks are {', '.join(_BLOCKS)}"
            )
            return
        names, name = self.stack[-1].names, THIS
        if word in ("each", "with"):
            named = _AS.fullmatch(text)
            if named is not None:
                text, name = named["value"], named["name"]
                self._check_name(name, tag_at)
        test = self._expression(text, at)
        inside = names | {name} if word in ("each", "with") else names
        self.stack.append(_Frame(word, tag_at, inside, test=test, name=name))

    def _else(self, rest: str, tag_at: int, at: int) -> None:
        frame = self.stack[-1]
        chained = rest.startswith("if")
        if not frame.word or frame.first is not None:
            self._complain(
                tag_at,
                "there is nothing that this `else` could belong to",
                "open a block before it, and write `else` last",
            )
        elif chained and frame.word != "if":
            self._complain(tag_at, "`else if` belongs to an `if`", "nest an `if` in an `else`")
        elif chained:
            assert frame.test is not None
            frame.branches.append((frame.test, tuple(frame.body)))
            skipped = self.text.index("if", at + 4) + 2
            frame.test = self._expression(rest[2:], skipped)
            frame.body = []
        else:
            frame.first = tuple(frame.body)
            frame.body = []
            frame.names = self.stack[-2].names if frame.word in ("each", "with") else frame.names

    def _close(self, word: str, at: int) -> None:
        if word in UNSUPPORTED:
            self._complain(at, *message_of(word))
            return
        frame = self.stack[-1]
        if frame.word != word:
            opened = f"the open block is `{frame.word}`" if frame.word else "no block is open"
            self._complain(
                at,
                f"`{word}` is closed, but {opened}",
                "close blocks in the order they were opened, last first",
            )
            return
        self.stack.pop()
        self.stack[-1].body.append(_block(frame))

    def _let(self, name: str, text: str, tag_at: int, at: int) -> None:
        self._check_name(name, tag_at)
        frame = self.stack[-1]
        frame.body.append(Let(name, self._expression(text, at)))
        frame.names |= {name}

    def _check_name(self, name: str, at: int) -> None:
        if name in ROOTS:
            self._complain(at, f"`{name}` is taken", "choose another name")

    def _expression(self, text: str, at: int) -> Expression:
        value, mistakes = read_expression(text, at, self.stack[-1].names)
        self.mistakes += mistakes
        return value or _NOTHING

    def _complain(self, at: int, message: str, mend: str) -> None:
        self.mistakes.append((at, message, mend))


def _block(frame: _Frame) -> Node:
    body = frame.first if frame.first is not None else tuple(frame.body)
    otherwise: Body = tuple(frame.body) if frame.first is not None else ()
    test = frame.test or _NOTHING
    match frame.word:
        case "if":
            return If((*frame.branches, (test, body)), otherwise)
        case "unless":
            return If(((test, otherwise),), body)
        case "each":
            return Each(test, frame.name, body, otherwise)
        case _:
            return With(test, frame.name, body, otherwise)
