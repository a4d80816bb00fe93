"""Between messages of streaming ingestion and the model's."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from proffer.api.kit.problems import violation
from proffer.errors import Finding, Invalid, ProfferError
from proffer.model.ingest_parse import Message
from proffer.validation import walk
from proffer.wire import collection

_transactions = count(1)


def to_message(value: Any, organisation: str | None) -> Message:
    """The message that a plain value is. Raises `Invalid`, listing every mistake of its envelope.

    `organisation` is the one that the header may name; None where any may.
    """
    found = [] if collection.is_message(value) else walk(collection.MESSAGE, value)
    if found:
        raise Invalid.of(found)
    header, body = value["header"], value["body"]
    declared = collection.schema_of(header)
    if declared != collection.schema_of(body["xdmMeta"]):
        raise Invalid.of([_two_schemas()])
    named = header.get("imsOrgId")
    if organisation is not None and named is not None and named != organisation:
        raise Invalid.of([_wrong_organisation()])
    return Message(
        entity=body["xdmEntity"],
        dataset=header.get("datasetId") or "",
        id=header.get("msgId"),
        is_event=_is_event(declared, body["xdmEntity"]),
        schema=declared,
    )


def _is_event(schema: str, entity: Mapping[str, Any]) -> bool | None:
    is_event = collection.is_event_schema(schema)
    stamped = "timestamp" in entity or "xdm:timestamp" in entity
    if is_event is False and stamped:
        raise Invalid.of(
            [
                Finding(
                    code="wrong-schema",
                    message="the schema is one of profile records, and this is an event: it has a `timestamp`",
                    path="$.body.xdmEntity.timestamp",
                    help="name a schema of the ExperienceEvent class, or leave `timestamp` out",
                )
            ]
        )
    return is_event


def under_entity(error: ProfferError) -> ProfferError:
    """The mistakes of an entity with their paths as they read in the message."""
    return error.under("$.body.xdmEntity") if isinstance(error, Invalid) else error


def transaction(received_ms: int) -> str:
    """An id for what was just received, as the original spells them: time, and a running number."""
    return f"{received_ms}:{next(_transactions)}:0"


def failed(error: ProfferError, inlet: str, organisation: str, at: int) -> dict[str, Any]:
    """One refused message of a batch. `violations` is ours."""
    refused: dict[str, Any] = {"statusCode": 400, "message": sentence(error, inlet, organisation)}
    root = f"$.messages[{at}]"
    violations = [violation(one) for one in error.findings]
    for one in violations:
        if "path" in one:
            one["path"] = root + one["path"][1:]
    if violations:
        refused["violations"] = violations
    return refused


def sentence(error: ProfferError, inlet: str, organisation: str) -> str:
    return f"inletId: [{inlet}] imsOrgId: [{organisation}] {error.detail}"


def to_batch(value: Any) -> Sequence[Any]:
    """The messages of a batch, not yet looked into. Raises `Invalid` for anything else."""
    found = walk(collection.BATCH, value)
    if found:
        raise Invalid.of(found)
    messages: Sequence[Any] = value["messages"]
    return messages


def _two_schemas() -> Finding:
    return Finding(
        code="wrong-schema",
        message="the header and the body name different schemas",
        path="$.body.xdmMeta.schemaRef.id",
        help="name the schema of the entity in both",
    )


def _wrong_organisation() -> Finding:
    return Finding(
        code="organisation-mismatch",
        message="Message has an absent or wrong ims org in the header",
        path="$.header.imsOrgId",
        help="leave `imsOrgId` out, or name the organisation of the inlet",
    )
