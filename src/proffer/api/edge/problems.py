"""Error and warning documents of the edge (edge 8).

Clients may reject a whole response if one member has an undocumented type, so entries of successful
responses have only the documented types.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from proffer.api.kit import problems
from proffer.errors import Finding, Invalid, Kind, Malformed, ProfferError

NO_DATASTREAM = "EXEG-0002-400"
UNKNOWN_DATASTREAM = "EXEG-0003-400"
DISABLED_DATASTREAM = "EXEG-0004-422"
BAD_JSON = "EXEG-0101-400"
MISSING_FIELD = "EXEG-0103-400"
WRONG_FIELDS = "EXEG-0104-422"
EMPTY_BODY = "EXEG-0106-400"
SLOW_BODY = "EXEG-0109-408"
CONTENT_TYPE = "EXEG-0111-415"
LARGE_BODY = "EXEG-0112-413"
BAD_OVERRIDE = "EXEG-0113-400"
UPSTREAM_AWAY = "EXEG-0201-503"
BAD_IDENTITY = "EXEG-0305-400"
NO_PRIMARY = "EXEG-0306-400"
NO_TOKEN = "EXEG-0500-401"  # noqa: S105 - a code of an error
UNEXPECTED = "EXEG-0001-500"
ORIGIN = "origin-not-allowed"

_CODES: Mapping[Kind, str] = {
    Kind.MALFORMED: BAD_JSON,
    Kind.INVALID: WRONG_FIELDS,
    Kind.UNSUPPORTED: CONTENT_TYPE,
    Kind.TOO_LARGE: LARGE_BODY,
    Kind.UNAUTHENTICATED: NO_TOKEN,
    Kind.BUSY: UPSTREAM_AWAY,
    Kind.UNAVAILABLE: UPSTREAM_AWAY,
}
_TITLES: Mapping[str, str] = {
    NO_DATASTREAM: "Missing datastream ID",
    UNKNOWN_DATASTREAM: "Invalid datastream ID",
    DISABLED_DATASTREAM: "Datastream disabled",
    BAD_JSON: "Invalid JSON",
    MISSING_FIELD: "Missing field",
    WRONG_FIELDS: "Unprocessable entity",
    EMPTY_BODY: "Empty body",
    SLOW_BODY: "Request timeout",
    CONTENT_TYPE: "Unsupported media type",
    LARGE_BODY: "Payload too large",
    BAD_OVERRIDE: "Invalid configuration override",
    BAD_IDENTITY: "Invalid identity",
    NO_PRIMARY: "No primary identity",
    ORIGIN: "Origin not allowed",
}


def refused(error: ProfferError, request_id: str, organisation: str | None) -> Response:
    """Return the response for an expected error."""
    code = _code(error)
    status = _status(code) or problems.STATUS[error.kind]
    document = _document(
        status, code, error.detail, request_id, organisation, texts(error.findings)
    )
    if error.findings:
        document["report"]["violations"] = [problems.violation(one) for one in error.findings]
    return problems.respond(document, problems.headers_of(error))


def refusal(
    status: int, code: str, detail: str, request_id: str, organisation: str | None = None
) -> Response:
    """Return the response for a status and code without a `ProfferError`."""
    return problems.respond(_document(status, code, detail, request_id, organisation))


def note(code: str, status: int, title: str, detail: str, **report: Any) -> dict[str, Any]:
    """Build an entry of `errors` or `warnings` of a successful response.

    `report` may hold only strings, `eventIndex` and `errors`.
    """
    document = {
        "type": problems.problem_type(code),
        "status": status,
        "title": title,
        "detail": detail,
    }
    return {**document, "report": report} if report else document


def texts(findings: Sequence[Finding]) -> list[str]:
    """Return findings as strings: path and message."""
    return [f"{one.path}: {one.message}" if one.path else one.message for one in findings]


def _code(error: ProfferError) -> str:
    if error.code.startswith("EXEG-"):
        return error.code
    if isinstance(error, Malformed) and any(one.code == "empty" for one in error.findings):
        return EMPTY_BODY
    if isinstance(error, Invalid) and error.findings:
        if all(one.code == "required" for one in error.findings):
            return MISSING_FIELD
        return WRONG_FIELDS
    return _CODES.get(error.kind, error.code)


def _status(code: str) -> int | None:
    """Return the status at the end of a documented code; None for other codes."""
    return int(code.rpartition("-")[2]) if code.startswith("EXEG-") else None


def _document(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    organisation: str | None,
    errors: Sequence[str] = (),
) -> dict[str, Any]:
    report: dict[str, Any] = {"requestId": request_id}
    if organisation is not None:
        report["orgId"] = organisation
    if errors:
        report["errors"] = list(errors)
    document = problems.problem(status, code, detail, requestId=request_id, report=report)
    document["title"] = _TITLES.get(code, document["title"])
    return document
