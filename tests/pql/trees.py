"""Hypothesis strategies: trees as the parser builds them, and profiles for them to read."""

from typing import Any

from hypothesis import strategies as st

from proffer.pql.syntax.nodes import (
    Aggregate,
    Beside,
    Between,
    Binary,
    Call,
    Chain,
    Context,
    Declaration,
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
)
from proffer.pql.syntax.tokens import COMPARISONS, UNITS

FIELDS = ("a", "b", "t", "items", "group", "count", "from", "two words", "and")
WORDS = ("x", "X", "gold", "1", "2.5", "true", "2024-11-19", "2024-11-20T08:00:00Z", "", 'q"\\\n')

Trees = st.SearchStrategy[Any]

fields = st.sampled_from(FIELDS)
literals = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 5),
    st.sampled_from([0.5, 1.0, 2.5, 1e300, 1e-7, 2**62]),
    st.sampled_from(WORDS),
).map(Literal)
units = st.sampled_from(tuple(UNITS))


def flat(sign: str, parts: list[Any]) -> Logic:
    """Logic as the parser builds it: no part of the same sign."""
    inner = [part.parts if isinstance(part, Logic) and part.sign == sign else (part,) for part in parts]
    return Logic(sign, tuple(part for parts in inner for part in parts))


def leaves(bound: tuple[str, ...]) -> Trees:
    paths = st.lists(fields, min_size=1, max_size=2).map(path_of)
    variables = st.sampled_from(bound).map(Name) if bound else st.nothing()
    others = st.sampled_from(
        [
            TimeWord("now"),
            TimeWord("today"),
            Name("profile"),
            Name("xEvent"),
            Context("c;version=1"),
        ]
    )
    return st.one_of(literals, paths, paths, paths, variables, variables, others)


def arrays(sub: Trees) -> Trees:
    """Mostly something that has items; literals in its place are refused when checked."""
    named = st.sampled_from([Name("items"), Name("a"), Name("xEvent"), Field(Name("group"), "items")])
    return st.one_of(named, named, named, st.builds(Filter, named, leaves(())), sub)


def path_of(names: list[str]) -> Node:
    node: Node = Name(names[0])
    for name in names[1:]:
        node = Field(node, name)
    return node


def trees(depth: int = 3, bound: tuple[str, ...] = (), in_item: bool = False) -> Trees:
    """Any expression: `bound` are the variables it may name."""
    if depth == 0:
        return leaves(bound)
    sub = st.deferred(lambda: trees(depth - 1, bound, in_item))
    item = st.deferred(lambda: trees(depth - 1, bound, in_item=True))
    variable = f"v{len(bound)}"
    inner = st.deferred(lambda: trees(depth - 1, (*bound, variable), in_item))
    lambdas = inner.map(lambda body: Lambda((variable,), body))
    items = st.one_of(item, lambdas)
    forms = [
        leaves(bound),
        st.builds(Binary, st.sampled_from([*COMPARISONS, "in", "notIn", "like", *"+-*/%"]), sub, sub),
        st.builds(flat, st.sampled_from(["and", "or"]), st.lists(sub, min_size=2, max_size=3)),
        st.builds(Not, sub),
        st.builds(Negate, sub),
        st.builds(If, sub, sub, sub),
        st.builds(Field, sub, fields),
        st.lists(sub, max_size=3).map(lambda found: ListOf(tuple(found))),
        st.lists(st.tuples(fields, sub), max_size=2).map(lambda found: ObjectOf(tuple(found))),
        st.builds(Filter, arrays(sub), items),
        calls(sub, items),
        st.builds(lambda value, body: Let(variable, value, body), sub, inner),
        st.builds(
            Quantifier,
            st.sampled_from(["some", "all", "none", "one"]),
            declarations(sub, inner, variable),
        ),
        declarations(sub, inner, variable).map(Select),
        st.builds(
            Aggregate,
            st.sampled_from(["sum", "count", "average", "min", "max"]),
            inner,
            declarations(sub, inner, variable),
        ),
        st.builds(Occurs, sub, time_tests(sub)),
        st.builds(
            Chain,
            arrays(sub),
            item,
            st.lists(
                st.builds(Step, st.just("A"), item, st.none() | time_tests(sub)),
                min_size=1,
                max_size=2,
            ).map(tuple),
        ),
    ]
    if in_item:
        forms.append(st.builds(Up, st.integers(1, 3), fields))
        forms.append(fields.map(lambda name: Field(Parameter(1), name)))
    return st.one_of(forms)


def calls(sub: Trees, items: Trees) -> Trees:
    one = st.sampled_from(["isNull", "isNotNull", "head", "distinct", "count", "sum", "min", "lowerCase", "getMonth"])
    two = st.sampled_from(["equals", "startsWith", "contains", "doesNotContain", "get", "includes", "intersects"])
    each = st.sampled_from(["map", "groupBy", "sum", "count", "max", "average"])
    return st.one_of(
        st.builds(lambda name, value: Call(name, (value,)), one, sub),
        st.builds(lambda name, value, other: Call(name, (value, other)), two, sub, sub),
        st.builds(
            lambda value, text: Call("equals", (value, text, Literal(False))),
            sub,
            st.sampled_from(WORDS).map(Literal),
        ),
        st.builds(lambda name, value, item: Call(name, (value, item)), each, arrays(sub), items),
        st.builds(lambda value, item: Call("topN", (value, item, Literal(2))), arrays(sub), items),
        st.sampled_from(["x", "y"]).map(lambda name: Call("inSegment", (Literal(name),))),
    )


def declarations(sub: Trees, inner: Trees, variable: str) -> Trees:
    return st.builds(lambda source, test: (Declaration(variable, source, test),), sub, st.none() | inner)


def time_tests(sub: Trees) -> st.SearchStrategy[TimeTest]:
    times: Trees = st.one_of(
        sub,
        st.builds(Period, st.sampled_from(["this", "last", "next"]), units),
        st.just(TimeWord("now")),
    )
    return st.one_of(
        st.builds(
            Within,
            st.sampled_from(COMPARISONS),
            st.integers(0, 10**6),
            units,
            st.sampled_from(["before", "after", "from"]),
            times,
        ),
        st.builds(Beside, st.sampled_from(["before", "after"]), times),
        st.builds(Between, times, times),
        st.builds(On, times),
    )


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([0.5, 1.0, 2.5]),
    st.sampled_from(WORDS),
)
wild = st.one_of(
    scalars,
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([10**400, "2023-02-31", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", object()]),
)
values = st.recursive(
    wild,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from([*FIELDS, "xdm:a", "xdm:items"]), inner, max_size=4),
    ),
    max_leaves=12,
)
rows = st.lists(st.dictionaries(st.sampled_from(FIELDS[:5]), scalars, max_size=4), max_size=4)
memberships = st.just({"ups": {"x": {"status": "realized"}, "y": {"status": "exited"}}})
profiles = st.fixed_dictionaries(
    {},
    optional={
        "a": values,
        "b": scalars,
        "t": scalars,
        "items": rows | values,
        "group": st.dictionaries(fields, scalars) | values,
        "xdm:count": scalars,
        "from": scalars,
        "segmentMembership": memberships,
    },
)
