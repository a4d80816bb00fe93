"""A customer as rules and clients read one: an XDM profile with its identity map and segment membership."""

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
    """The attributes with `identityMap` and `segmentMembership.ups`.

    Only the audiences that there are appear in it; memberships of other namespaces stay as they came.
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
    """The standing in each of these audiences, as XDM has it; the columns of a list under `enrichment`."""
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
    """A segment membership whose own audiences are these; what came in for others is kept."""
    whole = dict(given) if isinstance(given, Mapping) else {}
    before = whole.get("ups")
    whole["ups"] = {**before, **ups} if isinstance(before, Mapping) else dict(ups)
    return whole


@lru_cache(1024)  # those who come in together share the moment
def xdm_time(moment_us: int) -> str:
    """A moment as XDM writes it, in whole milliseconds."""
    moment = _EPOCH + timedelta(microseconds=moment_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
