"""Translate ingestion messages to the model, and outcomes to receipts."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from proffer.api.kit.problems import violation
from proffer.errors import Finding, Invalid, ProfferError
from proffer.model.ingest_parse import Message
from proffer.service.customers.ingest import Checked
from proffer.validation import walk
from proffer.wire import collection
from proffer.wire.codec import decode, encode

_transactions = count(1)


class Receipt(NamedTuple):
    """Inlet of messages, its organisation, and the time of receipt in milliseconds."""

    inlet: str
    organisation: str
    received_ms: int


def read_message(body: bytes, organisation: str | None) -> Checked:
    """Parse one message, or return the error if it is invalid.

    `organisation` is the only one that its header may name; None: any.
    """
    return _checked(decode(body), organisation)


def read_batch(body: bytes, organisation: str | None) -> list[Checked]:
    """Parse each message of a batch. Raises `Invalid` if the body is not a batch."""
    value = decode(body)
    violations = walk(collection.BATCH, value)
    if violations:
        raise Invalid.of(violations)
    return [_checked(message, organisation) for message in value["messages"]]


def write_message_receipt(
    receipt: Receipt, message: Checked, refusal: ProfferError | None, validations: Sequence[str]
) -> bytes:
    """Encode the receipt of one message; raise its refusal with the original's message."""
    if refusal is not None:
        error = _as_sent(refusal, message)
        if isinstance(error, Invalid):
            error.extra["report"] = {"message": _sentence(error, receipt)}
        raise error
    document: dict[str, Any] = {
        "inletId": receipt.inlet,
        "xactionId": _transaction(receipt),
        "receivedTimeMs": receipt.received_ms,
    }
    document.update((name, {"status": "pass"}) for name in validations)
    return encode(document)


def write_batch_receipt(
    receipt: Receipt, messages: Sequence[Checked], refusals: Sequence[ProfferError | None]
) -> bytes:
    """Encode the receipt of a batch: a transaction or a problem per message."""
    transaction = _transaction(receipt)
    responses = [
        {"xactionId": f"{transaction}:{index}"}
        if refusal is None
        else _refused(_as_sent(refusal, message), receipt, index)
        for index, (refusal, message) in enumerate(zip(refusals, messages, strict=True))
    ]
    return encode(
        {
            "inletId": receipt.inlet,
            "batchId": transaction,
            "receivedTimeMs": receipt.received_ms,
            "responses": responses,
        }
    )


def _checked(value: Any, organisation: str | None) -> Checked:
    try:
        return _message(value, organisation)
    except ProfferError as refusal:
        return refusal


def _message(value: Any, organisation: str | None) -> Message:
    """Parse a message; raises `Invalid` with every mistake of its envelope."""
    violations = [] if collection.is_message(value) else walk(collection.MESSAGE, value)
    if violations:
        raise Invalid.of(violations)
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


def _as_sent(refusal: ProfferError, message: Checked) -> ProfferError:
    """Return a refusal with paths relative to the message instead of its entity."""
    if refusal is message or not isinstance(refusal, Invalid):
        return refusal
    return refusal.under("$.body.xdmEntity")


def _transaction(receipt: Receipt) -> str:
    """Return a new transaction id in the original's format: time and sequence number."""
    return f"{receipt.received_ms}:{next(_transactions)}:0"


def _refused(error: ProfferError, receipt: Receipt, index: int) -> dict[str, Any]:
    """Return the entry of a refused message of a batch. `violations` is a Proffer extension."""
    document: dict[str, Any] = {"statusCode": 400, "message": _sentence(error, receipt)}
    violations = [violation(finding) for finding in error.findings]
    for entry in violations:
        if "path" in entry:
            entry["path"] = f"$.messages[{index}]{entry['path'][1:]}"
    if violations:
        document["violations"] = violations
    return document


def _sentence(error: ProfferError, receipt: Receipt) -> str:
    return f"inletId: [{receipt.inlet}] imsOrgId: [{receipt.organisation}] {error.detail}"


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
