"""Map functions and segment membership (PQL 2.4, 4.5)."""

from proffer.pql.functions.lists import MapEntry
from proffer.pql.functions.registry import Kind, function
from proffer.pql.values.environment import Environment
from proffer.pql.values.occurs import in_segment
from proffer.pql.values.values import Value, field, items

_ROW_BY_ROW = "maps are evaluated row by row"
_MOST_STEPS = 50


def _value_at_path(env: Environment, value: Value, path: str) -> Value:
    """Return the value at a dotted path; every step charges the items it visits."""
    if path.count(".") >= _MOST_STEPS:
        return None
    for name in path.split("."):
        env.charge(1 + len(items(value)))
        value = field(value, name)
    return value


FUNCTIONS = (
    function(
        "get",
        takes=(Kind.MAP, Kind.PRINTABLE),
        returns=Kind.ANY,
        doc="The value under a key; null without one. Keys are case-sensitive. `map.key` is the same.",
        examples={'{"a": 1}.get("a")': 1, '{"a": 1}.get("A")': None, 'null.get("a")': None},
        body=field,
    ),
    function(
        "valueAtPath",
        takes=(Kind.ANY, Kind.TEXT),
        returns=Kind.ANY,
        method=False,
        doc="The value that a path of field names leads to from an object or an array of objects: what "
        f"writing the path out would give. Null where it leads nowhere, or beyond {_MOST_STEPS} steps.",
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
        takes=(Kind.MAP,),
        returns=Kind.ARRAY,
        doc="All keys.",
        examples={'{"a": 1, "b": 2}.keys()': ["a", "b"], "null.keys()": []},
        body=lambda value: [str(key) for key in value],
        row_by_row=_ROW_BY_ROW,
    ),
    function(
        "values",
        takes=(Kind.MAP,),
        returns=Kind.ARRAY,
        doc="All values.",
        examples={'{"a": 1, "b": 2}.values()': [1, 2]},
        body=lambda value: list(value.values()),
        row_by_row=_ROW_BY_ROW,
    ),
    function(
        "mapEntry",
        takes=(Kind.PRINTABLE, Kind.ANY),
        returns=Kind.ENTRY,
        method=False,
        pure=False,
        doc="One entry of the map that `map` makes. It has no meaning elsewhere.",
        examples={'[1, 2].groupBy(n => n).map((k, g) => mapEntry(k, g.count())).get("1")': 1},
        body=MapEntry,
        row_by_row=_ROW_BY_ROW,
    ),
    function(
        "inSegment",
        takes=(Kind.TEXT,),
        returns=Kind.BOOLEAN,
        method=False,
        doc="True when the profile is in the audience with this id: its membership is `realized` or "
        "`existing`, in any namespace, and not past `validUntil`.",
        examples={'inSegment("nobody-is-in-this-one")': False},
        body=in_segment,
        with_env=True,
    ),
)
