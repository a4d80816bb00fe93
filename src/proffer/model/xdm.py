"""XDM profile documents of customers, with identity map and segment membership."""

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from proffer.model.customer import Attributes, Membership, Status
from proffer.model.identity import IdentityKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def profile_document(
    attributes: Attributes,
    identities: Iterable[IdentityKey],
    membership: Membership,
    audiences: Container[str],
) -> dict[str, Any]:
    """Return the attributes with `identityMap` and `segmentMembership.ups`.

    Only existing audiences are included; memberships of other namespaces are passed through.
    """
    document = dict(attributes)
    document["identityMap"] = identity_map(identities)
    ups = segment_membership(membership, audiences)
    if ups:
        document["segmentMembership"] = with_ups(document.get("segmentMembership"), ups)
    return document


def identity_map(identities: Iterable[IdentityKey]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for namespace, key in identities:
        found.setdefault(namespace, []).append({"id": key})
    return found


def segment_membership(membership: Membership, audiences: Container[str]) -> dict[str, Any]:
    """Return the memberships of these audiences in XDM form; list columns under `enrichment`."""
    found: dict[str, Any] = {}
    for audience, standing in membership.items():
        if audience in audiences:
            found[audience] = {
                "status": standing.status.value,
                "lastQualificationTime": xdm_time(standing.since_us),
            }
            if standing.columns and standing.status is not Status.EXITED:
                found[audience]["enrichment"] = dict(standing.columns)
    return found


def with_ups(given: Any, ups: Mapping[str, Any]) -> dict[str, Any]:
    """Return a segment membership updated with these `ups` audiences; others are kept."""
    whole = dict(given) if isinstance(given, Mapping) else {}
    before = whole.get("ups")
    whole["ups"] = {**before, **ups} if isinstance(before, Mapping) else dict(ups)
    return whole


@lru_cache(1024)  # customers that enter together share the time
def xdm_time(moment_us: int) -> str:
    """Format a time for XDM, in whole milliseconds."""
    moment = _EPOCH + timedelta(microseconds=moment_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
