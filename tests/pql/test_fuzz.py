"""Texts and profiles that nobody means well with: an answer or a diagnostic, and never an exception."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from pql.cases import CASES, unguarded
from proffer.pql import (
    CompiledRule,
    CompileErrors,
    Environment,
    check_text,
    compile_rule,
    render_diagnostic,
)
from proffer.pql.run.interpret import interpret

NOW = datetime(2024, 11, 20, 12, tzinfo=UTC)
TEXTS = sorted({case["expr"] for case in CASES if isinstance(case["expr"], str)})


def answer(text: str) -> None:
    """The rule compiles and can be asked, or is refused with findings that can be shown."""
    compiled = compile_rule(text)
    if isinstance(compiled, CompileErrors):
        assert compiled.diagnostics
        for found in compiled.diagnostics:
            assert render_diagnostic(found, text)
            assert found.fix is None or 0 <= found.fix.span.start <= found.fix.span.end <= len(text)
        return
    env = Environment({"a": [{"b": 1}], "person": {"name": "Joe"}}, NOW, events=[{"timestamp": "2024-11-19"}])
    unguarded(compiled)(env)
    interpret(compiled.checked, env)


def test_every_prefix_of_every_case_is_answered() -> None:
    """As an editor sends them, letter by letter."""
    for text in TEXTS:
        for end in range(0, len(text), 1 + len(text) // 60):
            answer(text[:end])


def test_cases_with_pieces_moved_are_answered() -> None:
    """Tokens dropped, doubled and swapped."""
    draw = random.Random(7)  # noqa: S311 - the same texts every time
    for text in TEXTS:
        words = text.split(" ")
        for _ in range(3):
            at, other = draw.randrange(len(words)), draw.randrange(len(words))
            words[at], words[other] = (
                words[other],
                draw.choice([words[at], "", "(", '"', "in", "and", "9" * 40]),
            )
            answer(" ".join(words))


def test_random_characters_are_answered() -> None:
    """Of the language's own alphabet, and of none."""
    draw = random.Random(11)  # noqa: S311 - the same texts every time
    own = "ab. =<>!()[]{}'\"`@$^,:;+-*/%0123456789\\\n\t_Lé\u2028\ud800\x00"
    words = [
        "and",
        "or",
        "not",
        "in",
        "let",
        "x",
        "=",
        "exists",
        "from",
        "where",
        "occurs",
        "before",
        "(",
        ")",
        "1",
        "=>",
    ]
    for _ in range(1500):
        answer("".join(draw.choices(own, k=draw.randrange(40))))
        answer(" ".join(draw.choices(words, k=draw.randrange(25))))


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*b",
        "(.*)*x",
        "((a{1000}){1000}){1000}",
        "a{1001}",
        "(?P<n>",
        "[",
        "\\1",
        "(?=a)",
        "x*" * 2000,
        "\\pN",
    ],
)
@pytest.mark.timeout(30)  # without the bound: hours
def test_no_pattern_takes_long(pattern: str) -> None:
    """Linear time or a refusal, both as a constant and as a field of the profile."""
    written = pattern.replace("\\", "\\\\")
    constant = compile_rule(f'a.matches("{written}")')
    profile = {"a": "a" * 100_000, "p": pattern}
    if isinstance(constant, CompiledRule):
        constant.holds(Environment(profile, NOW))
    dynamic = compile_rule('a.matches(p) or a.like(p) or replaceAll(a, p, "$1$1") = 1 or a.regexGroup(p, 1) = 2')
    assert isinstance(dynamic, CompiledRule), dynamic.diagnostics
    unguarded(dynamic)(Environment(profile, NOW))


