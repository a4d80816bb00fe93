"""A datastream: the address by which sites and apps reach one sandbox, and what they may do there.

Its id stands in every page and app, so it is no secret; what protects a datastream is what it allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from proffer.model.instance import Instance

FIRST_PARTY_ID_COOKIE = "FPID"


class EdgeAccess(StrEnum):
    """Who may send events: anybody, or only callers with a token."""

    MIXED = "mixed"
    AUTHENTICATED = "authenticated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastream:
    """One datastream. `offers` off: events are taken in and nothing is decided.

    `origins` are those whose pages may call, `https://*.shop.example` for all hosts below one; empty
    for all. `overrides`: whether a request may change settings for itself. `keep_events`: whether
    experience events are kept with the customer. `link`: whether identities that an event names
    together belong together from then on. `explain`: whether a request may ask why it got what it got,
    which tells visitors about offers that are not for them.
    """

    id: str
    name: str
    enabled: bool = True
    offers: bool = True
    overrides: bool = True
    access: EdgeAccess = EdgeAccess.MIXED
    keep_events: bool = False
    link: bool = True
    explain: bool = False
    origins: Sequence[str] = ()
    first_party_id_cookie: str = FIRST_PARTY_ID_COOKIE

    def admits(self, origin: str | None) -> bool:
        """Whether pages of this origin may call. Who names none is no page in a browser."""
        if origin is None or not self.origins:
            return True
        return any(_covers(allowed, origin.lower()) for allowed in self.origins)


def _covers(allowed: str, origin: str) -> bool:
    if allowed in {"*", origin}:
        return True
    scheme, found, rest = allowed.partition("://*.")
    if not found:
        return False
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    wanted, _, wanted_port = rest.partition(":")
    return (
        parts.scheme == scheme
        and host.endswith(f".{wanted}")
        and wanted_port == ("" if port is None else str(port))
    )


def read_datastream(instance: Instance) -> Datastream:
    """The datastream that is kept in this object; its id is the object's instance id."""
    document: Mapping[str, Any] = instance.document
    return Datastream(
        id=instance.instance_id,
        name=document["name"],
        enabled=document.get("enabled", True),
        offers=document.get("offers", True),
        overrides=document.get("overrides", True),
        access=EdgeAccess(document.get("access", EdgeAccess.MIXED)),
        keep_events=document.get("keepEvents", False),
        link=document.get("linkIdentities", True),
        explain=document.get("explain", False),
        origins=tuple(document.get("allowedOrigins", ())),
        first_party_id_cookie=document.get("firstPartyIdCookie", FIRST_PARTY_ID_COOKIE),
    )
