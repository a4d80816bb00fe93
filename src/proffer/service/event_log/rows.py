"""Dataset rows of recorded decisions and feedback (spec 11.1, 11.2).

Events hold ids and etags; names, tags and characteristics come from exactly these versions in the
library's history. Columns under `_proffer` are our additions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from proffer.model.attribution import AttributedFeedback
from proffer.model.events import DROPPED_STAGES, DecisionEvent, ScopeAnswer, Selection, edge_proposition_id
from proffer.model.feedback import FeedbackKind
from proffer.model.identity import IdentityKey
from proffer.model.ids import canonical
from proffer.model.instance import Container, Instance
from proffer.model.parse import first_present
from proffer.service.exports.files import Columns, Row
from proffer.validation import parse_timestamp_us

DECISION_EVENT = "decisioning.propositionFetch"
PROVIDER = "ODE"
BY_FORMULA = "pql-formula"

_IDENTITY_MAP: Columns = {"*": [{"id": "text", "primary": "boolean"}]}
_REFERENCE: Columns = {"id": "text", "_repo": {"etag": "text"}, "name": "text"}
_OPTION: Columns = {**_REFERENCE, "tags": ["text"], "characteristics": {"*": "text"}, "score": "number"}
_DETAIL: Columns = {
    "activity": {**_REFERENCE, "startTime": "moment", "endTime": "moment", "fallback": "text"},
    "placement": {**_REFERENCE, "channelID": "text"},
    "selections": [_OPTION],
    "fallback": _OPTION,
    "rank": "integer",
    "selectionStrategy": {"id": "text"},
}
_PROPOSITION: Columns = {
    "id": "text",
    "items": [{"id": "text"}],
    "scopeDetails": {
        "decisionProvider": "text",
        "activity": _REFERENCE,
        "placement": _REFERENCE,
        "rank": "integer",
        "experience": {"id": "text"},
        "strategies": [{"step": "text", "strategyID": "text", "algorithmID": "text"}],
    },
}
DECISIONS: Columns = {
    "_id": "text",
    "timestamp": "moment",
    "eventType": "text",
    "identityMap": _IDENTITY_MAP,
    "_experience": {
        "decisioning": {
            "propositionID": "text",
            "containerID": "text",
            "batchID": "text",
            "decisionRequestID": "text",
            "experienceID": "text",
            "propositionDetails": [_DETAIL],
            "propositions": [_PROPOSITION],
        }
    },
    "_adobecloudplatform": {"ims": {"organizationID": "text"}},
    "_proffer": {
        "surface": "text",
        "revision": "integer",
        "seed": "text",
        "profileFound": "boolean",
        "attributes": "text",
        "context": "text",
        "usage": [{"offer": "text", "limit": "text", "placement": "text", "count": "integer"}],
        "thresholds": [{"offer": "text", "limit": "text", "placement": "text", "threshold": "integer"}],
        "meaning": "integer",
        "propositions": [
            {
                "id": "text",
                "criteria": ["integer"],
                "ranks": ["integer"],
                "formulas": ["text"],
                "dropped": {stage.value: "integer" for stage in DROPPED_STAGES},
            }
        ],
        "without": "text",
        "redacted": "boolean",
    },
}
_EVENT_TYPES = ("display", "interact", "dismiss")
FEEDBACK: Columns = {
    "_id": "text",
    "timestamp": "moment",
    "eventType": "text",
    "identityMap": _IDENTITY_MAP,
    "_experience": {
        "decisioning": {
            "propositions": [{"id": "text", "scope": "text", "items": [{"id": "text"}]}],
            "propositionEventType": dict.fromkeys(_EVENT_TYPES, "integer"),
        }
    },
    "_adobecloudplatform": {"ims": {"organizationID": "text"}},
    "_proffer": {
        "kind": "text",
        "received": "moment",
        "delivered": [{"propositionID": "text", "activity": "text", "placement": "text", "item": "text"}],
        "missed": [{"propositionID": "text", "item": "text", "why": "text"}],
        "event": "text",
    },
}


class VersionIndex:
    """Versions of a library's objects, by id and etag."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.revision = 0
        self._versions: dict[tuple[str, int], Instance] = {}
        self._descriptions: dict[tuple[str, int], Mapping[str, Any]] = {}

    def add(self, versions: Iterable[Instance]) -> None:
        for version in versions:
            self._versions[version.key, version.etag] = version
            self.revision = max(self.revision, version.revision)

    def get(self, entity_id: str, etag: int) -> Instance | None:
        return self._versions.get((canonical(entity_id), etag))

    def describe(
        self,
        entity_id: str,
        etag: int,
        describe_version: Callable[[str, int, Instance | None], Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """Return `describe_version` of a version, cached: thousands of rows need the same one."""
        description = self._descriptions.get((entity_id, etag))
        if description is None:
            description = describe_version(entity_id, etag, self.get(entity_id, etag))
            self._descriptions[entity_id, etag] = description
        return description


def decision_row(event: DecisionEvent, versions: VersionIndex) -> Row:
    """Return the dataset row of a decision."""
    request = event.request
    experience = _experience_id(event)
    return {
        "_id": event.id,
        "timestamp": event.decided_us,
        "eventType": DECISION_EVENT,
        "identityMap": _identities(event.identities),
        "_experience": {
            "decisioning": {
                "propositionID": event.id,
                "containerID": event.container,
                "decisionRequestID": event.request_id,
                "experienceID": experience,
                "propositionDetails": [_detail(answer, versions) for answer in event.answers if answer is not None],
                "propositions": [
                    _proposition(event.id, index, answer, experience, versions)
                    for index, answer in enumerate(event.answers)
                    if answer is not None
                ],
            }
        },
        "_adobecloudplatform": _organisation(versions),
        "_proffer": {
            "surface": event.surface,
            "revision": event.revision,
            "seed": event.seed,
            "profileFound": event.customer_found,
            "attributes": _as_text(event.attributes),
            "context": _as_text(request.context),
            "usage": [
                {"offer": offer, "limit": name, "placement": placement or None, "count": count}
                for (offer, name, placement), count in event.usage.items()
            ]
            or None,
            "thresholds": [
                {"offer": offer, "limit": name, "placement": placement or None, "threshold": threshold}
                for (offer, name, placement), threshold in event.thresholds.items()
            ]
            or None,
            "meaning": event.meaning,
            "propositions": [
                _own_proposition(event.id, index, answer)
                for index, answer in enumerate(event.answers)
                if answer is not None
            ],
            "without": event.unavailable_data or None,
            "redacted": event.redacted or None,
        },
    }


def feedback_row(event: AttributedFeedback, versions: VersionIndex) -> Row:
    """Return the dataset row of a feedback event."""
    feedback = event.feedback
    event_type = feedback.document.get("eventType")
    return {
        "_id": feedback.id,
        "timestamp": feedback.at_us,
        "eventType": event_type if isinstance(event_type, str) else None,
        "identityMap": _identities(feedback.identities),
        "_experience": {
            "decisioning": {
                "propositions": [
                    {
                        "id": proposition.id,
                        "scope": proposition.scope,
                        "items": (None if proposition.items is None else [{"id": key} for key in proposition.items]),
                    }
                    for proposition in feedback.propositions
                ],
                "propositionEventType": (None if feedback.kind is FeedbackKind.CUSTOM else {feedback.kind.value: 1}),
            }
        },
        "_adobecloudplatform": _organisation(versions),
        "_proffer": {
            "kind": feedback.kind.value,
            "received": event.received_us,
            "delivered": [
                {
                    "propositionID": delivery.event,
                    "activity": delivery.decision,
                    "placement": delivery.placement,
                    "item": delivery.offer,
                }
                for delivery in event.delivered_offers
            ],
            "missed": [
                {"propositionID": miss.proposition, "item": miss.item, "why": miss.reason.value}
                for miss in event.unattributed
            ],
            "event": _as_text(feedback.document),
        },
    }


def _detail(answer: ScopeAnswer, versions: VersionIndex) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "activity": versions.describe(answer.decision, answer.decision_etag, _activity),
        "placement": versions.describe(answer.placement, answer.placement_etag, _placement),
    }
    if answer.fallback is not None:
        detail["fallback"] = _option(answer.fallback, versions)
    else:
        detail["selections"] = [_option(selection, versions) for selection in answer.selections]
        detail["rank"] = _rank(answer)
        formula = answer.selections[0].formula if answer.selections else None
        detail["selectionStrategy"] = {"id": formula} if formula else None
    return detail


def _rank(answer: ScopeAnswer) -> int | None:
    """Return the rank of a scope's first option; None for a fallback."""
    return answer.selections[0].rank or None if answer.selections else None


def _proposition(
    decision: str, index: int, answer: ScopeAnswer, experience: str, versions: VersionIndex
) -> dict[str, Any]:
    """Return a scope in the newer format; its id is the proposition id of the edge."""
    formulas = dict.fromkeys(selection.formula for selection in answer.delivered)
    return {
        "id": edge_proposition_id(decision, index),
        "items": [
            {"id": versions.describe(selection.offer, selection.etag, _offer)["id"]} for selection in answer.delivered
        ],
        "scopeDetails": {
            "decisionProvider": PROVIDER,
            "activity": versions.describe(answer.decision, answer.decision_etag, _activity),
            "placement": versions.describe(answer.placement, answer.placement_etag, _placement),
            "rank": _rank(answer),
            "experience": {"id": experience},
            "strategies": [
                {"step": "ranking", "strategyID": formula, "algorithmID": BY_FORMULA}
                for formula in formulas
                if formula is not None
            ]
            or None,
        },
    }


def _own_proposition(decision: str, index: int, answer: ScopeAnswer) -> dict[str, Any]:
    """Return what the documented members of a proposition have no place for."""
    dropped = {stage.value: count for stage, count in zip(DROPPED_STAGES, answer.dropped, strict=False)}
    criteria = [selection.criterion for selection in answer.selections if selection.criterion is not None]
    formulas = [selection.formula for selection in answer.selections]
    return {
        "id": edge_proposition_id(decision, index),
        "criteria": criteria or None,
        "ranks": [selection.rank for selection in answer.selections] or None,
        "formulas": formulas if any(formulas) else None,
        "dropped": dropped or None,
    }


def _activity(entity_id: str, etag: int, decision: Instance | None) -> Mapping[str, Any]:
    document: Mapping[str, Any] = decision.document if decision is not None else {}
    start, end = document.get("xdm:startDate"), document.get("xdm:endDate")
    return {
        **_reference(entity_id, etag, decision),
        "startTime": parse_timestamp_us(start) if start else None,
        "endTime": parse_timestamp_us(end) if end else None,
        "fallback": document.get("xdm:fallback"),
    }


def _placement(entity_id: str, etag: int, placement: Instance | None) -> Mapping[str, Any]:
    return {
        **_reference(entity_id, etag, placement),
        "channelID": placement.document.get("xdm:channel") if placement else None,
    }


def _offer(entity_id: str, etag: int, offer: Instance | None) -> Mapping[str, Any]:
    document: Mapping[str, Any] = offer.document if offer is not None else {}
    return {
        **_reference(entity_id, etag, offer),
        "tags": document.get("xdm:tags"),
        "characteristics": first_present(document, "xdm:characteristics", "xdm:customMetadata"),
    }


def _option(selection: Selection, versions: VersionIndex) -> dict[str, Any]:
    return {**versions.describe(selection.offer, selection.etag, _offer), "score": selection.score}


def _reference(entity_id: str, etag: int, version: Instance | None) -> dict[str, Any]:
    return {
        "id": version.id if version is not None else entity_id,
        "_repo": {"etag": str(etag)},
        "name": version.name if version is not None else None,
    }


def _identities(identities: Sequence[IdentityKey]) -> dict[str, Any]:
    identity_map: dict[str, list[dict[str, Any]]] = {}
    for index, identity in enumerate(identities):
        entry: dict[str, Any] = {"id": identity.id}
        if index == 0:
            entry["primary"] = True
        identity_map.setdefault(identity.namespace, []).append(entry)
    return identity_map


def _experience_id(event: DecisionEvent) -> str:
    """Return a hash of the delivered content: placements with their offer versions, in order."""
    content = [
        (
            answer.placement,
            [(selection.offer, selection.etag, selection.component) for selection in answer.delivered],
        )
        for answer in event.answers
        if answer is not None
    ]
    return blake2b(msgspec.json.encode(content), digest_size=16).hexdigest()


def _organisation(versions: VersionIndex) -> dict[str, Any]:
    return {"ims": {"organizationID": versions.container.organisation}}


def _as_text(value: Any) -> str | None:
    return msgspec.json.encode(value).decode() if value else None
