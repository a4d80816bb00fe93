"""Audiences, defined by a rule or an uploaded list; and updates of their memberships."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proffer.model.customer import AudienceMembership, MembershipStatus
from proffer.model.instance import Instance
from proffer.model.parse import expression_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceDefinition:
    """One audience. `condition` is PQL as text or tree; None for an uploaded list.

    `streaming`: also evaluated when a customer changes; all audiences with a condition are evaluated in batch.
    """

    id: str
    name: str
    condition: str | Mapping[str, Any] | None
    streaming: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceEvaluation:
    """The last complete evaluation of all audiences of a container.

    `revision` is the catalog revision, `meaning` the meaning version of the rules that were evaluated.
    """

    container: str
    revision: int
    meaning: int
    started_us: int
    finished_us: int
    customers: int
    changed: int


def read_audience(instance: Instance) -> AudienceDefinition:
    document = instance.document
    expression: Mapping[str, Any] = document["expression"]
    info: Mapping[str, Any] = document.get("evaluationInfo") or {}
    is_uploaded_list = expression.get("type") == "LIST"
    return AudienceDefinition(
        id=instance.instance_id,
        name=document["name"],
        condition=None if is_uploaded_list else expression_of(expression),
        # Without evaluation info, an audience is kept up to date.
        streaming=not info or _is_enabled(info, "continuous") or _is_enabled(info, "synchronous"),
    )


def next_membership(before: AudienceMembership | None, holds: bool, now_us: int) -> AudienceMembership | None:
    """Return the membership after an evaluation. Its time is that of the last entry or exit."""
    is_member = before is not None and before.status is not MembershipStatus.EXITED
    if holds:
        if before is None or not is_member:
            return AudienceMembership(MembershipStatus.REALIZED, now_us)
        return (
            before
            if before.status is MembershipStatus.EXISTING
            else AudienceMembership(MembershipStatus.EXISTING, before.since_us)
        )
    if is_member:
        return AudienceMembership(MembershipStatus.EXITED, now_us)
    return before


def _is_enabled(info: Mapping[str, Any], name: str) -> bool:
    return bool((info.get(name) or {}).get("enabled"))
