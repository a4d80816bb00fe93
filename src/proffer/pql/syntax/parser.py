"""Recursive-descent parser: one method per precedence level, lowest first (PQL 1.2).

Context-sensitive rules are handled in the methods they concern: `in` inside `let`, the comma after a
declaration, `and` after `between`, and words that are keywords only in some positions.
"""

from collections.abc import Callable
from typing import TypeVar

from proffer.pql.syntax.diagnostics import Diagnostic, NotPql, TextFix, did_you_mean
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
from proffer.pql.syntax.source import SourceText, TextSpan
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

_NAME_KINDS = (TokenKind.NAME, TokenKind.QUOTED)
_KEYWORD_VALUES = {"true": True, "false": False, "null": None}
_CLOSING_BY_OPENING = {"(": ")", "[": "]", "{": "}"}
_WORD_OPERATORS = {"in": "in", "notin": "notIn", "like": "like"}
_FOREIGN_WORDS = frozenset({"is", "between", "not"})
_INFIX_METHODS = {
    "contains": "contains",
    "endswith": "endsWith",
    "ends": "endsWith",
    "equals": "equals",
    "includes": "includes",
    "matches": "matches",
    "startswith": "startsWith",
    "starts": "startsWith",
}
"""Functions that other languages write between two values, in lower case."""
_POSTFIX_NODES = (Name, Field, Call, Filter, Literal, Parameter, Context, Up)
_FOLLOWING_WORDS = frozenset({"over", "from", "then", "else", "when"})
"""Words that can follow a complete expression."""
_DIRECTIONS: dict[str, Direction] = {"before": "before", "after": "after", "from": "from"}


def parse(source: SourceText) -> Node:
    """Parse a text to a tree. Raises `NotPql` with all lexical errors, or the first syntax error."""
    tokens, findings = tokenize(source.text)
    if findings:
        raise NotPql(*findings)
    _check_bracket_depth(tokens)
    tree = Parser(tokens, source.text).parse_all()
    # Every level of the tree needs at least one token.
    if len(tokens) > MAX_DEPTH and depth(tree) > MAX_DEPTH:
        raise NotPql(_too_deep(tree.span))
    return tree


def _check_bracket_depth(tokens: list[Token]) -> None:
    """Reject deep bracket nesting before the parser recurses. Raises `NotPql`."""
    open_count = 0
    for token in tokens:
        if token.word in _CLOSING_BY_OPENING:
            open_count += 1
        elif token.word in (")", "]", "}"):
            open_count -= 1
        if open_count > MAX_NESTING:
            raise NotPql(_too_deep(token.span))


def _too_deep(span: TextSpan) -> Diagnostic:
    return Diagnostic("pql.too-deep", "this rule is nested too deeply", "split it into several rules", span)


