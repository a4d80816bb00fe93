"""RFC 6902, all of it, and one kind of error for whatever goes wrong."""

import contextlib
import copy
from typing import Any

import jsonpatch
import jsonpointer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.errors import Invalid, Violation
from proffer.wire.patch import MAX_OPERATIONS, apply_patch, json_equal


def refusal(document: Any, *operations: Any, **options: Any) -> tuple[str, str | None]:
    """Code and path of the one finding."""
    with pytest.raises(Invalid) as caught:
        apply_patch(document, list(operations), **options)
    (finding,) = caught.value.violations
    assert finding.message
    assert finding.help
    return finding.code, finding.path


def op(name: str, to: str, *value: Any, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": to, **({"value": value[0]} if value else {}), **more}


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({"a": 1}, op("add", "/b", [None]), {"a": 1, "b": [None]}),
        ({"a": 1}, op("add", "/a", 2), {"a": 2}),
        ({"a": [1, 3]}, op("add", "/a/1", 2), {"a": [1, 2, 3]}),
        ({"a": [1]}, op("add", "/a/1", 2), {"a": [1, 2]}),
        ({"a": [1]}, op("add", "/a/-", 2), {"a": [1, 2]}),
        ({"a": 1}, op("add", "", {"b": 2}), {"b": 2}),
        ({"a": 1, "b": 2}, op("remove", "/a"), {"b": 2}),
        ({"a": [1, 2, 3]}, op("remove", "/a/1"), {"a": [1, 3]}),
        ({"a": [1, 2]}, op("replace", "/a/0", {}), {"a": [{}, 2]}),
        ({"a": 1, "b": 2}, op("replace", "/a", None), {"a": None, "b": 2}),
        ({"a": {"b": 1}}, op("replace", "", {}), {}),
        ({"a": {"b": 1}}, {"op": "move", "from": "/a/b", "path": "/c"}, {"a": {}, "c": 1}),
        ({"a": [1, 2, 3]}, {"op": "move", "from": "/a/0", "path": "/a/2"}, {"a": [2, 3, 1]}),
        ({"a": {"b": 1}}, {"op": "move", "from": "/a", "path": "/a"}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"op": "move", "from": "/a", "path": ""}, {"b": 1}),
        ({"a": {"b": 1}, "ab": 1}, {"op": "move", "from": "/a", "path": "/ab"}, {"ab": {"b": 1}}),
        ({"a": [1]}, {"op": "copy", "from": "/a", "path": "/a/-"}, {"a": [1, [1]]}),
        ({"a": [1]}, {"op": "copy", "from": "", "path": "/b"}, {"a": [1], "b": {"a": [1]}}),
        ({"a/b": {"c~d": {"": 1}}}, op("replace", "/a~1b/c~0d/", 2), {"a/b": {"c~d": {"": 2}}}),
        ({"~1": 1}, op("replace", "/~01", 2), {"~1": 2}),
        ({"0": 1}, op("remove", "/0"), {}),
        ({"-": 1}, op("remove", "/-"), {}),
        ({"a": 1}, op("test", "", {"a": 1.0}), {"a": 1}),
        ({"a": 1}, op("remove", "/a", "ignored", extra=1), {}),
    ],
)
def test_an_operation_does_what_the_standard_says(document: Any, operation: Any, expected: Any) -> None:
    """And leaves both arguments as they were."""
    before = copy.deepcopy((document, operation))
    assert apply_patch(document, [operation]) == expected
    assert (document, operation) == before


def test_nothing_is_shared_with_the_document_or_the_patch() -> None:
    """Whoever keeps the old version keeps it unchanged, whatever is done with the new one."""
    document = {"a": [[1]], "b": {}}
    value = {"x": [1]}
    result = apply_patch(document, [op("add", "/c", value), {"op": "copy", "from": "/c", "path": "/d"}])
    result["a"][0].append(2)
    result["c"]["x"].append(2)
    assert document == {"a": [[1]], "b": {}}
    assert value == {"x": [1]}
    assert result["d"] == {"x": [1]}


