"""Map error kinds to HTTP statuses and problem documents (RFC 7807).

An interface may override a status: the repository API answers a stale `If-Match` with 409 (R1).
"""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from proffer.errors import Busy, Kind, ProfferError, Unavailable, Violation
from proffer.wire.codec import encode
from proffer.wire.openapi import PROBLEM_TYPE

STATUS: Mapping[Kind, int] = {
    Kind.MALFORMED: 400,
    Kind.INVALID: 422,
    Kind.UNSUPPORTED: 415,
    Kind.TOO_LARGE: 413,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.STALE: 412,
    Kind.BUSY: 503,
    Kind.UNAVAILABLE: 503,
}

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

_ADOBE_ERRORS = "https://ns.adobe.com/aep/errors/"
_DOCUMENTED_PREFIXES = ("ODE-", "EXEG-")


def problem_type(code: str) -> str:
    """Return the problem `type`: Adobe's URL for documented codes, else a Proffer URN."""
    return _ADOBE_ERRORS + code if code.startswith(_DOCUMENTED_PREFIXES) else f"urn:proffer:problem:{code}"


def violation(finding: Violation) -> dict[str, Any]:
    """Return one finding as an entry of `report.violations`."""
    members = {
        "code": finding.code,
        "message": finding.message,
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "help": finding.help,
    }
    return {name: value for name, value in members.items() if value is not None}


def problem(status: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    """Build a problem document; members that are None or empty are left out."""
    document = {
        "type": problem_type(code),
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }
    return {name: value for name, value in document.items() if value not in (None, {}, [])}


def describe(
    error: ProfferError, request_id: str | None, overrides: Mapping[Kind, int] | None = None
) -> dict[str, Any]:
    """Build the problem document of an error, with its findings in `report.violations`."""
    status = (overrides or {}).get(error.kind, STATUS[error.kind])
    extra = dict(error.extra)
    report = dict(extra.pop("report", {}))
    if error.violations:
        report["violations"] = [violation(finding) for finding in error.violations]
    return problem(status, error.code, error.detail, requestId=request_id, report=report, **extra)


def problem_response(document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a problem document, its status and request id."""
    response = Response(encode(document), document["status"], headers=dict(headers or {}), media_type=PROBLEM_TYPE)
    if "requestId" in document:
        response.headers["x-request-id"] = document["requestId"]
    return response


def error_headers(error: ProfferError) -> dict[str, str]:
    """Return the response headers that the error's status requires."""
    if error.kind is Kind.UNAUTHENTICATED:
        return {"WWW-Authenticate": 'Bearer realm="proffer"'}
    if isinstance(error, Busy | Unavailable):
        return {"Retry-After": str(error.retry_after)}
    return {}