class Parser:
    """Parses one expression from tokens that end in END.

    Forms of other languages are errors that show the form of PQL, with the change as a fix.
    """

    def __init__(self, tokens: list[Token], text: str) -> None:
        self.tokens = tokens
        self.text = text
        self.position = 0
        self.current = tokens[0]
        self.nesting = 0
        # In the value expression of a `let`, a bare `in` ends the expression (PQL 1.2 rule 2).
        self.in_ends_expression = False

    # --- token stream

    def peek(self, steps: int) -> Token:
        return self.tokens[min(self.position + steps, len(self.tokens) - 1)]

    def advance(self) -> Token:
        token = self.current
        if token.kind is not TokenKind.END:
            self.position += 1
            self.current = self.tokens[self.position]
        return token

    def accept(self, *words: str) -> Token | None:
        """Consume and return the next token if it matches, else None."""
        return self.advance() if self.current.word in words and self.current.word else None

    def expect(self, word: str, context: str) -> Token:
        return self.accept(word) or self.fail(f"expected `{word}` {context}")

    def fail(
        self, message: str, help_: str | None = None, token: Token | None = None, fix: TextFix | None = None
    ) -> Token:
        token = token or self.current
        if token.kind is TokenKind.END:
            message += ", but the rule ends here"
        raise NotPql(Diagnostic("pql.syntax", message, help_, token.span, fix=fix))

    def span_from(self, start: int) -> TextSpan:
        return TextSpan(start, self.tokens[self.position - 1].end)

    def text_from(self, start: int) -> str:
        """Return the text from a character to the end of the previous token."""
        return self.text[start : self.tokens[self.position - 1].end]

    def parse_nested(self, parse_inner: Callable[[], T]) -> T:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise NotPql(_too_deep(self.current.span))
        node = parse_inner()
        self.nesting -= 1
        return node

    def parse_bracketed(self, parse_inner: Callable[[], T]) -> T:
        """Parse inside brackets, where `in` is the operator again."""
        outer, self.in_ends_expression = self.in_ends_expression, False
        node = parse_inner()
        self.in_ends_expression = outer
        return node

    # --- precedence levels

    def parse_all(self) -> Node:
        if self.current.kind is TokenKind.END:
            raise NotPql(Diagnostic("pql.syntax", "a rule cannot be empty", "write `true` for everybody"))
        tree = self.parse_expression()
        self.expect_end()
        return tree

    def parse_expression(self) -> Node:
        return self.parse_nested(self.parse_or)

    def parse_or(self) -> Node:
        return self.parse_logic("or", self.parse_and)

    def parse_and(self) -> Node:
        return self.parse_logic("and", self.parse_not)

    def parse_logic(self, word: str, parse_operand: Callable[[], Node]) -> Node:
        first = parse_operand()
        if self.current.word != word:
            return first
        parts = _logic_operands(word, first)
        while self.accept(word):
            parts.extend(_logic_operands(word, parse_operand()))
        return Logic(word, tuple(parts), span=parts[0].span.to(parts[-1].span))

    def parse_not(self) -> Node:
        sign = self.accept("not", "!")
        if sign is None:
            return self.parse_comparison()
        operand = self.parse_nested(self.parse_not)
        return Not(operand, span=sign.span.to(operand.span))

    def parse_comparison(self) -> Node:
        first = self.current
        left = self.parse_add()
        word = self.current.word
        if word in COMPARISONS or word == "like" or (word in ("in", "notin") and not self.ends_let(word)):
            self.advance()
            if word in ("in", "notin"):
                self.check_list_brackets()
            right = self.parse_add()
            node: Node = Binary(_WORD_OPERATORS.get(word, word), left, right, span=left.span.to(right.span))
            self.check_unquoted_words(right)
        elif self.accept("occurs"):
            test = self.parse_time_test()
            node = Occurs(left, test, span=left.span.to(test.span))
        else:
            self.check_foreign_comparison(first, left)
            return left
        if self.current.word in COMPARISONS:
            self.fail("comparisons cannot be chained", "join two comparisons with `and`")
        return node

    def ends_let(self, word: str) -> bool:
        return self.in_ends_expression and word == "in"

    def parse_add(self) -> Node:
        left = self.parse_multiply()
        while sign := self.accept("+", "-"):
            left = self.binary_node(sign, left, self.parse_multiply())
        return left

    def parse_multiply(self) -> Node:
        left = self.parse_unary()
        while sign := self.accept("*", "/", "%"):
            left = self.binary_node(sign, left, self.parse_unary())
        return left

    def binary_node(self, sign: Token, left: Node, right: Node) -> Node:
        return Binary(sign.word, left, right, span=left.span.to(right.span))

    def parse_unary(self) -> Node:
        sign = self.accept("-")
        if sign is None:
            return self.parse_postfix()
        operand = self.parse_nested(self.parse_unary)
        return Negate(operand, span=sign.span.to(operand.span))

    def parse_postfix(self) -> Node:
        node = self.parse_primary()
        while True:
            if self.accept("."):
                node = self.parse_member(node)
            elif self.accept("["):
                test = self.parse_bracketed(self.parse_expression)
                self.expect("]", "after the condition of a filter")
                node = Filter(node, test, span=self.span_from(node.span.start))
            else:
                return node

    def parse_member(self, of: Node) -> Node:
        token = self.advance()
        if token.kind not in _NAME_KINDS:
            help_ = "put backticks around a name that starts with a digit"
            self.fail("expected a field or function name after `.`", help_, token)
        name = str(token.value)
        if token.kind is TokenKind.NAME and self.accept("("):
            arguments = (of, *self.parse_arguments())
            return make_call(name, arguments, self.span_from(of.span.start), token.span)
        return Field(of, name, span=self.span_from(of.span.start))

    def parse_arguments(self) -> tuple[Node, ...]:
        """Parse call arguments up to and including the closing bracket."""
        arguments: list[Node] = []
        while not self.accept(")"):
            if arguments:
                self.expect(",", "or `)` after an argument")
            arguments.append(self.parse_bracketed(self.parse_expression))
        return tuple(arguments)

    # --- primaries

    def parse_primary(self) -> Node:
        token = self.current
        match token.kind:
            case TokenKind.NAME:
                return self.parse_word(token)
            case TokenKind.QUOTED:
                self.advance()
                return Name(str(token.value), span=token.span)
            case TokenKind.TEXT | TokenKind.INTEGER | TokenKind.DOUBLE:
                self.advance()
                return Literal(token.value, "" if token.word == str(token.value) else token.word, span=token.span)
            case TokenKind.PARAMETER:
                self.advance()
                return Parameter(int(token.value), span=token.span)
            case TokenKind.CONTEXT:
                self.advance()
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
                self.fail("expected a value" if token.word != ")" else "expected a value before `)`")
                raise AssertionError

    def parse_group(self) -> Node:
        opening = self.advance()
        inner = self.parse_bracketed(self.parse_expression)
        if not self.accept(")"):
            self.fail("expected `)`", f"`(` at character {opening.start + 1} is not closed")
        return inner

    def parse_list(self) -> Node:
        opening = self.advance()
        items: list[Node] = []
        while not self.accept("]"):
            if items:
                self.expect(",", "or `]` after an item")
            items.append(self.parse_bracketed(self.parse_expression))
        return ListOf(tuple(items), span=self.span_from(opening.start))

    def parse_object(self) -> Node:
        opening = self.advance()
        entries: list[tuple[str, Node]] = []
        while not self.accept("}"):
            if entries:
                self.expect(",", "or `}` after a value")
            key = self.advance()
            if key.kind is not TokenKind.TEXT:
                self.fail("expected a quoted key", None, key)
            self.expect(":", "after a key")
            entries.append((str(key.value), self.parse_bracketed(self.parse_expression)))
        return ObjectOf(tuple(entries), span=self.span_from(opening.start))

    def parse_up(self) -> Node:
        start, levels = self.current.start, 0
        while self.accept("^"):
            levels += 1
        self.accept(".")
        token = self.advance()
        if token.kind not in _NAME_KINDS:
            self.fail("expected a field name after `^`", None, token)
        return Up(levels, str(token.value), span=self.span_from(start))

    def starts_lambda(self) -> bool:
        """Return whether `(a, b) =>` follows, without consuming tokens."""
        offset = 1
        while self.peek(offset).kind is TokenKind.NAME:
            if self.peek(offset + 1).word == ")":
                return self.peek(offset + 2).word == "=>"
            if self.peek(offset + 1).word != ",":
                return False
            offset += 2
        return False

    def parse_lambda(self) -> Node:
        start = self.current.start
        names = [self.parse_variable("the parameter")] if self.current.word != "(" else []
        if self.accept("("):
            while not self.accept(")"):
                names.append(self.parse_variable("the parameter"))
                self.accept(",")
        self.expect("=>", "after the parameters")
        body = self.parse_expression()
        return Lambda(tuple(names), body, span=self.span_from(start))

    def parse_variable(self, what: str) -> str:
        token = self.advance()
        if token.kind is TokenKind.QUOTED or (token.kind is TokenKind.NAME and token.word not in RESERVED):
            return str(token.value)
        self.fail(f"expected a name for {what}", None, token)
        raise AssertionError

    # --- words that are keywords only in some positions

    def parse_word(self, token: Token) -> Node:
        word, next_token = token.word, self.peek(1)
        if next_token.word == "=>":
            return self.parse_lambda()
        if word in _KEYWORD_VALUES:
            self.advance()
            return Literal(_KEYWORD_VALUES[word], span=token.span)
        if word in RESERVED and not (word in _WORD_OPERATORS and next_token.word == "("):
            return self.fail_at_reserved(token)
        if word in TIME_WORDS:
            return self.parse_time_word()
        return self.parse_prefix_form(word, next_token) or self.parse_name(token)

    def parse_prefix_form(self, word: str, next_token: Token) -> Node | None:
        if word == "if" and (next_token.word == "(" or _starts_condition(next_token)):
            return self.parse_if()
        if word == "chain" and next_token.word == "(":
            return self.parse_chain()
        if next_token.kind not in _NAME_KINDS or next_token.word in RESERVED:
            return None
        following_word = self.peek(2).word
        if word == "let" and following_word == "=":
            return self.parse_let()
        if (word in QUANTIFIERS or word == "select") and following_word == "from":
            return self.parse_quantifier(word)
        if word in AGGREGATES:
            return self.parse_aggregate()
        return None

    def parse_name(self, token: Token) -> Node:
        self.advance()
        name = str(token.value)
        if not self.accept("("):
            return Name(name, span=token.span)
        arguments = self.parse_arguments()
        if token.word in AGGREGATES and len(arguments) == 1 and self.accept("over"):
            return self.finish_aggregate(token, arguments[0])
        return make_call(name, arguments, self.span_from(token.start), token.span)

    def parse_time_word(self) -> Node:
        token = self.advance()
        if self.current.word == "(" and self.peek(1).word == ")":
            self.advance()
            self.advance()
        return TimeWord(token.word, span=self.span_from(token.start))

    def parse_if(self) -> Node:
        token = self.advance()
        position = self.position
        arguments = self.parse_arguments() if self.accept("(") else ()
        span = self.span_from(token.start)
        if len(arguments) == 3:
            return If(*arguments, span=span)
        if len(arguments) < 2 and any(later.word == "then" for later in self.tokens[position:]):
            self.position, self.current = position, self.tokens[position]
            self.fail_at_if_then(token)
        message = f"`if` takes a test and two values, not {len(arguments)} arguments"
        raise NotPql(Diagnostic("pql.arity", message, "write `if(test, then, otherwise)`", token.span))

    def parse_let(self) -> Node:
        token = self.advance()
        name = self.parse_variable("the value")
        self.advance()
        outer, self.in_ends_expression = self.in_ends_expression, True
        value = self.parse_expression()
        self.in_ends_expression = outer
        self.expect("in", "after the value of `let`")
        body = self.parse_expression()
        return Let(name, value, body, span=self.span_from(token.start))

    def parse_quantifier(self, word: str) -> Node:
        token = self.advance()
        declarations = self.parse_declarations()
        span = self.span_from(token.start)
        if word == "select":
            return Select(declarations, span=span)
        return Quantifier(QUANTIFIERS[word], declarations, span=span)

    def parse_aggregate(self) -> Node:
        token = self.advance()
        value = self.parse_expression()
        self.expect("over", f"after the value of `{token.value}`")
        return self.finish_aggregate(token, value)

    def finish_aggregate(self, token: Token, value: Node) -> Node:
        declarations = self.parse_declarations()
        return Aggregate(token.word, value, declarations, span=self.span_from(token.start))

    def parse_declarations(self) -> tuple[Declaration, ...]:
        """Parse one or more; a comma continues only before `name from` (PQL 1.2 rule 3)."""
        declarations = [self.parse_declaration()]
        while self.current.word == "," and self.peek(2).word == "from" and self.peek(1).kind in _NAME_KINDS:
            self.advance()
            declarations.append(self.parse_declaration())
        return tuple(declarations)

    def parse_declaration(self) -> Declaration:
        start = self.current.start
        name = self.parse_variable("the item")
        self.expect("from", "after the name of the item")
        source = self.parse_nested(self.parse_add)
        test = self.parse_expression() if self.accept("where", ":") else None
        return Declaration(name, source, test, span=self.span_from(start))

    def parse_chain(self) -> Node:
        token = self.advance()
        self.advance()
        events = self.parse_bracketed(self.parse_expression)
        self.expect(",", "after the events of a chain")
        timestamp = self.parse_bracketed(self.parse_expression)
        self.expect(",", "after the timestamp of a chain")
        self.expect("[", "before the steps of a chain")
        steps = [self.parse_step()]
        while self.accept(","):
            steps.append(self.parse_step())
        self.expect("]", "after the steps of a chain")
        self.expect(")", "after a chain")
        return Chain(events, timestamp, tuple(steps), span=self.span_from(token.start))

    def parse_step(self) -> Step:
        start = self.current.start
        label = self.parse_variable("the step")
        self.expect(":", "after the name of a step")
        self.expect("what", "in a step")
        self.expect("(", "after WHAT")
        what = self.parse_bracketed(self.parse_expression)
        self.expect(")", "after the condition of a step")
        when = None
        if self.accept("when"):
            self.expect("(", "after WHEN")
            when = self.parse_bracketed(self.parse_time_test)
            self.expect(")", "after the time of a step")
        return Step(label, what, when, span=self.span_from(start))

    # --- time

    def parse_time_test(self) -> TimeTest:
        start = self.current.start
        if sign := self.accept(*COMPARISONS):
            amount = self.advance()
            if amount.kind is not TokenKind.INTEGER:
                self.fail(
                    f"expected a whole number after `{sign.value}`",
                    "as in `<= 3 days before now`",
                    amount,
                )
            unit = self.parse_unit()
            direction = self.parse_direction("after the unit of time")
            anchor = self.parse_time()
            return Within(sign.word, int(amount.value), unit, direction, anchor, span=self.span_from(start))
        if self.current.word in ("before", "after") and self.peek(1).word not in (".", ")"):
            direction = self.parse_direction("here")
            return Beside(direction, self.parse_time(), span=self.span_from(start))
        if self.accept("between"):
            low = self.parse_time()
            self.expect("and", "between two times")
            return Between(low, self.parse_time(), span=self.span_from(start))
        self.accept("on")
        return On(self.parse_time(), span=self.span_from(start))

    def parse_time(self) -> Node:
        if self.current.word in ("this", "last", "next") and self.peek(1).kind is TokenKind.NAME:
            token = self.advance()
            return Period(token.word, self.parse_unit(), span=self.span_from(token.start))
        return self.parse_add()

    def parse_unit(self) -> str:
        token = self.advance()
        if token.word in UNIT_OF:
            return UNIT_OF[token.word]
        help_ = did_you_mean(token.word, list(UNIT_OF)) or "one of " + ", ".join(UNITS.values())
        self.fail(f"`{token.value}` is not a unit of time", help_, token)
        raise AssertionError

    def parse_direction(self, context: str) -> Direction:
        if (token := self.accept("before", "after", "from")) is None:
            self.fail(f"expected `before` or `after` {context}")
            raise AssertionError
        return _DIRECTIONS[token.word]

    # --- forms of other languages

    def check_foreign_comparison(self, first: Token, left: Node) -> None:
        """Fail at a comparison that PQL writes differently. `first`: the first token of its left side."""
        token = self.current
        word = token.word
        if word == "=>":
            self.fail("`=>` is not a comparison", "use `>=`", token, TextFix(token.span, ">="))
        if token.kind is not TokenKind.NAME or (word not in _FOREIGN_WORDS and word not in _INFIX_METHODS):
            return
        left_text = self.text_from(first.start)
        receiver = left_text if isinstance(left, _POSTFIX_NODES) else f"({left_text})"
        negated = self.accept("not") is not None
        operator = self.advance().word
        if operator == "is":
            written = self.rewrite_is(left_text, receiver, token)
        elif operator == "between":
            written = self.rewrite_between(left_text, token, negated=negated)
        elif operator in ("in", "like") and negated:
            written = self.rewrite_negated(left_text, operator)
        elif operator in _INFIX_METHODS and not negated:
            self.accept("with")
            start = self.current.start
            self.parse_add()
            written = f"{receiver}.{_INFIX_METHODS[operator]}({self.text_from(start)})"
        else:
            self.position, self.current = self.tokens.index(token), token
            return
        previous = self.tokens[max(self.tokens.index(first) - 1, 0)]
        written = f"({written})" if previous.word in ("not", "!") and " " in written else written
        fix = TextFix(self.span_from(first.start), written)
        self.fail(f"`{token.value}` is not an operator", f"write `{written}`", token, fix)

    def rewrite_is(self, left_text: str, receiver: str, token: Token) -> str:
        """Rewrite `x is null`, `x is not empty` and `x is y`."""
        negated = self.accept("not") is not None
        if self.accept("null"):
            return f"{receiver}.{'isNotNull' if negated else 'isNull'}()"
        if self.accept("empty"):
            return f"{'isNotEmpty' if negated else 'isEmpty'}({left_text})"
        if not _starts_value(self.current):
            self.fail("`is` is not an operator", "use `=`, `!=` or `.isNull()`", token)
        start = self.current.start
        self.parse_add()
        return f"{left_text} {'!=' if negated else '='} {self.text_from(start)}"

    def rewrite_between(self, left_text: str, token: Token, *, negated: bool) -> str:
        start = self.current.start
        self.parse_add()
        low = self.text_from(start)
        if not self.accept("and"):
            self.fail("`between` is not an operator", "write a test with `>=` and one with `<=`", token)
        start = self.current.start
        self.parse_add()
        high = self.text_from(start)
        if negated:
            return f"({left_text} < {low} or {left_text} > {high})"
        return f"{left_text} >= {low} and {left_text} <= {high}"

    def rewrite_negated(self, left_text: str, operator: str) -> str:
        """Rewrite `x not in …` and `x not like …`."""
        if operator == "in":
            self.check_list_brackets()
        start = self.current.start
        self.parse_add()
        right_text = self.text_from(start)
        return f"{left_text} notIn {right_text}" if operator == "in" else f"not ({left_text} like {right_text})"

    def check_list_brackets(self) -> None:
        """Fail at `("a", "b")` where a list is expected."""
        opening, depth, has_comma = self.current, 0, False
        if opening.word != "(":
            return
        for token in self.tokens[self.position :]:
            depth += (token.word in _CLOSING_BY_OPENING) - (token.word in _CLOSING_BY_OPENING.values())
            has_comma = has_comma or (token.word == "," and depth == 1)
            if depth == 0:
                break
        if has_comma and depth == 0:
            written = f"[{self.text[opening.end : token.start]}]"
            fix = TextFix(opening.span.to(token.span), written)
            self.fail("a list is written in square brackets", f"write `{written}`", opening, fix)

    def check_unquoted_words(self, right: Node) -> None:
        """Fail at a text of several words without quotes."""
        if not isinstance(right, Name) or not self.is_stray_word():
            return
        token = self.current
        while self.is_stray_word():
            self.advance()
        written = f'"{self.text_from(right.span.start)}"'
        fix = TextFix(self.span_from(right.span.start), written)
        self.fail("a text needs quotes", f"write `{written}`", token, fix)

    def is_stray_word(self) -> bool:
        word = self.current.word
        return self.current.kind is TokenKind.NAME and bool(word) and word not in RESERVED | _FOLLOWING_WORDS

    def fail_at_if_then(self, token: Token) -> None:
        """Fail at `if … then … else …`; the condition follows."""
        parts: list[str] = []
        for following_word in ("then", "else", ""):
            start = self.current.start
            self.parse_expression()
            parts.append(self.text_from(start))
            if not self.accept(following_word):
                break
        written = f"if({', '.join(parts)})"
        fix = TextFix(self.span_from(token.start), written) if len(parts) == 3 else None
        help_ = f"write `{written}`" if fix else "write `if(test, then, otherwise)`"
        self.fail("`if` is a function of a test and two values", help_, token, fix)

    # --- errors

    def fail_at_reserved(self, token: Token) -> Node:
        previous = self.tokens[self.position - 1].value if self.position else None
        context = f" after `{previous}`" if previous else ""
        self.fail(
            f"expected a value{context}, not `{token.value}`",
            "put backticks around a field of this name",
        )
        raise AssertionError

    def expect_end(self) -> None:
        token = self.current
        if token.kind is TokenKind.END:
            return
        if token.word == ")":
            self.fail("unmatched `)`")
        if token.word == "in":
            self.fail("unexpected `in`", "put the comparison in brackets")
        description = f"`{token.value}`" if token.kind is not TokenKind.TEXT else "a text"
        self.fail(
            f"unexpected {description} after the end of the rule",
            "join two conditions with `and` or `or`",
        )