def test_operations_follow_each_other() -> None:
    """Each sees what the one before left."""
    assert apply_patch(
        {"_instance": {}},
        [
            op("add", "/_instance/xdm:tags", []),
            op("add", "/_instance/xdm:tags/-", "xcore:tag:1"),
            op("test", "/_instance/xdm:tags", ["xcore:tag:1"]),
        ],
    ) == {"_instance": {"xdm:tags": ["xcore:tag:1"]}}
    assert apply_patch({"a": 1}, []) == {"a": 1}


@pytest.mark.parametrize(
    ("operation", "code", "member"),
    [
        (op("remove", "/missing"), "missing", "path"),
        (op("replace", "/missing", 1), "missing", "path"),
        (op("test", "/missing", 1), "missing", "path"),
        (op("add", "/missing/-", 1), "missing", "path"),
        (op("add", "/text/0", 1), "missing", "path"),
        (op("add", "/number/x/y", 1), "missing", "path"),
        (op("add", "/list/3", 1), "index", "path"),
        (op("replace", "/list/2", 1), "index", "path"),
        (op("remove", "/list/-1"), "index", "path"),
        (op("remove", "/list/01"), "index", "path"),
        (op("remove", "/list/١"), "index", "path"),
        (op("remove", "/list/" + "9" * 5000), "index", "path"),
        (op("remove", "/list/-"), "index", "path"),
        (op("replace", "/list/-", 1), "index", "path"),
        (op("test", "/list/-", 1), "index", "path"),
        (op("add", "/list/-/x", 1), "index", "path"),
        (op("add", "/list/", 1), "index", "path"),
        (op("test", "/number", 2), "test", "path"),
        (op("test", "/number", True), "test", "path"),
        (op("remove", ""), "root", "path"),
        (op("replace", "", [1]), "root", "path"),
        ({"op": "copy", "from": "/list", "path": ""}, "root", "path"),
        ({"op": "copy", "from": "/missing", "path": "/x"}, "missing", "from"),
        ({"op": "move", "from": "/list/2", "path": "/x"}, "index", "from"),
        ({"op": "move", "from": "/list/-", "path": "/list/0"}, "index", "from"),
        ({"op": "move", "from": "/object", "path": "/object/inner"}, "move", "path"),
        ({"op": "move", "from": "/list", "path": "/list/0"}, "move", "path"),
        ({"op": "move", "from": "", "path": "/x"}, "move", "path"),
        ({"op": "move", "from": "/missing", "path": "/missing"}, "missing", "from"),
    ],
)
def test_what_cannot_be_applied_is_refused_by_index(operation: Any, code: str, member: str) -> None:
    """The path says which operation, and which of its pointers."""
    document = {"list": [1, 2], "text": "abc", "number": 1, "object": {"inner": {}}}
    assert refusal(document, op("test", "/text", "abc"), operation) == (code, f"$[1].{member}")


def test_every_malformed_operation_is_listed() -> None:
    """Before anything is applied."""
    with pytest.raises(Invalid) as caught:
        apply_patch(
            {},
            [
                op("remove", "/missing"),
                "remove",
                {},
                op("delete", "/a"),
                op("add", "/a"),
                op("add", "/a", None),
                {"op": "move", "path": "/a"},
                op("remove", "a"),
                op("remove", "/a~2"),
                op("remove", "#/a"),
                {"op": ["add"], "path": None},
                op("add", "/a", {"x": "\0"}),
            ],
        )
    assert [(finding.code, finding.path) for finding in caught.value.violations] == [
        ("type", "$[1]"),
        ("required", "$[2].op"),
        ("required", "$[2].path"),
        ("enum", "$[3].op"),
        ("required", "$[4].value"),
        ("required", "$[6].from"),
        ("format", "$[7].path"),
        ("format", "$[8].path"),
        ("format", "$[9].path"),
        ("type", "$[10].op"),
        ("type", "$[10].path"),
        ("nul", "$[11].value.x"),
    ]


@pytest.mark.parametrize("operations", [None, {}, "add", 1, {"op": "add", "path": "/a", "value": 1}])
def test_a_patch_is_a_list(operations: Any) -> None:
    """A single operation needs its brackets too."""
    with pytest.raises(Invalid) as caught:
        apply_patch({}, operations)
    assert [(finding.code, finding.path) for finding in caught.value.violations] == [("type", "$")]


