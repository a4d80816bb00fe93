"""Datastreams: endpoints through which sites and apps reach one sandbox, and their settings.

The id of a datastream is in every page and app, so it is not secret; its settings protect it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from proffer.model.instance import Instance

FIRST_PARTY_ID_COOKIE = "FPID"


class EdgeAccess(StrEnum):
    """Who may send events: any caller, or only callers with a token."""

    MIXED = "mixed"
    AUTHENTICATED = "authenticated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastream:
    """One datastream. Without `offers_enabled`, events are accepted and no decisions are made.

    `origins`: origins whose pages may call, `https://*.shop.example` for all subdomains; empty for all.
    `overrides`: a request may override settings. `keep_events`: experience events are stored with the
    customer. `link_identities`: identities in one event are linked permanently. `explain`: a request may
    ask for a trace, which reveals offers that the visitor is not eligible for.
    """

    id: str
    name: str
    enabled: bool = True
    offers_enabled: bool = True
    overrides: bool = True
    access: EdgeAccess = EdgeAccess.MIXED
    keep_events: bool = False
    link_identities: bool = True
    explain: bool = False
    origins: Sequence[str] = ()
    first_party_id_cookie: str = FIRST_PARTY_ID_COOKIE

    def allows_origin(self, origin: str | None) -> bool:
        """Return whether pages of this origin may call. None: not a browser page, so allowed."""
        if origin is None or not self.origins:
            return True
        return any(_origin_matches(allowed, origin.lower()) for allowed in self.origins)


def _origin_matches(allowed: str, origin: str) -> bool:
    if allowed in {"*", origin}:
        return True
    scheme, wildcard, authority = allowed.partition("://*.")
    if not wildcard:
        return False
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    domain, _, allowed_port = authority.partition(":")
    return (
        parts.scheme == scheme and host.endswith(f".{domain}") and allowed_port == ("" if port is None else str(port))
    )


def read_datastream(instance: Instance) -> Datastream:
    """Return the datastream of a stored object. Its id is the instance id."""
    document: Mapping[str, Any] = instance.document
    return Datastream(
        id=instance.instance_id,
        name=document["name"],
        enabled=document.get("enabled", True),
        offers_enabled=document.get("offers", True),
        overrides=document.get("overrides", True),
        access=EdgeAccess(document.get("access", EdgeAccess.MIXED)),
        keep_events=document.get("keepEvents", False),
        link_identities=document.get("linkIdentities", True),
        explain=document.get("explain", False),
        origins=tuple(document.get("allowedOrigins", ())),
        first_party_id_cookie=document.get("firstPartyIdCookie", FIRST_PARTY_ID_COOKIE),
    )
