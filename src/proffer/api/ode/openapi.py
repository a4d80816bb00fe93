"""OpenAPI description of the decisioning API."""

import re
from typing import Any

import msgspec

from proffer.api.kit import examples
from proffer.api.kit.openapi import CONTAINER, SANDBOX, error_texts, json_answer
from proffer.wire import ode
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    OperationResponse,
    ref,
)

GROUP = "decisioning"
ABOUT = "The next best offer for the customer in front of you, and always an answer."

_JSON = "application/json"
_BASE = "/data/core/ode/{container}"
_FLAG: JsonSchema = {"type": "boolean", "default": False}
_RULING = re.compile(r"\s*\((?:R\d+|wire [\d.]+|spec [\d.]+)\)")


def _schemas() -> dict[str, JsonSchema]:
    types = [
        ode.DecisionRequestDoc,
        ode.DecisionRequestDoc09,
        ode.DecisionResponseDoc,
        ode.DecisionResponseDoc09,
    ]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if "description" in schema:  # references to rulings in parentheses are for developers only
            schema["description"] = _RULING.sub("", schema["description"])
    return schemas


_REFERENCE: JsonSchema = {
    "type": "object",
    "properties": {
        "@id": {"type": "string"},
        "_links": {"type": "object"},
        "repo:etag": {"type": "string"},
    },
    "required": ["@id", "_links", "repo:etag"],
}
_FAULT: JsonSchema = {
    "type": "object",
    "properties": {
        "xdm:description": {"type": "string"},
        "xdm:details": {
            "type": "object",
            "properties": {
                name: {"type": "string"} for name in ("@id", "instanceId", "href", "etag")
            },
        },
        "xdm:causes": {"type": "array", "items": ref("Fault")},
    },
    "required": ["xdm:description"],
}

SCHEMAS: dict[str, JsonSchema] = {
    **_schemas(),
    "ActivityOffers": {
        "type": "object",
        "properties": {
            "xdm:activityOffers": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "xdm:offerActivity": _REFERENCE,
                        "xdm:offers": {"type": "array", "items": _REFERENCE},
                        "xdm:fallbackOffer": _REFERENCE,
                    },
                    "required": ["xdm:offerActivity", "xdm:offers", "xdm:fallbackOffer"],
                },
            }
        },
        "required": ["xdm:activityOffers"],
    },
    "Fault": _FAULT,
    "Diagnostics": {
        "type": "object",
        "properties": {
            "xdm:operations": {
                "type": "object",
                "properties": {
                    "xdm:decisioningPackageUpdate": {
                        "type": "object",
                        "properties": {
                            "xdm:date": {"type": "string", "format": "date-time"},
                            "xdm:errors": {"type": "array", "items": ref("Fault")},
                        },
                        "required": ["xdm:date", "xdm:errors"],
                    }
                },
            }
        },
        "required": ["xdm:operations"],
    },
}


def _versions(
    newer: tuple[str, Any], older: tuple[str, Any], schema: str
) -> dict[str, MediaTypeContent]:
    """Return content for both versions by media type, and plain JSON."""
    typed = {
        f'{ode.XDM_TYPE}; schema="{schema};version={version}"': MediaTypeContent(
            schema=ref(name), example=example
        )
        for version, (name, example) in (("1.0", newer), ("0.9", older))
    }
    plain = MediaTypeContent(schema={"anyOf": [ref(newer[0]), ref(older[0])]}, example=newer[1])
    return {"application/json": plain, **typed}


_ANSWERS = _versions(
    ("DecisionResponseDoc", examples.ANSWER),
    ("DecisionResponseDoc09", examples.ANSWER_09),
    ode.RESPONSE_SCHEMA,
)

