"""OpenAPI description of the decisioning API."""

import re
from typing import Any

import msgspec

from proffer.api.kit import examples
from proffer.api.kit.openapi import CONTAINER, SANDBOX, error_texts, json_answer
from proffer.model.ids import EntityKind
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
ABOUT = "Get the best offers for a customer, or the fallback offer if none qualifies."

_JSON = "application/json"
_OFFER_ID = examples.INSTANCES[EntityKind.OFFER]["@id"]
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
            "properties": {name: {"type": "string"} for name in ("@id", "instanceId", "href", "etag")},
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
    "OfferMetrics": {
        "type": "object",
        "properties": {"xdm:metrics": {"type": "object"}},
        "required": ["xdm:metrics"],
    },
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


def _versions(newer: tuple[str, Any], older: tuple[str, Any], schema: str) -> dict[str, MediaTypeContent]:
    """Return content for both versions by media type, and plain JSON."""
    typed = {
        f'{ode.XDM_TYPE}; schema="{schema};version={version}"': MediaTypeContent(schema=ref(name), example=example)
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
    about="For every scope, a decision in a placement, return the best offers for the customer, or the fallback "
    "offer if no offer qualifies. The identities name the customer; the merge policy merges the stored records. "
    "`xdm:attributes`, an XDM profile document, overrides stored attributes. An unknown customer is not an error. "
    "Version 1.0 names scopes in `xdm:propositionRequests`; version 0.9 names decisions in `xdm:offerActivities`, "
    f"and means all their placements. 1 to {ode.MAX_SCOPES} scopes, 1 to {ode.MAX_ITEMS} offers per scope, "
    f"{ode.MAX_OPTIONS} in all. Optional members may be null; unknown members are ignored. The schema in the "
    "Content-Type selects the version; without a schema, the members do. `Accept-Language`, else the profile's "
    "`preferredLanguage`, selects the language of the content. The decision is recorded, and every cap is counted "
    "exactly, before the response is sent; with `xdm:dryRun` nothing is stored or counted. `xdm:reservation` (a "
    "Proffer extension) holds the counts for `xdm:ttl` seconds; they are released unless the proposition id is "
    "confirmed. Needs `decisions:execute`.",
    parameters=[
        CONTAINER,
        OperationParameter(
            name="explain",
            about="Add `trace`: for every scope, each candidate with its stage and the reason, in parts and as a "
            "sentence (docs/reference/trace.md).",
            schema=_FLAG,
        ),
        OperationParameter(
            name="partial",
            about="If some scopes are not found, answer the others: status 207, with `errors`.",
            schema=_FLAG,
        ),
        OperationParameter(
            name="Accept-Language",
            location="header",
            about="Preferred languages of the content, best first.",
            example="de-AT, en;q=0.5",
        ),
    ],
    body=_versions(
        ("DecisionRequestDoc", examples.REQUEST),
        ("DecisionRequestDoc09", examples.REQUEST_09),
        ode.REQUEST_SCHEMA,
    ),
    responses={
        200: OperationResponse(
            about="Every scope is answered. A `Warning` header names misspelt members.", content=_ANSWERS
        ),
        207: OperationResponse(
            about="With `partial`: some scopes are answered, and `errors` has a problem for each of the others.",
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
        _404="The container does not exist; or, `ODE-0001-404`, scopes were not found: all are listed with the reason.",
    ),
)


def _decide_in_sandbox() -> Operation:
    newest_body = {
        media_type: content for media_type, content in _DECIDE.body.items() if "version=0.9" not in media_type
    }
    newest_body[_JSON] = MediaTypeContent(schema=ref("DecisionRequestDoc"), example=examples.REQUEST)
    answers = {
        status: OperationResponse(
            about=answer.about,
            content={
                media_type: MediaTypeContent(schema=ref("DecisionResponseDoc"), example=content.example)
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
        about="Like deciding in a container, version 1.0. The placements supply what the request omits: "
        "`itemCount`, `allowDuplicatePlacements` (all must allow it), `returnContent` and `returnMetaData`. 1 to "
        f"{ode.MAX_SCOPES} scopes, {ode.MAX_OPTIONS} offers in all. Needs `decisions:execute`.",
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
        summary="List the offers of decisions",
        about="For each live decision, its fallback offer and the approved offers of its collections that have a "
        "representation for one of its placements, regardless of dates and rules. The etags show whether a change "
        "has arrived. Needs `decisions:execute`.",
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
            _404="The container does not exist, or a decision is not live: all such decisions are listed.",
        ),
    ),
    Operation(
        method="GET",
        path=f"{_BASE}/diagnostics",
        name="getDiagnostics",
        group=GROUP,
        summary="Get diagnostics",
        about="When the library last took effect, and the errors of live decisions, as a tree down to the error in "
        "a rule. Offers with errors count as not eligible; everything else is served. A container without writes "
        "has no operations. Needs `decisions:execute`.",
        parameters=[CONTAINER],
        responses={
            200: json_answer(
                "The state of the current library.",
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
    Operation(
        method="GET",
        path=f"{_BASE}/metrics",
        name="getOfferMetrics",
        group=GROUP,
        summary="Count the propositions of an offer",
        about="The count of the offer's global cap on decisions, in its current period; an offer without one is not "
        "counted. `xdm:channels` has the channels for which the count is known: those of the placements of a cap for "
        "each placement, else the one that all placements of the offer have. Needs `decisions:execute`.",
        parameters=[
            CONTAINER,
            OperationParameter(
                name="metric",
                about="The only metric.",
                schema={"type": "string", "enum": [ode.OFFER_PROPOSITIONS]},
                required=True,
                example=ode.OFFER_PROPOSITIONS,
            ),
            OperationParameter(
                name="id",
                about="The offer's `@id`.",
                required=True,
                example=_OFFER_ID,
            ),
        ],
        responses={
            200: json_answer(
                "The count.",
                ref("OfferMetrics"),
                ode.offer_propositions(5, {"https://ns.adobe.com/xdm/channel-types/web": 5}),
            )
        },
        errors=error_texts(400, 401, 403, _404="There is no such offer, or it is not counted."),
    ),
]
