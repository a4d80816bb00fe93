"""Map functions and segment membership (PQL 2.4, 4.5)."""

from proffer.pql.functions.lists import MapEntry
from proffer.pql.functions.registry import ValueKind, function
from proffer.pql.values.environment import Environment
from proffer.pql.values.occurs import in_audience, in_segment
from proffer.pql.values.values import Value, field, items

_ROW_BY_ROW_REASON = "maps are evaluated row by row"
_MAX_STEPS = 50


def _value_at_path(env: Environment, value: Value, path: str) -> Value:
    """Return the value at a dotted path; every step charges the items it visits."""
    if path.count(".") >= _MAX_STEPS:
        return None
    for name in path.split("."):
        env.charge(1 + len(items(value)))
        value = field(value, name)
    return value


MEMBERSHIP_FUNCTIONS = frozenset({"inSegment", "inAudience"})
"""Functions that read the memberships of the profile."""

FUNCTIONS = (
    function(
        "get",
        parameter_kinds=(ValueKind.MAP, ValueKind.PRINTABLE),
        returns=ValueKind.ANY,
        doc="The value of a key; null if there is no such key. Keys are case-sensitive. `map.key` is the same.",
        examples={'{"a": 1}.get("a")': 1, '{"a": 1}.get("A")': None, 'null.get("a")': None},
        body=field,
    ),
    function(
        "valueAtPath",
        parameter_kinds=(ValueKind.ANY, ValueKind.TEXT),
        returns=ValueKind.ANY,
        method=False,
        doc="The value at a path of field names in an object or an array of objects; null if there is none. "
        f"A path of more than {_MAX_STEPS} steps gives null.",
        examples={
            'valueAtPath({"a": {"b": 1}}, "a.b")': 1,
            'valueAtPath({"a": {"b": 1}}, "a.c")': None,
            'valueAtPath([{"a": {"b": 1}}, {"a": {"b": 2}}], "a.b")': [1, 2],
            'valueAtPath(null, "a")': None,
        },
        body=_value_at_path,
        with_env=True,
    ),
    function(
        "keys",
        parameter_kinds=(ValueKind.MAP,),
        returns=ValueKind.ARRAY,
        doc="All keys.",
        examples={'{"a": 1, "b": 2}.keys()': ["a", "b"], "null.keys()": []},
        body=lambda value: [str(key) for key in value],
        row_by_row_reason=_ROW_BY_ROW_REASON,
    ),
    function(
        "values",
        parameter_kinds=(ValueKind.MAP,),
        returns=ValueKind.ARRAY,
        doc="All values.",
        examples={'{"a": 1, "b": 2}.values()': [1, 2]},
        body=lambda value: list(value.values()),
        row_by_row_reason=_ROW_BY_ROW_REASON,
    ),
    function(
        "mapEntry",
        parameter_kinds=(ValueKind.PRINTABLE, ValueKind.ANY),
        returns=ValueKind.ENTRY,
        method=False,
        pure=False,
        doc="One entry of the map that `map` returns. It is valid only in `map`.",
        examples={'[1, 2].groupBy(n => n).map((k, g) => mapEntry(k, g.count())).get("1")': 1},
        body=MapEntry,
        row_by_row_reason=_ROW_BY_ROW_REASON,
    ),
    function(
        "inSegment",
        parameter_kinds=(ValueKind.TEXT,),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc="True when the profile is in the audience with this id: its membership is `realized` or "
        "`existing`, in any namespace, and not past `validUntil`.",
        examples={'inSegment("nobody-is-in-this-one")': False},
        body=in_segment,
        with_env=True,
    ),
    function(
        "inAudience",
        parameter_kinds=(ValueKind.TEXT,),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc="True when the profile is in the audience with this name or id, as in `inSegment`. A rule with a name that "
        "several audiences have is refused when saved; if a name becomes ambiguous later, the oldest audience counts.",
        examples={'inAudience("Nobody is in this audience")': False},
        body=in_audience,
        with_env=True,
    ),
)
