"""Recursive-descent parser: one method per precedence level, lowest first (PQL 1.2).

Context-sensitive rules are handled in the methods they concern: `in` inside `let`, the comma after a
declaration, `and` after `between`, and words that are keywords only in some positions.
"""

from collections.abc import Callable
from typing import TypeVar

from proffer.pql.syntax.diagnostics import Diagnostic, NotPql, did_you_mean
from proffer.pql.syntax.lexer import tokenize
from proffer.pql.syntax.limits import MAX_DEPTH, MAX_NESTING
from proffer.pql.syntax.nodes import (
    Aggregate,
    Beside,
    Between,
    Binary,
    Call,
    Chain,
    Context,
    Declaration,
    Direction,
    Field,
    Filter,
    If,
    Lambda,
    Let,
    ListOf,
    Literal,
    Logic,
    Name,
    Negate,
    Node,
    Not,
    ObjectOf,
    Occurs,
    On,
    Parameter,
    Period,
    Quantifier,
    Select,
    Step,
    TimeTest,
    TimeWord,
    Up,
    Within,
    depth,
)
from proffer.pql.syntax.source import Source, Span
from proffer.pql.syntax.tokens import (
    AGGREGATES,
    COMPARISONS,
    QUANTIFIERS,
    RESERVED,
    TIME_WORDS,
    UNIT_OF,
    UNITS,
    Token,
    TokenKind,
)

T = TypeVar("T", bound=Node)

_NAMES = (TokenKind.NAME, TokenKind.QUOTED)
_CONSTANTS = {"true": True, "false": False, "null": None}
_OPENING = {"(": ")", "[": "]", "{": "}"}
_AS_FUNCTION = {"in": "in", "notin": "notIn", "like": "like"}
_DIRECTIONS: dict[str, Direction] = {"before": "before", "after": "after", "from": "from"}


def parse(source: Source) -> Node:
    """Parse a text to a tree. Raises `NotPql` with the first error."""
    tokens, findings = tokenize(source.text)
    if findings:
        raise NotPql(findings[0])
    _bound_brackets(tokens)
    tree = Parser(tokens).parse_all()
    # Every level of the tree needs at least one token.
    if len(tokens) > MAX_DEPTH and depth(tree) > MAX_DEPTH:
        raise NotPql(_too_deep(tree.span))
    return tree


def _bound_brackets(tokens: list[Token]) -> None:
    """Reject deep bracket nesting before the parser recurses. Raises `NotPql`."""
    open_now = 0
    for token in tokens:
        if token.word in _OPENING:
            open_now += 1
        elif token.word in (")", "]", "}"):
            open_now -= 1
        if open_now > MAX_NESTING:
            raise NotPql(_too_deep(token.span))


def _too_deep(span: Span) -> Diagnostic:
    return Diagnostic(
        "pql.too-deep", "this rule is nested too deeply", "split it into several rules", span
    )