def _starts_value(token: Token) -> bool:
    """Return whether a value can begin with this token, a name or a literal."""
    return token.kind not in (TokenKind.SIGN, TokenKind.END) and (
        token.word not in RESERVED or token.word in _KEYWORD_VALUES
    )


def _starts_condition(token: Token) -> bool:
    """Return whether the condition of a foreign `if` begins with this token."""
    return token.word in ("not", "!") or (_starts_value(token) and token.word not in _FOLLOWING_WORDS)


def make_call(name: str, arguments: tuple[Node, ...], span: TextSpan, name_span: TextSpan) -> Node:
    """Return a call node; operators written as functions become operators (PQL 1.2 rule 5)."""
    if name in _WORD_OPERATORS.values() and len(arguments) == 2:
        return Binary(name, arguments[0], arguments[1], span=span)
    if name in _WORD_OPERATORS.values():
        message = f"`{name}` takes 2 values, not {len(arguments)}"
        raise NotPql(Diagnostic("pql.arity", message, None, name_span))
    if name == "filter" and len(arguments) == 2:
        return Filter(arguments[0], arguments[1], span=span)
    return Call(name, arguments, span=span)


def _logic_operands(word: str, node: Node) -> list[Node]:
    """Return the operands of nested same-sign logic. This makes `a and (b and c)` flat."""
    return list(node.parts) if isinstance(node, Logic) and node.sign == word else [node]
