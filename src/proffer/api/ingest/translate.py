"""Translate ingestion messages to the model, and outcomes to receipts."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from proffer.api.kit.problems import violation
from proffer.errors import Invalid, ProfferError, Violation
from proffer.model.ingest_parse import IngestMessage
from proffer.service.customers.ingest import MessageOrError
from proffer.validation import validate
from proffer.wire import collection
from proffer.wire.codec import decode, encode

_transaction_numbers = count(1)


class Receipt(NamedTuple):
    """Inlet of messages, its organisation, and the time of receipt in milliseconds."""

    inlet: str
    organisation: str
    received_ms: int


def read_message(body: bytes, organisation: str | None) -> MessageOrError:
    """Parse one message, or return the error if it is invalid.

    `organisation` is the only one that its header may name; None: any.
    """
    return _message_or_refusal(decode(body), organisation)


def read_batch(body: bytes, organisation: str | None) -> list[MessageOrError]:
    """Parse each message of a batch. Raises `Invalid` if the body is not a batch."""
    value = decode(body)
    violations = validate(collection.BATCH, value)
    if violations:
        raise Invalid.of(violations)
    return [_message_or_refusal(message, organisation) for message in value["messages"]]


def write_message_receipt(
    receipt: Receipt,
    message: MessageOrError,
    refusal: ProfferError | None,
    validations: Sequence[str],
) -> bytes:
    """Encode the receipt of one message; raise its refusal with the original's message."""
    if refusal is not None:
        error = _with_message_paths(refusal, message)
        if isinstance(error, Invalid):
            error.extra["report"] = {"message": _refusal_message(error, receipt)}
        raise error
    document: dict[str, Any] = {
        "inletId": receipt.inlet,
        "xactionId": _new_transaction_id(receipt),
        "receivedTimeMs": receipt.received_ms,
    }
    document.update((name, {"status": "pass"}) for name in validations)
    return encode(document)


def write_batch_receipt(
    receipt: Receipt, messages: Sequence[MessageOrError], refusals: Sequence[ProfferError | None]
) -> bytes:
    """Encode the receipt of a batch: a transaction or a problem per message."""
    transaction = _new_transaction_id(receipt)
    responses = [
        {"xactionId": f"{transaction}:{index}"}
        if refusal is None
        else _refusal_entry(_with_message_paths(refusal, message), receipt, index)
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


def _message_or_refusal(value: Any, organisation: str | None) -> MessageOrError:
    try:
        return _read_message_value(value, organisation)
    except ProfferError as refusal:
        return refusal


def _read_message_value(value: Any, organisation: str | None) -> IngestMessage:
    """Parse a message; raises `Invalid` with every mistake of its envelope."""
    violations = [] if collection.is_valid_message(value) else validate(collection.MESSAGE, value)
    if violations:
        raise Invalid.of(violations)
    header, body = value["header"], value["body"]
    declared = collection.schema_of(header)
    if declared != collection.schema_of(body["xdmMeta"]):
        raise Invalid.of([_schema_mismatch()])
    header_organisation = header.get("imsOrgId")
    if organisation is not None and header_organisation is not None and header_organisation != organisation:
        raise Invalid.of([_organisation_mismatch()])
    return IngestMessage(
        entity=body["xdmEntity"],
        dataset=header.get("datasetId") or "",
        id=header.get("msgId"),
        is_event=_is_event(declared, body["xdmEntity"]),
        schema=declared,
    )


def _is_event(schema: str, entity: Mapping[str, Any]) -> bool | None:
    is_event = collection.is_event_schema(schema)
    has_timestamp = "timestamp" in entity or "xdm:timestamp" in entity
    if is_event is False and has_timestamp:
        raise Invalid.of(
            [
                Violation(
                    code="wrong-schema",
                    message="the schema is for profile records, but the message is an event: it has a `timestamp`",
                    path="$.body.xdmEntity.timestamp",
                    help="name a schema of the ExperienceEvent class, or leave `timestamp` out",
                )
            ]
        )
    return is_event


def _with_message_paths(refusal: ProfferError, message: MessageOrError) -> ProfferError:
    """Return a refusal with paths relative to the message, not its entity."""
    if refusal is message or not isinstance(refusal, Invalid):
        return refusal
    return refusal.with_root("$.body.xdmEntity")


def _new_transaction_id(receipt: Receipt) -> str:
    """Return a new transaction id in the original's format: time and sequence number."""
    return f"{receipt.received_ms}:{next(_transaction_numbers)}:0"


def _refusal_entry(error: ProfferError, receipt: Receipt, index: int) -> dict[str, Any]:
    """Return the entry of a refused message of a batch. `violations` is a Proffer extension."""
    document: dict[str, Any] = {"statusCode": 400, "message": _refusal_message(error, receipt)}
    violations = [violation(finding) for finding in error.violations]
    for entry in violations:
        if "path" in entry:
            entry["path"] = f"$.messages[{index}]{entry['path'][1:]}"
    if violations:
        document["violations"] = violations
    return document


def _refusal_message(error: ProfferError, receipt: Receipt) -> str:
    return f"inletId: [{receipt.inlet}] imsOrgId: [{receipt.organisation}] {error.detail}"


def _schema_mismatch() -> Violation:
    return Violation(
        code="wrong-schema",
        message="the header and the body name different schemas",
        path="$.body.xdmMeta.schemaRef.id",
        help="name the schema of the entity in both",
    )


def _organisation_mismatch() -> Violation:
    return Violation(
        code="organisation-mismatch",
        message="Message has an absent or wrong ims org in the header",
        path="$.header.imsOrgId",
        help="leave `imsOrgId` out, or name the organisation of the inlet",
    )