def test_a_lenient_replace_adds_a_missing_member() -> None:
    """Only a member of an object; a list has no gap to fill."""
    assert apply_patch({"a": {}}, [op("replace", "/a/b", 1)], lenient_replace=True) == {"a": {"b": 1}}
    assert refusal({"a": []}, op("replace", "/a/0", 1), lenient_replace=True) == (
        "index",
        "$[0].path",
    )
    assert refusal({}, op("replace", "/a/b", 1), lenient_replace=True) == ("missing", "$[0].path")


def test_equality_is_that_of_json() -> None:
    """Python would say that true is 1."""
    assert json_equal({"a": [1, {"b": None}], "c": 1}, {"c": 1.0, "a": [1.0, {"b": None}]})
    for left, right in [
        (True, 1),
        (False, 0),
        ([True], [1]),
        ({"a": 0}, {"a": False}),
        (None, False),
    ]:
        assert not json_equal(left, right)
        assert not json_equal(right, left)
    assert not json_equal([1, 2], [2, 1])
    assert not json_equal([], {})
    assert not json_equal("1", 1)


def test_a_patch_has_a_thousand_operations_at_most() -> None:
    """More is refused as a whole."""
    many = [op("add", "/a", 1)] * MAX_OPERATIONS
    assert apply_patch({}, many) == {"a": 1}
    assert refusal({}, *many, many[0]) == ("range", "$")


@pytest.mark.timeout(30)  # without the bound: hours
def test_copies_that_double_are_stopped() -> None:
    """Forty doublings of a small list would be a terabyte."""
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40
    code, _ = refusal({"a": [1]}, *doubling)
    assert code == "range"
    rewriting = [{"op": "copy", "from": "/a", "path": "/b"}] * MAX_OPERATIONS
    assert refusal({"a": "x" * 10_000}, *rewriting, max_bytes=50_000) == ("range", "$[3].path")


def test_a_result_nested_too_deeply_is_refused() -> None:
    """A document could not be sent again that deep; moves and copies can make it so."""
    document: Any = {"a": {}, **{f"m{index}": {} for index in range(200)}}
    nest = ["/a" + "".join(f"/m{level}" for level in range(index + 1)) for index in range(120)]
    moves = [{"op": "move", "from": f"/m{index}", "path": to} for index, to in enumerate(nest)]
    assert apply_patch(document, moves[:98])
    assert refusal(document, *moves) == ("depth", "$")
    deep: Any = {}
    for _ in range(150):
        deep = {"a": deep}
    assert apply_patch(deep, [op("add", "/b", 1)])["b"] == 1


POINTERS = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "01", "~0", "~1", "", "é"]), max_size=4).map(
    lambda tokens: "".join("/" + token for token in tokens)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "0", "-", "~", "/", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": POINTERS,
        "from": POINTERS,
        "value": JSON,
    }
)


@given(
    JSON,
    st.lists(OPERATIONS | st.dictionaries(st.sampled_from(["op", "path"]), JSON) | JSON) | JSON,
)
def test_whatever_the_patch_only_one_error_comes(document: Any, operations: Any) -> None:
    """And the document is never touched."""
    before = copy.deepcopy(document)
    with contextlib.suppress(Invalid):
        apply_patch(document, operations)
    assert json_equal(document, before)


@given(st.dictionaries(st.sampled_from(["a", "b", "0"]), JSON), OPERATIONS)
def test_the_library_agrees_where_we_apply(document: dict[str, Any], operation: Any) -> None:
    """jsonpatch is laxer, so it is asked only about what we accept; and refusals it shares are ours."""
    try:
        ours = apply_patch(document, [operation])
    except Invalid as error:
        (finding,) = error.violations
        assert isinstance(finding, Violation)
        return
    try:
        theirs = jsonpatch.apply_patch(document, [operation])
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError):
        # It cannot copy or move the root, nor look below a list element that is the root's.
        assert "" in (operation["from"], operation["path"])
        return
    assert ours == theirs