def nested(levels: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind == "list" else {"a": value}
    return value


DEEP = [nested(1000, "list"), nested(1000, "dict"), [nested(900, "list")] * 50]
ODD = [
    None,
    0,
    "x",
    10**400,
    -(10**400),
    float("nan"),
    float("inf"),
    b"bytes",
    {1, 2},
    object(),
    range(3),
    (1, 2),
    "9" * 5000,
    "2023-02-31",
    "0000-00-00",
    "9999-12-31T23:59:59-14:00",
    {"a": {"a": "2024-13-01T99:99:99Z"}},
    {1: 2},
    "\ud800",
]
RULES = [
    "a = a and a != b",
    'a.a.a = 1 or a < 3 or a >= "x"',
    "a * b + 3 > a / b or -a % 7 = 1",
    "a.distinct().count() > 1 or a.intersects(b) or a.includes(b) or b in a",
    "a[a = ^a].sum(a) > 3 or a.groupBy(a).keys().count() = 1",
    "a.topN(a, 3).head() = a.min() or a.max() = a.average()",
    "a occurs <= 9999999 millennia before now or a occurs on b or a occurs between a and b",
    "a occurs = 3 months after a or b occurs last century or a.getMonth() = 1",
    "addMonths(a, 999999999) = addDays(a, 99999999999) or ageInMonths(a) > 1 or setDays(a, 31) = b",
    'concat(a, b).startsWith("x") or toHexString(a) = "x" or roundUp(a) = toInt(a)',
    "exists x from a, y from x.a where x.a = y.a or chain(a, a, [S: WHAT(a = 1) WHEN(today)])",
    "@{a}.a = 1 or inSegment(a) or formatDate(a, b) = stringToDate(a, b) or a.a",
]


@pytest.mark.parametrize("text", RULES)
@pytest.mark.parametrize("events", [None, [], "x", {"a": 1}, [None, 1]])
def test_no_profile_makes_a_rule_raise(text: str, events: Any) -> None:
    """A thousand levels deep, of the wrong type, of no type at all."""
    rule = compile_rule(text)
    assert isinstance(rule, CompiledRule), rule.diagnostics
    evaluate = unguarded(rule)
    for value in [*DEEP, *ODD]:
        for other in (None, 3, value):
            env = Environment({"a": value, "b": other, "segmentMembership": value}, NOW, {"a": value}, events)
            assert evaluate(env) in (True, False)
            assert rule.holds(env) in (True, False)


@pytest.mark.parametrize("digits", [19, 20, 400, 5000])
def test_long_integers_are_refused_or_counted(digits: int) -> None:
    """In a rule beyond 64 bits an error, in a profile a number like any other."""
    assert [found.code for found in check_text(f"_t.a = {'9' * digits}")] == ["pql.number"]

    rule = compile_rule('a > 5 and a + 1 != 3 or a = "x"')
    assert isinstance(rule, CompiledRule)
    assert unguarded(rule)(Environment({"a": 10**digits - 1}, NOW)) is (digits <= 308)


def test_a_month_of_nonsense_dates_is_answered() -> None:
    """Impossible days are no days."""
    draw = random.Random(3)  # noqa: S311 - the same texts every time
    rule = compile_rule("d occurs this month or d.getYear() = 2024 or d < now or d = date(2024, 1, 1)")
    assert isinstance(rule, CompiledRule)
    for _ in range(2000):
        text = f"{draw.randrange(10**4):04}-{draw.randrange(20):02}-{draw.randrange(40):02}"
        text += draw.choice(
            [
                "",
                "T",
                f"T{draw.randrange(30):02}:{draw.randrange(70):02}",
                "T10:00:00+99:99",
                "Z",
                "T24:00:00Z",
            ]
        )
        unguarded(rule)(Environment({"d": text}, NOW))


@pytest.mark.parametrize(
    "use",
    [
        "x = x",
        "x in [x]",
        "[x].distinct().count() = 1",
        "x.intersects([x])",
        "x.a.count() > 0",
        "x.groupBy(y => y)",
    ],
)
@pytest.mark.timeout(30)  # without the bound: hours
def test_values_shared_many_times_are_not_spelled_out(use: str) -> None:
    """A list of a list, each twice in the next: thirty lines of rule, a billion items."""
    doubled = "".join(f"let v{at + 1} = [v{at}, v{at}] in " for at in range(28))
    rule = compile_rule(f"let v0 = a in {doubled}{use.replace('x', 'v28')}")
    assert isinstance(rule, CompiledRule), rule.diagnostics

    rule.holds(Environment({"a": [{"a": 1}]}, NOW))
