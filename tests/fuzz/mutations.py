"""Good documents gone wrong: nodes dropped, replaced, inserted, copied from elsewhere; and text around them."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Place = tuple[Any, Any]
"""A list or an object, and the index or name of one node in it."""

ODD_TEXTS = [
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "😀", "\u202e", "x" * 10_000, "null", "NaN",
    "../../etc/passwd", "{{1}}", "%00", "xcore:offer-placement:a1", "xcore:tag:c1",
    "dps:offer-placement:a1", "xcore:personalized-offer:", "xcore:offer-activity:0",
    "2024-13-45T99:99:99Z", "2024-01-01T00:00:00", "0000-00-00T00:00:00Z", "live", "approved",
    "person.age >= 18", "person.age >=", "((((" * 50, "pql/json", "'" * 100,
]  # fmt: skip
ODD_NUMBERS = [0, -1, 1, 31, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**200, 0.5, -0.0, 1e308, 1.0]
UNREAL = [float("nan"), float("inf"), float("-inf")]
NAMES = [
    "@id", "@type", "xdm:name", "name", "ids", "xdm:ids", "condition", "xdm:status", "", "\0",
    "xdm:eligibilityRule", "xdm:rules", "xdm:cappingConstraint", "xdm:order", "_instance",
]  # fmt: skip

scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(ODD_TEXTS),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(UNREAL),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
)
values: st.SearchStrategy[Any] = st.one_of(
    scalars,
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.integers(50, 150).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)


def places(document: Any) -> Iterator[Place]:
    """Every node but the root, by what holds it."""
    pending = [document]
    while pending:
        holder = pending.pop()
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        for key in keys:
            yield holder, key
            if isinstance(holder[key], list | dict):
                pending.append(holder[key])


@st.composite
def mutated(draw: st.DrawFn, documents: list[Any]) -> Any:
    """One of these documents, changed in one to three places."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document)) if isinstance(document, list | dict) else []
        if not found:
            return draw(values)
        holder, key = found[draw(st.integers(0, len(found) - 1))]
        match draw(st.sampled_from(["drop", "replace", "insert", "move", "repeat"])):
            case "drop":
                del holder[key]
            case "replace":
                holder[key] = draw(values)
            case "insert" if isinstance(holder, list):
                holder.insert(key, draw(values))
            case "insert":
                holder[draw(st.sampled_from(NAMES))] = draw(values)
            case "move":
                other, where = found[draw(st.integers(0, len(found) - 1))]
                holder[key] = copy.deepcopy(other[where])
            case _ if isinstance(holder, list):
                holder.extend([holder[key]] * draw(st.integers(1, 40)))
            case _:
                holder[f"xdm:{key}"] = holder[key]
    return document


@st.composite
def bodies(draw: st.DrawFn, documents: list[Any]) -> bytes:
    """The bytes of a mutated document, now and then damaged."""
    text = json.dumps(draw(mutated(documents)), ensure_ascii=draw(st.booleans()))
    data = text.encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 9)):
        case 0:
            return data[: draw(st.integers(0, len(data)))]
        case 1:
            at = draw(st.integers(0, len(data)))
            return data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at:]
        case 2:
            return b"\xef\xbb\xbf" + data
        case _:
            return data


_VISIBLE = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
header_values = st.one_of(
    st.sampled_from(
        [
            "*", '"1"', 'W/"1"', '"', "1, 2", "application/json", "text/plain", "a/b; schema=", "*/*;q=",
            'application/json; schema="', "Bearer x", "Bearer", "Basic eA==", "é", "-1", "chunked",
            "https://ns.adobe.com/experience/offer-management/tag", "de;q=1e999, en;q=-1, *;q=nan",
        ]
    ),
    st.text(_VISIBLE, max_size=30),
)  # fmt: skip
header_names = st.sampled_from(
    [
        "accept", "accept-language", "authorization", "content-type", "if-match", "if-none-match",
        "x-api-key", "x-gw-ims-org-id", "x-request-id", "x-sandbox-name", "x-unknown", "cookie",
    ]
)  # fmt: skip


def _as_bytes(name: str, text: str) -> bytes:
    # The test client cannot read what comes back as it was sent, unless it is ASCII.
    return text.encode("ascii" if name == "x-request-id" else "latin-1", "replace")


headers = st.dictionaries(header_names, header_values).map(
    lambda given: {name: _as_bytes(name, text) for name, text in given.items()}
)

_PIECES = st.one_of(
    st.sampled_from(
        [
            "schema", "id", "name", "property", "q", "qop", "field", "orderby", "orderBy", "limit",
            "start", "activityId", "explain", "partial", "product", "=", "&", ";", "==", "*", "-",
            ",", "%00", "%ff", "%ed%a0%80", "%", "+", "~", ">", "<=", "!=", "(", "[", '"', ".", "..",
            "_instance.xdm:name", "repo:createdDate", "instanceId", "true", "2", "9" * 30, "-1",
            "https://ns.adobe.com/experience/offer-management/tag", "and", "AND", "null", "\\",
            "https://ns.adobe.com/experience/offer-management/personalized-offer;version=0.5",
            "xcore:offer-activity:11", "2024-01-01T00:00:00Z", "%F0%9F%98%80", "1711012522004,",
        ]
    ),
    st.text("abz019:;=&%+-_.~!*'()@,/?", max_size=6),
)  # fmt: skip
queries = st.one_of(
    st.lists(_PIECES, max_size=12).map("".join),
    st.lists(st.tuples(_PIECES, _PIECES), max_size=5).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
    ),
)
segments = st.one_of(
    st.sampled_from(["instances", "decisions", "queries", "core", "search", "containers", "x", ""]),
    st.text("abz019:;=%-_.~", max_size=8),
)
