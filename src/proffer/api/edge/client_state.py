"""Identify visitors, and build the state their clients store (edge 5)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct

from proffer.api.edge import problems
from proffer.errors import Invalid, Malformed, Violation
from proffer.model.identity import MAX_ID
from proffer.service.edge.datastreams import AuthorizedDatastream
from proffer.service.edge.edge import EventIdentity
from proffer.wire import ecid, edge
from proffer.wire.consent import Consent, parse_stored_consent

ECID, FPID = "ECID", "FPID"
_BROWSER_NAMESPACES = frozenset({ECID, FPID})
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_DOMAIN, _MAX_HOST = 253, 300


class Visitor(Struct, frozen=True, gc=False):
    """A browser or device, and the identities of its user.

    `stored_value` is the identity value that the client stores, if it matches `ecid`.
    """

    ecid: str
    identities: tuple[EventIdentity, ...]
    stored_value: str | None = None
    is_new: bool = False
    warnings: tuple[dict[str, Any], ...] = ()


class ClientState(NamedTuple):
    """Client-side state: from `meta.state.entries`, else from cookies."""

    entries: Mapping[str, str]
    cookies: Mapping[str, str]

    def get(self, key: str) -> str | None:
        return self.entries.get(key, self.cookies.get(key))

    def has_other_identity(self) -> bool:
        return any(map(ecid.is_identity_key, (*self.entries, *self.cookies)))


def read_client_state(state: edge.StateDoc | None, cookies: Mapping[str, str]) -> ClientState:
    entries = state.entries if state is not None else None
    return ClientState({entry.key: entry.value for entry in entries} if entries else {}, cookies)


def stored_consent(stream: AuthorizedDatastream, client_state: ClientState) -> Consent | None:
    """Return the consent that the client stores; None if it stores none."""
    return parse_stored_consent(client_state.get(ecid.ClientStateKeys.of(stream.container.organisation).consent))


def identify(
    stream: AuthorizedDatastream,
    maps: Sequence[tuple[str, Any]],
    client_state: ClientState,
    *,
    needs_primary: bool = False,
) -> Visitor:
    """Identify the visitor. Precedence: identity maps, the client's stored identity, cookies.

    `maps` are (JSON path, identity map). `needs_primary`: an identity of the maps, if any, must be primary
    or an ECID. Raises `Invalid` or `Malformed` for invalid maps. An unreadable stored identity is replaced
    by a new one, with a warning.
    """
    identities, warnings = _read_identities(maps)
    if needs_primary:
        _require_primary(identities)
    organisation = stream.container.organisation
    request_ecid = fpid = None
    for identity in identities:
        if request_ecid is None and identity.namespace == ECID:
            request_ecid = identity.id
        elif fpid is None and identity.namespace == FPID:
            fpid = identity.id
    cookie = client_state.cookies.get(stream.datastream.first_party_id_cookie) if client_state.cookies else None
    if fpid is None and cookie and len(cookie) <= MAX_ID:
        fpid = cookie
        identities.append(EventIdentity(FPID, cookie))
    value = client_state.get(ecid.ClientStateKeys.of(organisation).identity)
    stored_ecid = ecid.decode_identity(value) if value is not None else None
    if request_ecid is None and stored_ecid is None and (value is not None or client_state.has_other_identity()):
        warnings = [*warnings, _unreadable_warning(value is not None)]
    is_new = False
    visitor_ecid = request_ecid or stored_ecid
    if visitor_ecid is None:
        is_new = fpid is None
        visitor_ecid = ecid.mint_ecid() if is_new else ecid.derive_ecid(organisation, fpid or "")
    if request_ecid is None:
        identities.append(EventIdentity(ECID, visitor_ecid))
    return Visitor(
        visitor_ecid,
        tuple(identities),
        value if stored_ecid == visitor_ecid else None,
        is_new,
        tuple(warnings),
    )


def _require_primary(identities: Sequence[EventIdentity]) -> None:
    """Raise `Malformed` if no identity is primary or an ECID (edge 8)."""
    if identities and not any(identity.primary or identity.namespace == ECID for identity in identities):
        raise Malformed("no identity of `identityMap` is marked `primary`", code="EXEG-0306-400")


def _read_identities(
    maps: Sequence[tuple[str, Any]],
) -> tuple[list[EventIdentity], list[dict[str, Any]]]:
    if not maps:
        return [], []
    by_key: dict[tuple[str, str], EventIdentity] = {}
    findings: list[Violation] = []
    empty_count = 0
    for path, value in maps:
        for identity in _parse_identities(value, path, findings):
            if not identity.id or identity.id.isspace():
                empty_count += 1
                continue
            previous = by_key.get(identity[:2])
            if previous is None or (identity.primary and not previous.primary):
                by_key[identity[:2]] = identity
    if findings:
        raise Invalid.of(findings)
    for identity in by_key.values():
        if identity.namespace == ECID and not ecid.is_ecid(identity.id):
            raise Malformed(f"`{identity.id[:50]}` is not an ECID: an ECID has 38 digits", code="EXEG-0305-400")
    warnings = [_empty_id_warning(empty_count)] if empty_count else []
    return list(by_key.values()), warnings


def _parse_identities(value: Any, path: str, findings: list[Violation]) -> Iterator[EventIdentity]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        findings.append(_identity_finding(path, "an identity map must be an object of lists"))
        return
    for name, entries in value.items():
        if not isinstance(entries, list):
            findings.append(_identity_finding(f"{path}.{name[:100]}", "the identities of a namespace must be a list"))
            continue
        namespace = _canonical_namespace(name)
        for index, entry in enumerate(entries):
            key = entry.get("id", entry.get("xdm:id")) if isinstance(entry, dict) else None
            if not isinstance(key, str) or len(key) > MAX_ID or "\0" in key:
                findings.append(
                    _identity_finding(
                        f"{path}.{name[:100]}[{index}].id",
                        f"an id is a text of at most {MAX_ID:,} characters",
                    )
                )
                continue
            yield EventIdentity(
                namespace,
                key,
                entry.get("primary") is True,
                entry.get("authenticatedState") == "loggedOut",
            )


def _canonical_namespace(name: str) -> str:
    """Return the namespace name, with ECID and FPID in upper case."""
    upper = name.upper() if len(name) == len(ECID) else name
    return upper if upper in _BROWSER_NAMESPACES else name


def _identity_finding(path: str, message: str) -> Violation:
    return Violation(
        code="type",
        message=message,
        path=path,
        help='as in `{"CRMID": [{"id": "42", "primary": true}]}`',
    )


def _unreadable_warning(same_organisation: bool) -> dict[str, Any]:
    detail = (
        "the stored identity of the client cannot be read"
        if same_organisation
        else "the stored identity of the client belongs to another organisation"
    )
    return problems.report_entry(
        "identity-not-read", 200, "Identity not read", f"{detail}; a new identity was assigned"
    )


def _empty_id_warning(count: int) -> dict[str, Any]:
    return problems.report_entry(
        "identity-empty",
        200,
        "Identity without id",
        f"{count} identities have an empty id and were ignored",
    )


# State for the client to store.


class ClientStateUpdate(NamedTuple):
    """State for the client to store: entries, or cookies to set."""

    entries: list[dict[str, Any]]
    cookies: list[str]


def build_state_update(
    stream: AuthorizedDatastream,
    state: edge.StateDoc | None,
    host: str,
    now_us: int,
    *,
    visitor: Visitor | None = None,
    consent: Consent | None = None,
) -> ClientStateUpdate:
    """Return the state to store: cookies where this host may set them, else entries."""
    keys = ecid.ClientStateKeys.of(stream.container.organisation)
    entries: list[tuple[str, str, int]] = []
    if visitor is not None:
        value = visitor.stored_value or ecid.encode_identity(visitor.ecid, now_us // 1000, is_new=visitor.is_new)
        entries.append((keys.identity, value, ecid.IDENTITY_SECONDS))
    if consent is not None:
        entries.append((keys.consent, f"general={consent}", ecid.CONSENT_SECONDS))
    domain = None
    if (
        state is not None
        and state.cookies_enabled is True
        and state.domain
        and len(state.domain) <= _MAX_DOMAIN
        and len(host) <= _MAX_HOST
    ):
        domain = _first_party_domain(state.domain, host)
    if domain is None or not all(_is_cookie_name(key) for key, _, _ in entries):
        return ClientStateUpdate([edge.state_entry(*entry) for entry in entries], [])
    return ClientStateUpdate(
        [],
        [
            f"{key}={value}; Domain={domain}; Path=/; Max-Age={seconds}; SameSite=None; Secure"
            for key, value, seconds in entries
        ],
    )


@lru_cache(maxsize=256)
def _is_cookie_name(key: str) -> bool:
    return _COOKIE_NAME.fullmatch(key) is not None


@lru_cache(maxsize=256)  # there are few pages and hosts
def _first_party_domain(page_domain: str, host: str) -> str | None:
    """Return the page's domain if this host belongs to it, else None."""
    domain = page_domain.lower().strip(".")
    plain = domain.replace("-", "").replace(".", "")
    if "." not in domain or not plain.isascii() or not plain.isalnum():
        return None
    if domain.replace(".", "").isdigit():
        return None  # an IP address is not a domain
    host_name = host.lower().rpartition(":")[0] if ":" in host else host.lower()
    return domain if host_name == domain or host_name.endswith(f".{domain}") else None
