"""Lexer: text to tokens. Reports every invalid character, not only the first."""

import re

from proffer.pql.syntax.diagnostics import Diagnostic, TextFix
from proffer.pql.syntax.limits import MAX_INTEGER
from proffer.pql.syntax.source import TextSpan
from proffer.pql.syntax.tokens import Token, TokenKind

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt\x20]
        [0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?)
    | (?P<day>[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}\b)
    | (?P<double>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<integer>[0-9]+)(?P<long>L\b)?
    | (?P<name>(?:xdm:@?)?[^\W\d]\w*)
    | (?P<quoted>`[^`]*`)
    | (?P<text>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
    | (?P<parameter>\$[0-9]+)
    | (?P<context>@\{[^}]*\})
    | (?P<sign>=>|===?|!==|!=|>=|<=|<>|&&|\|\||[=<>+\-*/%!^.,:()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD_CHARACTER = re.compile(r"\w")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED_CHARACTERS = {"n": "\n", "t": "\t", "r": "\r"}

_FOREIGN_SIGNS = {"==": "=", "===": "=", "!==": "!=", "<>": "!=", "&&": "and", "||": "or"}
_FOREIGN_CHARACTERS = {"&": "and", "|": "or", "≥": ">=", "≤": "<=", "≠": "!=", "×": "*", "÷": "/", "−": "-"}
_QUOTATION_MARKS = "“”„‟«»‘’‚‛‹›"
_UNEXPECTED_CHARACTERS = {
    '"': ("this text has no closing quote", 'end it with `"`; write a quote inside it as `\\"`'),
    "'": ("this text has no closing quote", "end it with `'`"),
    "`": ("this name has no closing backtick", "end it with a backtick"),
    "@": ("this context reference is incomplete", "write `@{name}`"),
    "$": ("a parameter is a `$` and a number", "write `$1`"),
    "#": ("comments are not supported", None),
    "?": ("`?` is not an operator", "use `if(test, then, otherwise)`"),
}


def tokenize(text: str) -> tuple[list[Token], list[Diagnostic]]:
    """Return the tokens, ending in END, and the lexical errors."""
    tokens: list[Token] = []
    findings: list[Diagnostic] = []
    position = 0
    while position < len(text):
        token_match = _TOKEN.match(text, position)
        if token_match is None:
            findings.append(_unexpected_character(text, position))
            position = len(text) if text[position] in "\"'`" else position + 1
            continue
        position = token_match.end()
        kind = token_match.lastgroup
        if kind != "space":
            token = _token_from_match(token_match, findings)
            if token.kind in (TokenKind.INTEGER, TokenKind.DOUBLE) and _WORD_CHARACTER.match(text, position):
                findings.append(_letter_after_number(token_match))
            tokens.append(token)
    tokens.append(Token(TokenKind.END, "", "", len(text), len(text)))
    return tokens, findings


def _token_from_match(token_match: re.Match[str], findings: list[Diagnostic]) -> Token:
    source_text, start, end = token_match.group(), token_match.start(), token_match.end()
    match token_match.lastgroup:
        case "name":
            name = source_text.removeprefix("xdm:")
            return Token(TokenKind.NAME, name, "" if name != source_text else source_text.lower(), start, end)
        case "sign":
            if source_text in _FOREIGN_SIGNS:
                findings.append(_foreign_sign(source_text, _FOREIGN_SIGNS[source_text], start))
            return Token(TokenKind.SIGN, source_text, source_text, start, end)
        case "time" | "day":
            findings.append(_bare_time(source_text, start))
            return Token(TokenKind.TEXT, source_text, "", start, end)
        case "text":
            return Token(TokenKind.TEXT, unescape(source_text[1:-1]), "", start, end)
        case "integer" | "long":
            return _integer_token(token_match, findings)
        case "double":
            return _double_token(token_match, findings)
        case "quoted":
            if source_text == "``":
                findings.append(Diagnostic("pql.syntax", "a name cannot be empty", None, TextSpan(start, end)))
            return Token(TokenKind.QUOTED, source_text[1:-1].removeprefix("xdm:"), "", start, end)
        case "parameter":
            return Token(TokenKind.PARAMETER, int(source_text[1:6]), "", start, end)
        case _:
            return Token(TokenKind.CONTEXT, source_text[2:-1].strip(), "", start, end)


def _integer_token(token_match: re.Match[str], findings: list[Diagnostic]) -> Token:
    digits = token_match.group("integer").lstrip("0") or "0"
    value = int(digits) if len(digits) < 20 else MAX_INTEGER + 1
    if value > MAX_INTEGER:
        span = TextSpan(*token_match.span())
        findings.append(Diagnostic("pql.number", "an integer has at most 64 bits", None, span))
        value = 0
    return Token(TokenKind.INTEGER, value, token_match.group("integer"), *token_match.span())


def _double_token(token_match: re.Match[str], findings: list[Diagnostic]) -> Token:
    value = float(token_match.group())
    if value == float("inf"):
        findings.append(Diagnostic("pql.number", "this number is too large", None, TextSpan(*token_match.span())))
        value = 0.0
    return Token(TokenKind.DOUBLE, value, token_match.group(), *token_match.span())


def _unexpected_character(text: str, position: int) -> Diagnostic:
    char = text[position]
    span = TextSpan(position, len(text) if char in "\"'`" else position + 1)
    if char in _FOREIGN_CHARACTERS:
        return _foreign_sign(char, _FOREIGN_CHARACTERS[char], position)
    if char in _QUOTATION_MARKS:
        message = f"`{char}` is not a quotation mark of PQL"
        return Diagnostic("pql.syntax", message, 'use the plain `"`', span, fix=TextFix(span, '"'))
    if char == ";":
        fix = None if text[position + 1 :].strip() else TextFix(span, "")
        return Diagnostic("pql.syntax", "unexpected `;`", "a rule is one expression", span, fix=fix)
    message, help_ = _UNEXPECTED_CHARACTERS.get(char, (f"unexpected character {char!r}", None))
    return Diagnostic("pql.syntax", message, help_, span)


def _foreign_sign(sign: str, replacement: str, start: int) -> Diagnostic:
    span = TextSpan(start, start + len(sign))
    message = f"`{sign}` is not an operator"
    return Diagnostic("pql.syntax", message, f"use `{replacement}`", span, fix=TextFix(span, replacement))


def _bare_time(text: str, start: int) -> Diagnostic:
    """Return the error of a time or a day with points that has no quotes."""
    span = TextSpan(start, start + len(text))
    if "." in text[:3]:
        day, month, year = map(int, text.split("."))
        replacement, message = f"date({year}, {month}, {day})", f"`{text}` is not a date of PQL"
    else:
        replacement, message = f'"{text.replace(" ", "T")}"', "a time needs quotes"
    return Diagnostic("pql.date", message, f"write `{replacement}`", span, fix=TextFix(span, replacement))


def _letter_after_number(token_match: re.Match[str]) -> Diagnostic:
    help_ = "put a space after the number, or backticks around a name that starts with a digit"
    return Diagnostic("pql.syntax", "unexpected letter after the number", help_, TextSpan(*token_match.span()))


def unescape(text: str) -> str:
    r"""Resolve escapes: `\n`, `\t`, `\r`; any other escaped character stands for itself."""
    return _ESCAPE.sub(lambda escape_match: _ESCAPED_CHARACTERS.get(escape_match[1], escape_match[1]), text)