_DECIDE = Operation(
    method="POST",
    path=f"{_BASE}/decisions",
    name="decide",
    group=GROUP,
    summary="Decide",
    about="For every scope, a decision in a placement, the best offers for this customer, or the fallback "
    "where nothing is left: one of the two, always. The customer is whoever the identities "
    "name, merged by the merge policy; what the request brings in `xdm:attributes`, an XDM profile "
    "document, is laid over what is kept, and an unknown customer is just that. "
    "Version 1.0 names scopes in `xdm:propositionRequests`; "
    "version 0.9 names decisions in `xdm:offerActivities`, and means all their placements. "
    f"1 to {ode.MAX_SCOPES} scopes, 1 to {ode.MAX_ITEMS} offers per scope, {ode.MAX_OPTIONS} in all. "
    "Optional members may be null, and members that are not known are ignored. The schema in the "
    "Content-Type says which version it is; without one, the members do. `Accept-Language`, else the "
    "profile's `preferredLanguage`, chooses among the languages of an offer. "
    "The answer is on record, and every cap it counts for is counted exactly, before it is sent; with "
    "`xdm:dryRun` nothing is kept or counted. `xdm:reservation` (ours) holds what is given for "
    "`xdm:ttl` seconds, and it comes back by itself unless it is confirmed by the proposition id. "
    "Needs `decisions:execute`.",
    parameters=[
        CONTAINER,
        OperationParameter(
            name="explain",
            about="Add `trace`: for every scope each candidate, and why it stayed or left.",
            schema=_FLAG,
        ),
        OperationParameter(
            name="partial",
            about="Where some scopes are not found, answer the others: status 207, with `errors`.",
            schema=_FLAG,
        ),
        OperationParameter(
            name="Accept-Language",
            location="header",
            about="Wanted languages of the content, best first.",
            example="de-AT, en;q=0.5",
        ),
    ],
    body=_versions(
        ("DecisionRequestDoc", examples.REQUEST),
        ("DecisionRequestDoc09", examples.REQUEST_09),
        ode.REQUEST_SCHEMA,
    ),
    responses={
        200: OperationResponse(about="Every scope is answered.", content=_ANSWERS),
        207: OperationResponse(
            about="With `partial`: some scopes are answered, and `errors` has a problem for each of "
            "the others.",
            content=_ANSWERS,
        ),
    },
    errors=error_texts(
        400,
        401,
        403,
        413,
        415,
        422,
        _404="There is no such container; or, `ODE-0001-404`, scopes were not found: all are named, "
        "with the reason for each.",
    ),
)


def _decide_in_sandbox() -> Operation:
    newest_body = {
        media_type: content
        for media_type, content in _DECIDE.body.items()
        if "version=0.9" not in media_type
    }
    newest_body[_JSON] = MediaTypeContent(
        schema=ref("DecisionRequestDoc"), example=examples.REQUEST
    )
    answers = {
        status: OperationResponse(
            about=answer.about,
            content={
                media_type: MediaTypeContent(
                    schema=ref("DecisionResponseDoc"), example=content.example
                )
                for media_type, content in answer.content.items()
                if "version=0.9" not in media_type
            },
        )
        for status, answer in _DECIDE.responses.items()
    }
    return Operation(
        method="POST",
        path="/data/core/ods/decisions",
        name="decideInSandbox",
        group=GROUP,
        summary="Decide, by sandbox",
        about="As deciding in a container, version 1.0. What the request leaves open, its placements settle: "
        "`itemCount`, `allowDuplicatePlacements` (all must allow it), `returnContent` and `returnMetaData`. "
        f"1 to {ode.MAX_SCOPES} scopes, {ode.MAX_OPTIONS} offers in all. Needs `decisions:execute`.",
        parameters=[
            SANDBOX,
            *(parameter for parameter in _DECIDE.parameters if parameter.location != "path"),
        ],
        body=newest_body,
        responses=answers,
        errors=_DECIDE.errors,
    )


OPERATIONS = [
    _DECIDE,
    _decide_in_sandbox(),
    Operation(
        method="GET",
        path=f"{_BASE}/offers",
        name="listOffers",
        group=GROUP,
        summary="What decisions may propose",
        about="For each live decision the approved offers of its collections that have a representation for one "
        "of its placements, whatever their dates and rules, and its fallback offer. The etags tell whether "
        "a change has arrived. Needs `decisions:execute`.",
        parameters=[
            CONTAINER,
            OperationParameter(
                name="activityId",
                about=f"The `@id` of a decision; 1 to {ode.MAX_SCOPES} of them.",
                required=True,
                repeated=True,
                example=[examples.DECISION],
            ),
        ],
        responses={200: json_answer("The offers of each decision.", ref("ActivityOffers"))},
        errors=error_texts(
            400,
            401,
            403,
            _404="There is no such container, or a decision is not live: all such are named.",
        ),
    ),
    Operation(
        method="GET",
        path=f"{_BASE}/diagnostics",
        name="getDiagnostics",
        group=GROUP,
        summary="What is broken",
        about="When the library last came into force, and what is wrong with live decisions, as a tree down to the "
        "mistake in a rule. What is broken counts as not eligible; everything else is served. A container "
        "in which nothing was ever written has no operations. Needs `decisions:execute`.",
        parameters=[CONTAINER],
        responses={
            200: json_answer(
                "The state of the library in force.",
                ref("Diagnostics"),
                {
                    "xdm:operations": {
                        "xdm:decisioningPackageUpdate": {
                            "xdm:date": "2024-03-21T09:15:22.004113Z",
                            "xdm:errors": [],
                        }
                    }
                },
            )
        },
        errors=error_texts(401, 403, 404),
    ),
]
