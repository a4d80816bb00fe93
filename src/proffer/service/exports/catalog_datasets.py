"""The library as four datasets (spec 11.3): personalized offers, fallback offers, placements, decisions.

One row per object, with its newest version; deleted objects have the status `archived`. Columns are
under `_experience.decisioning` with the documented names; `_repo` dates, `description`, `rules` and
the caps are our additions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.parse import criteria_of, first_present
from proffer.service.exports.files import Columns, Row, write_atomically
from proffer.service.library.changes import newest_of
from proffer.service.library.registry import AuthorizedContainer
from proffer.validation import parse_timestamp_us

ARCHIVED = "archived"
FORMATS = ("parquet", "jsonl")

_CONSTRAINT: Columns = {
    "description": "text",
    "eligibilityRule": "text",
    "rules": ["text"],
    "profileConstraintType": "text",
    "segmentIdentities": [{"_id": "text", "namespace": {"code": "text"}, "xid": "text"}],
}
_ORDER: Columns = {"function": "text", "orderEvaluationType": "text", "rankingStrategy": "text"}
_RANKING: Columns = {"order": _ORDER, "priority": "integer"}
_COMPONENT: Columns = {
    "_type": "text",
    "_dc": {"format": "text", "language": ["text"]},
    "_repo": dict.fromkeys(("id", "name", "repositoryID", "resolveURL"), "text"),
    "content": "text",
    "deliveryURL": "text",
    "linkURL": "text",
}
_OFFER: Columns = {
    "name": "text",
    "description": "text",
    "lifecycleStatus": "text",
    "characteristics": {"*": "text"},
    "tags": ["text"],
    "contents": [{"placement": "text", "components": [_COMPONENT]}],
}
_CAP: Columns = {
    "index": "integer",
    "enabled": "boolean",
    "limit": "integer",
    "scope": "text",
    "entity": "text",
    "placement": "text",
    "events": ["text"],
    "repeat": {"enabled": "boolean", "unit": "text", "unitCount": "integer"},
}
_PERSONALIZED: Columns = {
    **_OFFER,
    "calendarConstraints": {"startDate": "moment", "endDate": "moment"},
    "profileConstraints": _CONSTRAINT,
    "ranking": _RANKING,
    "cappingConstraint": {"globalCap": "integer", "profileCap": "integer"},
    "frequencyCappingConstraints": [_CAP],
}
_PLACEMENT: Columns = {
    "name": "text",
    "description": "text",
    "lifecycleStatus": "text",
    "channelID": "text",
    "componentType": "text",
    "contentTypes": ["text"],
}
_CRITERION: Columns = {
    "description": "text",
    "placements": ["text"],
    "optionSelection": {
        "description": "text",
        "filter": "text",
        "optionSelectionType": "text",
        "options": ["text"],
    },
    "profileConstraints": _CONSTRAINT,
    "ranking": _RANKING,
}
_DECISION: Columns = {
    "name": "text",
    "description": "text",
    "lifecycleStatus": "text",
    "startTime": "moment",
    "endTime": "moment",
    "fallback": "text",
    "criteria": [_CRITERION],
}


def _dataset_columns(decisioning: Columns) -> Columns:
    return {
        "_id": "text",
        "_repo": {"etag": "text", "createDate": "moment", "modifyDate": "moment"},
        "_experience": {"decisioning": decisioning},
    }


@dataclass(frozen=True, slots=True)
class CatalogueDataset:
    """One dataset: its file name, the kind of its objects, and its columns."""

    name: str
    kind: EntityKind
    columns: Columns
    describe: Callable[[Mapping[str, Any]], dict[str, Any]]

    def rows(self, newest: Iterable[Instance]) -> Iterator[Row]:
        """Yield the rows of the dataset from the newest versions, deletions included."""
        for instance in newest:
            if instance.kind is not self.kind:
                continue
            decisioning = self.describe(instance.document)
            if instance.deleted:
                decisioning["lifecycleStatus"] = ARCHIVED
            yield {
                "_id": instance.id,
                "_repo": {
                    "etag": str(instance.etag),
                    "createDate": instance.created_us,
                    "modifyDate": instance.modified_us,
                },
                "_experience": {"decisioning": decisioning},
            }


async def write_datasets(access: AuthorizedContainer, folder: Path, file_format: str) -> list[tuple[Path, int]]:
    """Write the four datasets into a folder; return each file with its number of rows."""
    newest = newest_of(await access.state.since(0))
    written = []
    for dataset in DATASETS:
        path = folder / f"{dataset.name}.{file_format}"
        written.append((path, write_atomically(path, dataset.columns, dataset.rows(newest))))
    return written


def _offer(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": document.get("xdm:name"),
        "description": document.get("xdm:description"),
        "lifecycleStatus": document.get("xdm:status"),
        "characteristics": first_present(document, "xdm:characteristics", "xdm:customMetadata"),
        "tags": document.get("xdm:tags"),
        "contents": [
            {
                "placement": representation.get("xdm:placement"),
                "components": [_component(component) for component in representation.get("xdm:components") or ()],
            }
            for representation in document.get("xdm:representations") or ()
        ],
    }


def _component(component: Mapping[str, Any]) -> dict[str, Any]:
    repository = {name: component.get(f"repo:{name}") for name in _COMPONENT["_repo"]}
    return {
        "_type": component.get("@type"),
        "_dc": {"format": component.get("dc:format"), "language": component.get("dc:language")},
        "_repo": repository if any(repository.values()) else None,
        "content": first_present(component, "xdm:content", "xdm:copyline"),
        "deliveryURL": component.get("xdm:deliveryURL"),
        "linkURL": component.get("xdm:linkURL"),
    }


def _personalized(document: Mapping[str, Any]) -> dict[str, Any]:
    selection = document.get("xdm:selectionConstraint") or {}
    legacy = document.get("xdm:cappingConstraint")
    return {
        **_offer(document),
        "calendarConstraints": {
            "startDate": _moment(selection.get("xdm:startDate")),
            "endDate": _moment(selection.get("xdm:endDate")),
        },
        "profileConstraints": _constraint(selection),
        "ranking": _select_columns(_RANKING, document.get("xdm:rank")),
        "cappingConstraint": _select_columns(_PERSONALIZED["cappingConstraint"], legacy),
        "frequencyCappingConstraints": _select_columns([_CAP], document.get("xdm:frequencyCappingConstraints")),
    }


def _placement(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": document.get("xdm:name"),
        "description": document.get("xdm:description"),
        "channelID": document.get("xdm:channel"),
        "componentType": document.get("xdm:componentType"),
        "contentTypes": document.get("xdm:contentTypes"),
    }


def _decision(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": document.get("xdm:name"),
        "description": document.get("xdm:description"),
        "lifecycleStatus": document.get("xdm:status"),
        "startTime": _moment(document.get("xdm:startDate")),
        "endTime": _moment(document.get("xdm:endDate")),
        "fallback": document.get("xdm:fallback"),
        "criteria": [_criterion(criterion) for criterion in criteria_of(document)],
    }


def _criterion(criterion: Mapping[str, Any]) -> dict[str, Any]:
    constraint = first_present(criterion, "xdm:profileConstraint", "xdm:profileConstraints")
    return {
        "description": criterion.get("xdm:description"),
        "placements": criterion.get("xdm:placements"),
        "optionSelection": _select_columns(_CRITERION["optionSelection"], criterion.get("xdm:optionSelection")),
        "profileConstraints": _constraint(constraint or {}),
        "ranking": _select_columns(_RANKING, first_present(criterion, "xdm:rank", "xdm:ranking")),
    }


def _constraint(constraint: Mapping[str, Any]) -> dict[str, Any] | None:
    row = {
        "description": constraint.get("xdm:description"),
        "eligibilityRule": constraint.get("xdm:eligibilityRule"),
        "rules": constraint.get("xdm:rules"),
        "profileConstraintType": constraint.get("xdm:profileConstraintType"),
        "segmentIdentities": [
            {
                "_id": segment.get("@id"),
                "namespace": {"code": (segment.get("namespace") or {}).get("code")},
                "xid": segment.get("xid"),
            }
            for segment in constraint.get("xdm:segmentIdentities") or ()
        ]
        or None,
    }
    return row if any(value is not None for value in row.values()) else None


def _select_columns(declared: Any, value: Any) -> Any:
    """Return a document value's members that have columns, without `xdm:` prefixes."""
    if value is None:
        return None
    if isinstance(declared, Mapping) and isinstance(value, Mapping):
        return {name: _select_columns(member, value.get(f"xdm:{name}")) for name, member in declared.items()}
    if isinstance(declared, list) and isinstance(value, list):
        return [_select_columns(declared[0], item) for item in value]
    return value


def _moment(text: str | None) -> int | None:
    return None if text is None else parse_timestamp_us(text)


DATASETS: Sequence[CatalogueDataset] = (
    CatalogueDataset("personalized-offers", EntityKind.OFFER, _dataset_columns(_PERSONALIZED), _personalized),
    CatalogueDataset("fallback-offers", EntityKind.FALLBACK, _dataset_columns(_OFFER), _offer),
    CatalogueDataset("placements", EntityKind.PLACEMENT, _dataset_columns(_PLACEMENT), _placement),
    CatalogueDataset("decisions", EntityKind.DECISION, _dataset_columns(_DECISION), _decision),
)
