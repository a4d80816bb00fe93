"""Error and warning documents of the edge (edge 8).

Clients may reject a whole response if one member has an undocumented type, so entries of successful
responses have only the documented types.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from proffer.api.kit import problems
from proffer.errors import Invalid, Kind, Malformed, ProfferError, Violation

NO_DATASTREAM = "EXEG-0002-400"
UNKNOWN_DATASTREAM = "EXEG-0003-400"
DISABLED_DATASTREAM = "EXEG-0004-422"
BAD_JSON = "EXEG-0101-400"
MISSING_FIELD = "EXEG-0103-400"
INVALID_FIELDS = "EXEG-0104-422"
EMPTY_BODY = "EXEG-0106-400"
BODY_TIMEOUT = "EXEG-0109-408"
CONTENT_TYPE = "EXEG-0111-415"
BODY_TOO_LARGE = "EXEG-0112-413"
BAD_OVERRIDE = "EXEG-0113-400"
UPSTREAM_UNAVAILABLE = "EXEG-0201-503"
BAD_IDENTITY = "EXEG-0305-400"
NO_PRIMARY = "EXEG-0306-400"
NO_TOKEN = "EXEG-0500-401"  # noqa: S105 - a code of an error
UNEXPECTED_ERROR = "EXEG-0001-500"
ORIGIN_NOT_ALLOWED = "origin-not-allowed"

_CODES: Mapping[Kind, str] = {
    Kind.MALFORMED: BAD_JSON,
    Kind.INVALID: INVALID_FIELDS,
    Kind.UNSUPPORTED: CONTENT_TYPE,
    Kind.TOO_LARGE: BODY_TOO_LARGE,
    Kind.UNAUTHENTICATED: NO_TOKEN,
    Kind.BUSY: UPSTREAM_UNAVAILABLE,
    Kind.UNAVAILABLE: UPSTREAM_UNAVAILABLE,
}
_TITLES: Mapping[str, str] = {
    NO_DATASTREAM: "Missing datastream ID",
    UNKNOWN_DATASTREAM: "Invalid datastream ID",
    DISABLED_DATASTREAM: "Datastream disabled",
    BAD_JSON: "Invalid JSON",
    MISSING_FIELD: "Missing field",
    INVALID_FIELDS: "Unprocessable entity",
    EMPTY_BODY: "Empty body",
    BODY_TIMEOUT: "Request timeout",
    CONTENT_TYPE: "Unsupported media type",
    BODY_TOO_LARGE: "Payload too large",
    BAD_OVERRIDE: "Invalid configuration override",
    BAD_IDENTITY: "Invalid identity",
    NO_PRIMARY: "No primary identity",
    ORIGIN_NOT_ALLOWED: "Origin not allowed",
}


def error_response(error: ProfferError, request_id: str, organisation: str | None) -> Response:
    """Return the response for an expected error."""
    code = _code(error)
    status = _status(code) or problems.STATUS[error.kind]
    document = _document(status, code, error.detail, request_id, organisation, finding_texts(error.violations))
    if error.violations:
        document["report"]["violations"] = [problems.violation(finding) for finding in error.violations]
    return problems.problem_response(document, problems.error_headers(error))


def refusal_entry(error: Invalid, **report: Any) -> dict[str, Any]:
    """Build the entry of `errors` for a part of a request that was refused."""
    code = _code(error)
    status = _status(code) or problems.STATUS[error.kind]
    texts = finding_texts(error.violations)
    return report_entry(code, status, _TITLES.get(code, "Unprocessable entity"), error.detail, **report, errors=texts)


def status_response(status: int, code: str, detail: str, request_id: str) -> Response:
    """Return the response for a status and code without a `ProfferError`."""
    return problems.problem_response(_document(status, code, detail, request_id))


def report_entry(code: str, status: int, title: str, detail: str, **report: Any) -> dict[str, Any]:
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


def finding_texts(findings: Sequence[Violation]) -> list[str]:
    """Return findings as strings: path and message."""
    return [f"{finding.path}: {finding.message}" if finding.path else finding.message for finding in findings]


def _code(error: ProfferError) -> str:
    if error.code.startswith("EXEG-"):
        return error.code
    if isinstance(error, Malformed) and any(finding.code == "empty" for finding in error.violations):
        return EMPTY_BODY
    if isinstance(error, Invalid) and error.violations:
        if all(finding.code == "required" for finding in error.violations):
            return MISSING_FIELD
        return INVALID_FIELDS
    return _CODES.get(error.kind, error.code)


def _status(code: str) -> int | None:
    """Return the status at the end of a documented code; None for other codes."""
    return int(code.rpartition("-")[2]) if code.startswith("EXEG-") else None


def _document(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    organisation: str | None = None,
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
