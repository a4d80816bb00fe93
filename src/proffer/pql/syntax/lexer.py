"""Lexer: text to tokens. Reports every invalid character, not only the first."""

import re

from proffer.pql.syntax.diagnostics import Diagnostic
from proffer.pql.syntax.limits import MAX_INTEGER
from proffer.pql.syntax.source import Span
from proffer.pql.syntax.tokens import Token, TokenKind

_WORDS = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<double>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<integer>[0-9]+)(?P<long>L\b)?
    | (?P<name>(?:xdm:@?)?[^\W\d]\w*)
    | (?P<quoted>`[^`]*`)
    | (?P<text>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
    | (?P<parameter>\$[0-9]+)
    | (?P<context>@\{[^}]*\})
    | (?P<sign>=>|==|!=|>=|<=|<>|&&|\|\||[=<>+\-*/%!^.,:()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBER_RUNS_ON = re.compile(r"\w")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}

_FOREIGN_SIGNS = {
    "==": ("`==` is not an operator", "use `=`"),
    "<>": ("`<>` is not an operator", "use `!=`"),
    "&&": ("`&&` is not an operator", "use `and`"),
    "||": ("`||` is not an operator", "use `or`"),
}
_STRAY = {
    '"': ("this text has no closing quote", 'end it with `"`; write a quote inside it as `\\"`'),
    "'": ("this text has no closing quote", "end it with `'`"),
    "`": ("this name has no closing backtick", "end it with a backtick"),
    "@": ("this context reference is not complete", "write `@{name}`"),
    "$": ("a parameter is a `$` and a number", "write `$1`"),
    "“": ("“ is not a quote of the language", 'use the plain `"`'),
    "”": ("” is not a quote of the language", 'use the plain `"`'),
    ";": ("`;` has no meaning here", "a rule is one expression"),
    "#": ("there are no comments in a rule", None),
    "&": ("`&` is not an operator", "use `and`"),
    "|": ("`|` is not an operator", "use `or`"),
    "?": ("`?` is not an operator", "use `if(test, then, otherwise)`"),
}


def tokenize(text: str) -> tuple[list[Token], list[Diagnostic]]:
    """Return the tokens, ending in END, and the lexical errors."""
    tokens: list[Token] = []
    findings: list[Diagnostic] = []
    at = 0
    while at < len(text):
        found = _WORDS.match(text, at)
        if found is None:
            findings.append(_stray(text, at))
            at = len(text) if text[at] in "\"'`" else at + 1
            continue
        at = found.end()
        kind = found.lastgroup
        if kind != "space":
            token = _token(found, findings)
            if token.kind in (TokenKind.INTEGER, TokenKind.DOUBLE) and _NUMBER_RUNS_ON.match(
                text, at
            ):
                findings.append(_runs_on(found))
            tokens.append(token)
    tokens.append(Token(TokenKind.END, "", "", len(text), len(text)))
    return tokens, findings


def _token(found: re.Match[str], findings: list[Diagnostic]) -> Token:
    written, start, end = found.group(), found.start(), found.end()
    match found.lastgroup:
        case "name":
            name = written.removeprefix("xdm:")
            return Token(
                TokenKind.NAME, name, "" if name != written else written.lower(), start, end
            )
        case "sign":
            if written in _FOREIGN_SIGNS:
                message, help_ = _FOREIGN_SIGNS[written]
                findings.append(Diagnostic("pql.syntax", message, help_, Span(start, end)))
            return Token(TokenKind.SIGN, written, written, start, end)
        case "text":
            return Token(TokenKind.TEXT, unescape(written[1:-1]), "", start, end)
        case "integer" | "long":
            return _integer(found, findings)
        case "double":
            return _double(found, findings)
        case "quoted":
            if written == "``":
                findings.append(
                    Diagnostic("pql.syntax", "a name cannot be empty", None, Span(start, end))
                )
            return Token(TokenKind.QUOTED, written[1:-1].removeprefix("xdm:"), "", start, end)
        case "parameter":
            return Token(TokenKind.PARAMETER, int(written[1:6]), "", start, end)
        case _:
            return Token(TokenKind.CONTEXT, written[2:-1].strip(), "", start, end)


def _integer(found: re.Match[str], findings: list[Diagnostic]) -> Token:
    digits = found.group("integer").lstrip("0") or "0"
    value = int(digits) if len(digits) < 20 else MAX_INTEGER + 1
    if value > MAX_INTEGER:
        where = Span(*found.span())
        findings.append(Diagnostic("pql.number", "an integer has at most 64 bits", None, where))
        value = 0
    return Token(TokenKind.INTEGER, value, "", *found.span())


def _double(found: re.Match[str], findings: list[Diagnostic]) -> Token:
    value = float(found.group())
    if value == float("inf"):
        findings.append(
            Diagnostic("pql.number", "this number is too large", None, Span(*found.span()))
        )
        value = 0.0
    return Token(TokenKind.DOUBLE, value, "", *found.span())


def _stray(text: str, at: int) -> Diagnostic:
    char = text[at]
    message, help_ = _STRAY.get(char, (f"{char!r} has no meaning here", None))
    end = len(text) if char in "\"'`" else at + 1
    return Diagnostic("pql.syntax", message, help_, Span(at, end))


def _runs_on(found: re.Match[str]) -> Diagnostic:
    help_ = "put a space after the number, or backticks around a name that starts with a digit"
    return Diagnostic("pql.syntax", "a letter follows the number", help_, Span(*found.span()))


def unescape(text: str) -> str:
    r"""Resolve escapes: `\\n`, `\\t`, `\\r`; any other escaped character stands for itself."""
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)
