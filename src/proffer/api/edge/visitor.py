"""Identify visitors, and build the state their clients store (edge 5)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct

from proffer.api.edge import problems
from proffer.errors import Finding, Invalid, Malformed
from proffer.model.identity import MAX_ID
from proffer.service.edge.datastreams import Stream
from proffer.service.edge.edge import Known
from proffer.wire import ecid, edge
from proffer.wire.consent import Consent, kept_consent

ECID, FPID = "ECID", "FPID"
_OF_BROWSERS = frozenset({ECID, FPID})
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MOST_OF_A_DOMAIN, _MOST_OF_A_HOST = 253, 300


class Visitor(Struct, frozen=True, gc=False):
    """A browser or device, and the identities of its user.

    `stored_value` is the identity value that the client stores, if it matches `ecid`.
    """

    ecid: str
    known: tuple[Known, ...]
    kept: str | None = None
    is_new: bool = False
    warnings: tuple[dict[str, Any], ...] = ()


class Kept(NamedTuple):
    """Client-side state: from `meta.state.entries`, else from cookies."""

    entries: Mapping[str, str]
    cookies: Mapping[str, str]

    def get(self, key: str) -> str | None:
        return self.entries.get(key, self.cookies.get(key))

    def another_identity(self) -> bool:
        return any(map(ecid.is_identity_key, (*self.entries, *self.cookies)))


def kept_of(state: edge.StateDoc | None, cookies: Mapping[str, str]) -> Kept:
    entries = state.entries if state is not None else None
    return Kept({one.key: one.value for one in entries} if entries else {}, cookies)


def consent_of(stream: Stream, kept: Kept) -> Consent | None:
    """Return the consent that the client stores; None if it stores none."""
    return kept_consent(kept.get(ecid.Keys.of(stream.container.organisation).consent))


def visitor_of(stream: Stream, maps: Sequence[tuple[str, Any]], kept: Kept) -> Visitor:
    """Identify the visitor. Precedence: identity maps, the client's stored identity, cookies.

    `maps` are (JSON path, identity map). Raises `Invalid` or `Malformed` for invalid maps. An unreadable
    stored identity is replaced by a new one, with a warning.
    """
    known, warnings = _known(maps)
    organisation = stream.container.organisation
    said = first_party = None
    for one in known:
        if said is None and one.namespace == ECID:
            said = one.id
        elif first_party is None and one.namespace == FPID:
            first_party = one.id
    cookie = kept.cookies.get(stream.datastream.first_party_id_cookie) if kept.cookies else None
    if first_party is None and cookie and len(cookie) <= MAX_ID:
        first_party = cookie
        known.append(Known(FPID, cookie))
    value = kept.get(ecid.Keys.of(organisation).identity)
    decoded = ecid.decode_identity(value) if value is not None else None
    if said is None and decoded is None and (value is not None or kept.another_identity()):
        warnings = [*warnings, _unreadable(value is not None)]
    is_new = False
    found = said or decoded
    if found is None:
        is_new = first_party is None
        found = ecid.mint_ecid() if is_new else ecid.derived_ecid(organisation, first_party or "")
    if said is None:
        known.append(Known(ECID, found))
    return Visitor(
        found, tuple(known), value if decoded == found else None, is_new, tuple(warnings)
    )


def refuse_without_primary(known: Sequence[Known]) -> None:
    """Raise `Malformed` if no identity is primary or an ECID (edge 8)."""
    if known and not any(one.primary or one.namespace == ECID for one in known):
        raise Malformed("no identity of `identityMap` is marked `primary`", code="EXEG-0306-400")


def read_maps(maps: Sequence[tuple[str, Any]]) -> list[Known]:
    """Return the identities of these maps; raises as `identify` does."""
    return _known(maps)[0]


def _known(maps: Sequence[tuple[str, Any]]) -> tuple[list[Known], list[dict[str, Any]]]:
    if not maps:
        return [], []
    known: dict[tuple[str, str], Known] = {}
    wrong: list[Finding] = []
    empty = 0
    for at, value in maps:
        for one in _entries(value, at, wrong):
            if not one.id or one.id.isspace():
                empty += 1
                continue
            before = known.get(one[:2])
            if before is None or (one.primary and not before.primary):
                known[one[:2]] = one
    if wrong:
        raise Invalid.of(wrong)
    for one in known.values():
        if one.namespace == ECID and not ecid.is_ecid(one.id):
            raise Malformed(
                f"`{one.id[:50]}` is no ECID: those have 38 digits", code="EXEG-0305-400"
            )
    warnings = [_nameless(empty)] if empty else []
    return list(known.values()), warnings


def _entries(value: Any, at: str, wrong: list[Finding]) -> Iterator[Known]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        wrong.append(_mistake(at, "an identity map is an object of lists"))
        return
    for name, listed in value.items():
        if not isinstance(listed, list):
            wrong.append(_mistake(f"{at}.{name[:100]}", "the identities of a namespace are a list"))
            continue
        namespace = _device(name)
        for index, entry in enumerate(listed):
            key = entry.get("id", entry.get("xdm:id")) if isinstance(entry, dict) else None
            if not isinstance(key, str) or len(key) > MAX_ID or "\0" in key:
                wrong.append(
                    _mistake(
                        f"{at}.{name[:100]}[{index}].id",
                        f"an id is a text of at most {MAX_ID:,} characters",
                    )
                )
                continue
            yield Known(
                namespace,
                key,
                entry.get("primary") is True,
                entry.get("authenticatedState") == "loggedOut",
            )


def _device(name: str) -> str:
    """Return the namespace name, with ECID and FPID in upper case."""
    upper = name.upper() if len(name) == len(ECID) else name
    return upper if upper in _OF_BROWSERS else name


def _mistake(at: str, message: str) -> Finding:
    return Finding(
        code="type",
        message=message,
        path=at,
        help='as in `{"CRMID": [{"id": "42", "primary": true}]}`',
    )


def _unreadable(ours: bool) -> dict[str, Any]:
    detail = (
        "the identity that the client keeps cannot be read"
        if ours
        else "the client keeps an identity of another organisation"
    )
    return problems.note(
        "identity-not-read", 200, "Identity not read", f"{detail}; it was given a new one"
    )


def _nameless(count: int) -> dict[str, Any]:
    return problems.note(
        "identity-empty",
        200,
        "Identity without id",
        f"{count} identities have an empty id and were left out",
    )


# State for the client to store.


class Given(NamedTuple):
    """State for the client to store: entries, or cookies to set."""

    entries: list[dict[str, Any]]
    cookies: list[str]


def to_keep(
    stream: Stream,
    state: edge.StateDoc | None,
    host: str,
    now_us: int,
    *,
    visitor: Visitor | None = None,
    consent: Consent | None = None,
) -> Given:
    """Return the state to store: cookies where this host may set them, else entries."""
    keys = ecid.Keys.of(stream.container.organisation)
    kept: list[tuple[str, str, int]] = []
    if visitor is not None:
        value = visitor.kept or ecid.encode_identity(
            visitor.ecid, now_us // 1000, is_new=visitor.is_new
        )
        kept.append((keys.identity, value, ecid.IDENTITY_SECONDS))
    if consent is not None:
        kept.append((keys.consent, f"general={consent}", ecid.CONSENT_SECONDS))
    domain = None
    if (
        state is not None
        and state.cookies_enabled is True
        and state.domain
        and len(state.domain) <= _MOST_OF_A_DOMAIN
        and len(host) <= _MOST_OF_A_HOST
    ):
        domain = _first_party(state.domain, host)
    if domain is None or not all(_is_cookie_name(key) for key, _, _ in kept):
        return Given([edge.stored(*one) for one in kept], [])
    return Given(
        [],
        [
            f"{key}={value}; Domain={domain}; Path=/; Max-Age={seconds}; SameSite=None; Secure"
            for key, value, seconds in kept
        ],
    )


@lru_cache(maxsize=256)
def _is_cookie_name(key: str) -> bool:
    return _COOKIE_NAME.fullmatch(key) is not None


@lru_cache(maxsize=256)  # there are few pages and hosts
def _first_party(of_page: str, host: str) -> str | None:
    """Return the page's domain if this host belongs to it, else None."""
    domain = of_page.lower().strip(".")
    plain = domain.replace("-", "").replace(".", "")
    if "." not in domain or not plain.isascii() or not plain.isalnum():
        return None
    if domain.replace(".", "").isdigit():
        return None  # an IP address is not a domain
    name = host.lower().rpartition(":")[0] if ":" in host else host.lower()
    return domain if name == domain or name.endswith(f".{domain}") else None