class Parser:
    """Parses one expression from tokens that end in END."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.here = tokens[0]
        self.nesting = 0
        # In the value expression of a `let`, a bare `in` ends the expression (PQL 1.2 rule 2).
        self.in_ends = False

    # --- token stream

    def ahead(self, steps: int) -> Token:
        return self.tokens[min(self.at + steps, len(self.tokens) - 1)]

    def next(self) -> Token:
        token = self.here
        if token.kind is not TokenKind.END:
            self.at += 1
            self.here = self.tokens[self.at]
        return token

    def take(self, *words: str) -> Token | None:
        """Consume and return the next token if it matches, else None."""
        return self.next() if self.here.word in words and self.here.word else None

    def expect(self, word: str, why: str) -> Token:
        return self.take(word) or self.fail(f"expected `{word}` {why}")

    def fail(self, message: str, help_: str | None = None, token: Token | None = None) -> Token:
        token = token or self.here
        if token.kind is TokenKind.END:
            message += ", but the rule ends here"
        raise NotPql(Diagnostic("pql.syntax", message, help_, token.span))

    def since(self, start: int) -> Span:
        return Span(start, self.tokens[self.at - 1].end)

    def nested(self, read: Callable[[], T]) -> T:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise NotPql(_too_deep(self.here.span))
        node = read()
        self.nesting -= 1
        return node

    def bracketed(self, read: Callable[[], T]) -> T:
        """Parse inside brackets, where `in` is the operator again."""
        outer, self.in_ends = self.in_ends, False
        node = read()
        self.in_ends = outer
        return node

    # --- precedence levels

    def parse_all(self) -> Node:
        if self.here.kind is TokenKind.END:
            raise NotPql(
                Diagnostic("pql.syntax", "a rule cannot be empty", "write `true` for everybody")
            )
        tree = self.parse_expression()
        self.expect_end()
        return tree

    def parse_expression(self) -> Node:
        return self.nested(self.parse_or)

    def parse_or(self) -> Node:
        return self.parse_logic("or", self.parse_and)

    def parse_and(self) -> Node:
        return self.parse_logic("and", self.parse_not)

    def parse_logic(self, word: str, below: Callable[[], Node]) -> Node:
        first = below()
        if self.here.word != word:
            return first
        parts = _same_logic(word, first)
        while self.take(word):
            parts.extend(_same_logic(word, below()))
        return Logic(word, tuple(parts), span=parts[0].span.to(parts[-1].span))

    def parse_not(self) -> Node:
        sign = self.take("not", "!")
        if sign is None:
            return self.parse_comparison()
        operand = self.nested(self.parse_not)
        return Not(operand, span=sign.span.to(operand.span))

    def parse_comparison(self) -> Node:
        left = self.parse_add()
        word = self.here.word
        if (
            word in COMPARISONS
            or word == "like"
            or (word in ("in", "notin") and not self.ends_let(word))
        ):
            self.next()
            right = self.parse_add()
            node: Node = Binary(
                _AS_FUNCTION.get(word, word), left, right, span=left.span.to(right.span)
            )
        elif self.take("occurs"):
            test = self.parse_time_test()
            node = Occurs(left, test, span=left.span.to(test.span))
        else:
            return left
        if self.here.word in COMPARISONS:
            self.fail("comparisons cannot be chained", "join two comparisons with `and`")
        return node

    def ends_let(self, word: str) -> bool:
        return self.in_ends and word == "in"

    def parse_add(self) -> Node:
        left = self.parse_multiply()
        while sign := self.take("+", "-"):
            left = self.joined(sign, left, self.parse_multiply())
        return left

    def parse_multiply(self) -> Node:
        left = self.parse_unary()
        while sign := self.take("*", "/", "%"):
            left = self.joined(sign, left, self.parse_unary())
        return left

    def joined(self, sign: Token, left: Node, right: Node) -> Node:
        return Binary(sign.word, left, right, span=left.span.to(right.span))

    def parse_unary(self) -> Node:
        sign = self.take("-")
        if sign is None:
            return self.parse_postfix()
        operand = self.nested(self.parse_unary)
        return Negate(operand, span=sign.span.to(operand.span))

    def parse_postfix(self) -> Node:
        node = self.parse_primary()
        while True:
            if self.take("."):
                node = self.parse_member(node)
            elif self.take("["):
                test = self.bracketed(self.parse_expression)
                self.expect("]", "after the condition of a filter")
                node = Filter(node, test, span=self.since(node.span.start))
            else:
                return node

    def parse_member(self, of: Node) -> Node:
        token = self.next()
        if token.kind not in _NAMES:
            help_ = "put backticks around a name that starts with a digit"
            self.fail("expected a field or function name after `.`", help_, token)
        name = str(token.value)
        if token.kind is TokenKind.NAME and self.take("("):
            arguments = (of, *self.parse_arguments())
            return call(name, arguments, self.since(of.span.start), token.span)
        return Field(of, name, span=self.since(of.span.start))

    def parse_arguments(self) -> tuple[Node, ...]:
        """Parse call arguments up to and including the closing bracket."""
        found: list[Node] = []
        while not self.take(")"):
            if found:
                self.expect(",", "or `)` after an argument")
            found.append(self.bracketed(self.parse_expression))
        return tuple(found)

    # --- primaries

    def parse_primary(self) -> Node:
        token = self.here
        match token.kind:
            case TokenKind.NAME:
                return self.parse_word(token)
            case TokenKind.QUOTED:
                self.next()
                return Name(str(token.value), span=token.span)
            case TokenKind.TEXT | TokenKind.INTEGER | TokenKind.DOUBLE:
                self.next()
                return Literal(token.value, span=token.span)
            case TokenKind.PARAMETER:
                self.next()
                return Parameter(int(token.value), span=token.span)
            case TokenKind.CONTEXT:
                self.next()
                return Context(str(token.value), span=token.span)
            case _:
                return self.parse_sign(token)

    def parse_sign(self, token: Token) -> Node:
        match token.word:
            case "(":
                return self.parse_lambda() if self.starts_lambda() else self.parse_group()
            case "[":
                return self.parse_list()
            case "{":
                return self.parse_object()
            case "^":
                return self.parse_up()
            case _:
                self.fail(
                    "expected a value" if token.word != ")" else "expected a value before `)`"
                )
                raise AssertionError

    def parse_group(self) -> Node:
        opening = self.next()
        inner = self.bracketed(self.parse_expression)
        if not self.take(")"):
            self.fail("expected `)`", f"`(` at character {opening.start + 1} is not closed")
        return inner

    def parse_list(self) -> Node:
        opening = self.next()
        items: list[Node] = []
        while not self.take("]"):
            if items:
                self.expect(",", "or `]` after an item")
            items.append(self.bracketed(self.parse_expression))
        return ListOf(tuple(items), span=self.since(opening.start))

    def parse_object(self) -> Node:
        opening = self.next()
        entries: list[tuple[str, Node]] = []
        while not self.take("}"):
            if entries:
                self.expect(",", "or `}` after a value")
            key = self.next()
            if key.kind is not TokenKind.TEXT:
                self.fail("expected a quoted key", None, key)
            self.expect(":", "after a key")
            entries.append((str(key.value), self.bracketed(self.parse_expression)))
        return ObjectOf(tuple(entries), span=self.since(opening.start))

    def parse_up(self) -> Node:
        start, levels = self.here.start, 0
        while self.take("^"):
            levels += 1
        self.take(".")
        token = self.next()
        if token.kind not in _NAMES:
            self.fail("expected a field name after `^`", None, token)
        return Up(levels, str(token.value), span=self.since(start))

    def starts_lambda(self) -> bool:
        """Return whether `(a, b) =>` follows, without consuming tokens."""
        at = 1
        while self.ahead(at).kind is TokenKind.NAME:
            if self.ahead(at + 1).word == ")":
                return self.ahead(at + 2).word == "=>"
            if self.ahead(at + 1).word != ",":
                return False
            at += 2
        return False

    def parse_lambda(self) -> Node:
        start = self.here.start
        names = [self.parse_variable("the parameter")] if self.here.word != "(" else []
        if self.take("("):
            while not self.take(")"):
                names.append(self.parse_variable("the parameter"))
                self.take(",")
        self.expect("=>", "after the parameters")
        body = self.parse_expression()
        return Lambda(tuple(names), body, span=self.since(start))

    def parse_variable(self, what: str) -> str:
        token = self.next()
        if token.kind is TokenKind.QUOTED or (
            token.kind is TokenKind.NAME and token.word not in RESERVED
        ):
            return str(token.value)
        self.fail(f"expected a name for {what}", None, token)
        raise AssertionError

    # --- words that are keywords only in some positions

    def parse_word(self, token: Token) -> Node:
        word, follows = token.word, self.ahead(1)
        if follows.word == "=>":
            return self.parse_lambda()
        if word in _CONSTANTS:
            self.next()
            return Literal(_CONSTANTS[word], span=token.span)
        if word in RESERVED and not (word in _AS_FUNCTION and follows.word == "("):
            return self.fail_at_reserved(token)
        if word in TIME_WORDS:
            return self.parse_time_word()
        return self.parse_prefix_form(word, follows) or self.parse_name(token)

    def parse_prefix_form(self, word: str, follows: Token) -> Node | None:
        if word == "if" and follows.word == "(":
            return self.parse_if()
        if word == "chain" and follows.word == "(":
            return self.parse_chain()
        if follows.kind not in _NAMES or follows.word in RESERVED:
            return None
        after = self.ahead(2).word
        if word == "let" and after == "=":
            return self.parse_let()
        if (word in QUANTIFIERS or word == "select") and after == "from":
            return self.parse_quantifier(word)
        if word in AGGREGATES:
            return self.parse_aggregate()
        return None

    def parse_name(self, token: Token) -> Node:
        self.next()
        name = str(token.value)
        if not self.take("("):
            return Name(name, span=token.span)
        arguments = self.parse_arguments()
        if token.word in AGGREGATES and len(arguments) == 1 and self.take("over"):
            return self.finish_aggregate(token, arguments[0])
        return call(name, arguments, self.since(token.start), token.span)

    def parse_time_word(self) -> Node:
        token = self.next()
        if self.here.word == "(" and self.ahead(1).word == ")":
            self.next()
            self.next()
        return TimeWord(token.word, span=self.since(token.start))

    def parse_if(self) -> Node:
        token = self.next()
        self.next()
        arguments = self.parse_arguments()
        span = self.since(token.start)
        if len(arguments) != 3:
            message = f"`if` takes a test and two values, not {len(arguments)} arguments"
            raise NotPql(
                Diagnostic("pql.arity", message, "write `if(test, then, otherwise)`", span)
            )
        return If(*arguments, span=span)

    def parse_let(self) -> Node:
        token = self.next()
        name = self.parse_variable("the value")
        self.next()
        outer, self.in_ends = self.in_ends, True
        value = self.parse_expression()
        self.in_ends = outer
        self.expect("in", "after the value of `let`")
        body = self.parse_expression()
        return Let(name, value, body, span=self.since(token.start))

    def parse_quantifier(self, word: str) -> Node:
        token = self.next()
        declarations = self.parse_declarations()
        span = self.since(token.start)
        if word == "select":
            return Select(declarations, span=span)
        return Quantifier(QUANTIFIERS[word], declarations, span=span)

    def parse_aggregate(self) -> Node:
        token = self.next()
        value = self.parse_expression()
        self.expect("over", f"after the value of `{token.value}`")
        return self.finish_aggregate(token, value)

    def finish_aggregate(self, token: Token, value: Node) -> Node:
        declarations = self.parse_declarations()
        return Aggregate(token.word, value, declarations, span=self.since(token.start))

    def parse_declarations(self) -> tuple[Declaration, ...]:
        """Parse one or more; a comma continues only before `name from` (PQL 1.2 rule 3)."""
        found = [self.parse_declaration()]
        while (
            self.here.word == "," and self.ahead(2).word == "from" and self.ahead(1).kind in _NAMES
        ):
            self.next()
            found.append(self.parse_declaration())
        return tuple(found)

    def parse_declaration(self) -> Declaration:
        start = self.here.start
        name = self.parse_variable("the item")
        self.expect("from", "after the name of the item")
        source = self.nested(self.parse_add)
        test = self.parse_expression() if self.take("where", ":") else None
        return Declaration(name, source, test, span=self.since(start))

    def parse_chain(self) -> Node:
        token = self.next()
        self.next()
        events = self.bracketed(self.parse_expression)
        self.expect(",", "after the events of a chain")
        timestamp = self.bracketed(self.parse_expression)
        self.expect(",", "after the timestamp of a chain")
        self.expect("[", "before the steps of a chain")
        steps = [self.parse_step()]
        while self.take(","):
            steps.append(self.parse_step())
        self.expect("]", "after the steps of a chain")
        self.expect(")", "after a chain")
        return Chain(events, timestamp, tuple(steps), span=self.since(token.start))

    def parse_step(self) -> Step:
        start = self.here.start
        label = self.parse_variable("the step")
        self.expect(":", "after the name of a step")
        self.expect("what", "in a step")
        self.expect("(", "after WHAT")
        what = self.bracketed(self.parse_expression)
        self.expect(")", "after the condition of a step")
        when = None
        if self.take("when"):
            self.expect("(", "after WHEN")
            when = self.bracketed(self.parse_time_test)
            self.expect(")", "after the time of a step")
        return Step(label, what, when, span=self.since(start))

    # --- time

    def parse_time_test(self) -> TimeTest:
        start = self.here.start
        if sign := self.take(*COMPARISONS):
            amount = self.next()
            if amount.kind is not TokenKind.INTEGER:
                self.fail(
                    f"expected a whole number after `{sign.value}`",
                    "as in `<= 3 days before now`",
                    amount,
                )
            unit = self.parse_unit()
            direction = self.parse_direction("after the unit of time")
            anchor = self.parse_time()
            return Within(
                sign.word, int(amount.value), unit, direction, anchor, span=self.since(start)
            )
        if self.here.word in ("before", "after") and self.ahead(1).word not in (".", ")"):
            direction = self.parse_direction("here")
            return Beside(direction, self.parse_time(), span=self.since(start))
        if self.take("between"):
            low = self.parse_time()
            self.expect("and", "between two times")
            return Between(low, self.parse_time(), span=self.since(start))
        self.take("on")
        return On(self.parse_time(), span=self.since(start))

    def parse_time(self) -> Node:
        if self.here.word in ("this", "last", "next") and self.ahead(1).kind is TokenKind.NAME:
            token = self.next()
            return Period(token.word, self.parse_unit(), span=self.since(token.start))
        return self.parse_add()

    def parse_unit(self) -> str:
        token = self.next()
        if token.word in UNIT_OF:
            return UNIT_OF[token.word]
        help_ = did_you_mean(token.word, list(UNIT_OF)) or "one of " + ", ".join(UNITS.values())
        self.fail(f"`{token.value}` is not a unit of time", help_, token)
        raise AssertionError

    def parse_direction(self, where: str) -> Direction:
        if (token := self.take("before", "after", "from")) is None:
            self.fail(f"expected `before` or `after` {where}")
            raise AssertionError
        return _DIRECTIONS[token.word]

    # --- errors

    def fail_at_reserved(self, token: Token) -> Node:
        before = self.tokens[self.at - 1].value if self.at else None
        where = f" after `{before}`" if before else ""
        self.fail(
            f"expected a value{where}, not `{token.value}`",
            "put backticks around a field of this name",
        )
        raise AssertionError

    def expect_end(self) -> None:
        token = self.here
        if token.kind is TokenKind.END:
            return
        if token.word == ")":
            self.fail("this `)` closes nothing")
        if token.word == "in":
            self.fail("`in` cannot follow here", "put the comparison in brackets")
        shown = f"`{token.value}`" if token.kind is not TokenKind.TEXT else "a text"
        self.fail(f"the rule should end before {shown}", "join two conditions with `and` or `or`")


def call(name: str, arguments: tuple[Node, ...], span: Span, name_span: Span) -> Node:
    """Return a call node; operators written as functions become operators (PQL 1.2 rule 5)."""
    if name in _AS_FUNCTION.values() and len(arguments) == 2:
        return Binary(name, arguments[0], arguments[1], span=span)
    if name in _AS_FUNCTION.values():
        message = f"`{name}` takes 2 values, not {len(arguments)}"
        raise NotPql(Diagnostic("pql.arity", message, None, name_span))
    if name == "filter" and len(arguments) == 2:
        return Filter(arguments[0], arguments[1], span=span)
    return Call(name, arguments, span=span)


def _same_logic(word: str, node: Node) -> list[Node]:
    """Return the operands of nested same-sign logic, so that `a and (b and c)` is flat."""
    return list(node.parts) if isinstance(node, Logic) and node.sign == word else [node]
