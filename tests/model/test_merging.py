"""Several sources make one profile, the same one whatever the order in which they came."""

from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proffer.model.customer import AudienceMembership, Fragment, FragmentSource, MembershipStatus
from proffer.model.identity import IdentityKey
from proffer.model.merging import MergePolicy, join_memberships, merge_fragments, overlay

ANN = IdentityKey("Email", "ann@x")

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def said(at: int, dataset: str, **attributes: Any) -> Fragment:
    return Fragment(FragmentSource(at, dataset, ANN), attributes)


def nulls(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and any(map(nulls, value.values())))


def test_the_newest_wins_member_by_member() -> None:
    """Objects are merged, lists and texts are taken whole from the newest that has them."""
    old = said(1, "crm", person={"age": 3, "name": "Ann"}, tags=[1, 2], city="Ulm")
    new = said(2, "web", person={"age": 4}, tags=[3])

    assert merge_fragments([new, old]) == {
        "person": {"age": 4, "name": "Ann"},
        "tags": [3],
        "city": "Ulm",
    }


def test_a_dataset_may_win_over_newer_ones() -> None:
    """By dataset precedence the first one named wins, whatever the time; who is not named comes last."""
    sources = [said(3, "app", n="app"), said(2, "web", n="web"), said(1, "crm", n="crm", only=1)]

    def winner(*order: str) -> object:
        return merge_fragments(sources, MergePolicy(id="p", precedence=order))["n"]

    assert [winner(), winner("crm"), winner("crm", "web"), winner("web", "crm"), winner("x")] == [
        "app",
        "crm",
        "crm",
        "web",
        "app",
    ]


@given(st.lists(documents, min_size=1, max_size=3))
def test_the_order_of_arrival_does_not_matter(sources: list[dict[str, Any]]) -> None:
    """Sources of one moment are ordered by dataset, so every permutation gives the same profile."""
    fragments = [said(1, f"d{n}", **overlay({}, source)) for n, source in enumerate(sources)]

    assert len({repr(merge_fragments(list(order))) for order in permutations(fragments)}) == 1


@given(documents, documents)
def test_laying_over_leaves_no_null_and_changes_nothing(base: dict[str, Any], top: dict[str, Any]) -> None:
    """Null removes at any depth; both operands are as they were; twice is as good as once."""
    base = overlay({}, base)
    before = (repr(base), repr(top))
    merged = overlay(base, top)

    assert before == (repr(base), repr(top))
    assert not nulls(merged)
    assert overlay(merged, top) == merged


def test_who_is_in_stays_in_when_two_become_one() -> None:
    """Of two standings the one inside wins, then the newer."""
    inside, outside = (
        AudienceMembership(MembershipStatus.EXISTING, 1),
        AudienceMembership(MembershipStatus.EXITED, 2),
    )
    later = AudienceMembership(MembershipStatus.REALIZED, 3)

    assert join_memberships([{"a": outside, "b": inside}, {"a": inside, "b": later, "c": outside}]) == {
        "a": inside,
        "b": later,
        "c": outside,
    }
