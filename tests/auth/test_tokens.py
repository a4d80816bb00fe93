"""Tokens: shown once, kept as a hash, and worth what they were issued for."""

from dataclasses import replace
from typing import Any

import pytest

from proffer.auth.policy import can_see_container, require_permission
from proffer.auth.principal import Permission, Principal
from proffer.auth.tokens import TOKEN_PREFIX, check_tenant, issue_token, token_digest, verify_token
from proffer.errors import Forbidden, Unauthenticated
from proffer.model.token import StoredToken

NOW = 1_700_000_000_000_000


def issued(**more: Any) -> tuple[str, StoredToken]:
    return issue_token(
        **{
            "organisation": "a@AdobeOrg",
            "sandbox": "prod",
            "permissions": frozenset({Permission.LIBRARY_READ}),
            "label": "ann@AdobeID",
            "now_us": NOW,
            **more,
        }
    )


def test_a_token_is_recognisable_and_its_text_is_not_kept() -> None:
    """256 random bits after a prefix that scanners know; what is stored says nothing of it but a hash."""
    text, stored = issued()

    assert text.startswith(TOKEN_PREFIX)
    assert len(text) == len(TOKEN_PREFIX) + 43
    assert stored.digest == token_digest(text)
    assert text not in repr(stored)
    assert text.removeprefix(TOKEN_PREFIX) not in repr(stored)
    assert len({issued()[0] for _ in range(100)}) == 100
    assert len({issued()[1].id for _ in range(100)}) == 100


def test_a_token_stands_for_its_caller() -> None:
    """Organisation, sandbox, permissions and label are the token's; the client is the request's."""
    _, stored = issued()

    assert verify_token(stored, NOW, client="studio") == Principal(
        organisation="a@AdobeOrg",
        sandbox="prod",
        permissions=frozenset({Permission.LIBRARY_READ}),
        user="ann@AdobeID",
        client="studio",
    )


def test_a_token_is_valid_until_it_is_not() -> None:
    """Unknown, revoked and expired are one refusal in one wording."""
    _, stored = issued(expires_us=NOW + 10)
    assert verify_token(stored, NOW + 9, client="c").user == "ann@AdobeID"
    details = set()
    for bad, moment in (
        (None, NOW),
        (stored, NOW + 10),
        (stored, NOW + 11),
        (replace(stored, revoked_us=NOW), NOW),
        (replace(stored, revoked_us=NOW, expires_us=None), NOW + 1),
    ):
        with pytest.raises(Unauthenticated) as error:
            verify_token(bad, moment, client="c")
        details.add((error.value.code, error.value.detail))
    assert len(details) == 1


def test_a_permission_of_a_newer_version_is_not_taken_for_one_of_ours() -> None:
    """What this version does not know, it does not grant."""
    _, stored = issued()
    stored = replace(stored, permissions=frozenset({"everything", "library:read"}))

    assert verify_token(stored, NOW, client="c").permissions == {Permission.LIBRARY_READ}


def test_admin_may_do_everything_and_others_what_they_may() -> None:
    """One permission is one permission; `admin` includes them all."""
    caller = verify_token(issued()[1], NOW, client="c")
    require_permission(caller, Permission.LIBRARY_READ)
    for other in set(Permission) - {Permission.LIBRARY_READ}:
        with pytest.raises(Forbidden) as error:
            require_permission(caller, other)
        assert error.value.extra == {"report": {"permission": str(other)}}
    admin = replace(caller, permissions=frozenset({Permission.ADMIN}))
    for each in Permission:
        require_permission(admin, each)


def test_who_sees_which_container() -> None:
    """The organisation has to be the caller's, and the sandbox too unless the caller has all of them."""
    caller = verify_token(issued()[1], NOW, client="c")
    assert can_see_container(caller, "a@AdobeOrg", "prod")
    assert not can_see_container(caller, "a@AdobeOrg", "stage")
    assert not can_see_container(caller, "b@AdobeOrg", "prod")
    everywhere = replace(caller, sandbox=None)
    assert can_see_container(everywhere, "a@AdobeOrg", "stage")
    assert not can_see_container(everywhere, "b@AdobeOrg", "prod")


@pytest.mark.parametrize(
    ("organisation", "sandbox", "code"),
    [
        (None, None, None),
        ("a@AdobeOrg", "prod", None),
        ("A@adobeorg", None, "organisation-mismatch"),
        ("", None, "organisation-mismatch"),
        ("b@AdobeOrg", "prod", "organisation-mismatch"),
        (None, "stage", "sandbox-mismatch"),
        ("a@AdobeOrg", "Prod", "sandbox-mismatch"),
    ],
)
def test_headers_agree_with_the_token(organisation: str | None, sandbox: str | None, code: str | None) -> None:
    """Letter by letter, where they are given at all."""
    caller = verify_token(issued()[1], NOW, client="c")
    if code is None:
        check_tenant(caller, organisation, sandbox)
        return
    with pytest.raises(Forbidden) as error:
        check_tenant(caller, organisation, sandbox)
    assert error.value.code == code
    assert "a@AdobeOrg" not in error.value.detail
