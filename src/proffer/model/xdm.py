"""XDM profile documents of customers, with identity map and segment membership."""

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from proffer.model.customer import Attributes, Memberships, MembershipStatus
from proffer.model.identity import IdentityKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def profile_document(
    attributes: Attributes,
    identities: Iterable[IdentityKey],
    membership: Memberships,
    audiences: Container[str],
) -> dict[str, Any]:
    """Return the attributes with `identityMap` and `segmentMembership.ups`.

    Only existing audiences are included; memberships of other namespaces are passed through.
    """
    document = dict(attributes)
    document["identityMap"] = identity_map(identities)
    ups = segment_membership(membership, audiences)
    if ups:
        document["segmentMembership"] = with_ups_segments(document.get("segmentMembership"), ups)
    return document


def identity_map(identities: Iterable[IdentityKey]) -> dict[str, list[dict[str, Any]]]:
    by_namespace: dict[str, list[dict[str, Any]]] = {}
    for namespace, key in identities:
        by_namespace.setdefault(namespace, []).append({"id": key})
    return by_namespace


def segment_membership(membership: Memberships, audiences: Container[str]) -> dict[str, Any]:
    """Return the memberships of these audiences in XDM form; list columns under `enrichment`."""
    by_audience: dict[str, Any] = {}
    for audience, audience_membership in membership.items():
        if audience in audiences:
            by_audience[audience] = {
                "status": audience_membership.status.value,
                "lastQualificationTime": format_xdm_time(audience_membership.since_us),
            }
            if audience_membership.columns and audience_membership.status is not MembershipStatus.EXITED:
                by_audience[audience]["enrichment"] = dict(audience_membership.columns)
    return by_audience


def with_ups_segments(existing: Any, ups: Mapping[str, Any]) -> dict[str, Any]:
    """Return a segment membership updated with these `ups` audiences; others are kept."""
    merged = dict(existing) if isinstance(existing, Mapping) else {}
    before = merged.get("ups")
    merged["ups"] = {**before, **ups} if isinstance(before, Mapping) else dict(ups)
    return merged


@lru_cache(1024)  # customers that enter together share the time
def format_xdm_time(moment_us: int) -> str:
    """Format a time for XDM, in whole milliseconds."""
    moment = _EPOCH + timedelta(microseconds=moment_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
