"""Identities are read as clients write them, and everything wrong with a map of them is said."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.model.identity import (
    MAX_MAP_IDENTITIES,
    IdentityKey,
    Namespaces,
    encode_xid,
    parse_xid,
    read_identity_map,
    trim_id,
)

NAMESPACES = Namespaces(["loyaltyId"])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def read(value: Any) -> tuple[list[IdentityKey], list[str | None]]:
    found, wrong = read_identity_map(value, NAMESPACES)
    return found, [one.path for one in wrong]


def test_a_namespace_is_known_in_any_letter_case() -> None:
    """And is called as it is spelled where it was made."""
    codes = [NAMESPACES.code(text) for text in ("email", "EMAIL", "ecid", "LOYALTYID", "nope")]

    assert codes == ["Email", "Email", "ECID", "loyaltyId", None]


def test_the_primary_identity_comes_first() -> None:
    """The one marked so, else the first by namespace and id; repeats are one."""
    ann, cookie = IdentityKey("Email", "ann@x"), IdentityKey("ECID", "1")
    marked: Any = {
        "email": [{"id": "ann@x", "primary": True}],
        "ECID": [{"xdm:id": "1"}, {"id": "1"}],
    }

    assert read(marked) == ([ann, cookie], [])
    marked["email"][0].pop("primary")
    assert read(marked) == ([cookie, ann], [])


def test_blanks_around_an_id_do_not_count() -> None:
    """Spaces, tabs, no-break spaces and byte order marks; those within an id stay."""
    sent: Any = {"Email": [{"id": " ann@x "}, {"id": "\ufeffann@x\xa0\t"}], "CRMID": [{"id": "a b"}]}

    assert read(sent) == ([IdentityKey("CRMID", "a b"), IdentityKey("Email", "ann@x")], [])
    assert read({"Email": [{"id": " \xa0"}]}) == ([], ["$.identityMap.Email[0].id"])


def test_every_mistake_of_a_map_is_told_with_its_place() -> None:
    """Unknown namespaces, empty ids, wrong types: each with a path."""
    wrong = {
        "nope": [{"id": "1"}],
        "Email": [{"id": ""}, {"id": 3}, {}, "text", {"id": "x" * 2000}, {"id": "a\0"}],
        "ECID": {"id": "1"},
    }
    _, paths = read(wrong)

    assert paths == [
        "$.identityMap.nope",
        *(f"$.identityMap.Email[{n}].id" for n in (0, 1, 2)),
        "$.identityMap.Email[3]",
        *(f"$.identityMap.Email[{n}].id" for n in (4, 5)),
        "$.identityMap.ECID",
    ]
    assert read([]) == ([], ["$.identityMap"])


def test_ten_thousand_identities_are_refused_at_once() -> None:
    """One mistake, not ten thousand."""
    assert read({"ECID": [{"id": str(n)} for n in range(10_000)]}) == ([], ["$.identityMap"])
    assert len(read({"ECID": [{"id": str(n)} for n in range(MAX_MAP_IDENTITIES)]})[0]) == MAX_MAP_IDENTITIES


@given(texts, texts)
def test_an_xid_is_one_identity(namespace: str, key: str) -> None:
    """It reads back as the identity it was made of, without blanks around it, in letters that need no escaping."""
    identity = IdentityKey(namespace, key)

    assert parse_xid(encode_xid(identity)) == (IdentityKey(namespace, trim_id(key)) if trim_id(key) else None)
    assert encode_xid(identity).replace("-", "").replace("_", "").isalnum()


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_no_text_breaks_the_reading_of_an_xid(text: str) -> None:
    """A text is read as an identity only if that identity's own XID reads as the same; else it is None."""
    found = parse_xid(text)

    assert found is None or (found.id and parse_xid(encode_xid(found)) == found)


@pytest.mark.parametrize("plain", ["", "Email", "Email\0", "\0"])
def test_a_text_without_namespace_and_id_is_no_xid(plain: str) -> None:
    """Base64 of a text that has no separator, or nothing after it, is None."""
    assert parse_xid(base64.urlsafe_b64encode(plain.encode()).decode()) is None
