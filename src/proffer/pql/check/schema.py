"""Field types of the roots: common parts of the XDM profile and experience event, or a caller's schema.

Fields of a tenant namespace (`_acme`) are not checked unless a schema declares them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proffer.pql.check.observed import with_observed
from proffer.pql.check.types import (
    ANY,
    BOOLEAN,
    DATE,
    INTEGER,
    MOMENT,
    NUMBER,
    TEXT,
    ArrayType,
    MapType,
    ObjectType,
    Shape,
    Type,
)

_SCALARS = {
    "any": ANY,
    "text": TEXT,
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "date": DATE,
    "date-time": MOMENT,
}


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """Types of the roots; the root of a context is `@` and its reference.

    For roots in `strict` an unknown field or a wrong type is an error, otherwise a warning. Compared by identity.
    `reports_partial`: warn of unknown fields also where only a part of the fields is known.
    `audiences`: returns the ids of the existing audiences by name, oldest first; None if they are unknown.
    """

    roots: Mapping[str, Type] = field(default_factory=dict)
    strict: frozenset[str] = frozenset()
    reports_partial: bool = True
    audiences: Callable[[], Mapping[str, Sequence[str]]] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, declared: Mapping[str, Any], *, strict: bool = True) -> "Schema":
        """Build a schema from plain data: `{"profile": {"person": {"age": "integer"}}}`.

        A type is one of `text integer number boolean date date-time any`; `text: a|b` for a text with
        known values; a list of one type for an array; `{"*": type}` for a map; an object for an object,
        where `*` is the type of the fields that it does not name. Raises `ValueError` for anything else.
        """
        roots = {root: parse_type(description) for root, description in declared.items()}
        return cls(roots, frozenset(roots) if strict else frozenset())

    def with_profiles(self, observed: Type) -> "Schema":
        """Return the schema with the fields of stored profiles, unless the profile's schema is strict."""
        if "profile" in self.strict:
            return self
        profile = with_observed(self.roots.get("profile", ANY), observed)
        return replace(self, roots={**self.roots, "profile": profile})

    def lenient(self) -> "Schema":
        """Return the same types, with warnings instead of errors."""
        return replace(self, strict=frozenset()) if self.strict else self


def parse_type(description: Any) -> Type:
    """Build a type from plain data in the format of `Schema.of`."""
    if isinstance(description, str):
        name, _, values = description.partition(":")
        if name == "text" and values:
            return Type(Shape.TEXT, tuple(value.strip() for value in values.split("|")))
        if description in _SCALARS:
            return _SCALARS[description]
    elif isinstance(description, list) and len(description) == 1:
        return ArrayType(item=parse_type(description[0]))
    elif isinstance(description, Mapping):
        if set(description) == {"*"}:
            return MapType(item=parse_type(description["*"]))
        types = {name: parse_type(field_description) for name, field_description in description.items()}
        return ObjectType(other=types.pop("*", None), fields=types)
    raise ValueError(f"{description!r} is not a type")


def _fields_of_type(names: str, description: Any) -> dict[str, Any]:
    """Return several fields with the same type."""
    return dict.fromkeys(names.split(), description)


_IDENTITIES = {"*": [{"id": "text", "primary": "boolean", "authenticatedState": "text", "xid": "text"}]}
_AUDIT = {
    "createdDate": "date-time",
    "lastUpdatedDate": "date-time",
    "lastActivityDate": "date-time",
    "lastReferencedDate": "date-time",
    "lastViewedDate": "date-time",
}
_ADDRESS = {
    **_fields_of_type(
        "street1 street2 street3 street4 city county region state stateProvince stateProvinceISO "
        "postalCode postOfficeBox country countryCode countryISO label createdByBatchID msaCode "
        "dmaID postalCodeExt",
        "text",
    ),
    "_id": "text",
    "primary": "boolean",
    "status": "text",
    "lastVerifiedDate": "date",
    "_schema": {"latitude": "number", "longitude": "number", "elevation": "number"},
}
_EMAIL = {
    "address": "text",
    "label": "text",
    "type": "text",
    "status": "text",
    "primary": "boolean",
}
_PHONE = {
    "number": "text",
    "extension": "text",
    "countryCode": "text",
    "status": "text",
    "primary": "boolean",
    "validity": "text",
}
_MEMBERSHIP = {
    "status": "text: realized|existing|exited",
    "lastQualificationTime": "date-time",
    "validUntil": "date-time",
    "version": "text",
    "payload": "any",
    "enrichment": {"*": "any"},
}
_MEASURE = {"value": "number", "id": "text"}
_CONSENT = {"val": "text", "time": "date-time", "reason": "text"}
_SERVER_FIELDS = {"identityMap": _IDENTITIES, "segmentMembership": {"*": {"*": _MEMBERSHIP}}}

_PROFILE = {
    "person": {
        "name": {
            **_fields_of_type("firstName lastName middleName fullName courtesyTitle suffix", "text"),
        },
        "age": "integer",
        "birthDate": "date",
        "birthDay": "integer",
        "birthMonth": "integer",
        "birthYear": "integer",
        "birthDayAndMonth": "text",
        "gender": "text: male|female|not_specified|non_specific",
        "nationality": "text",
        "maritalStatus": "text: married|single|divorced|widowed|not_specified",
        "taxId": "text",
    },
    **_fields_of_type(
        "homeAddress workAddress mailingAddress billingAddress shippingAddress alternateHomeAddress",
        _ADDRESS,
    ),
    **_fields_of_type("personalEmail workEmail alternateEmail", _EMAIL),
    **_fields_of_type("mobilePhone homePhone workPhone faxPhone alternatePhone", _PHONE),
    "loyalty": {
        **_fields_of_type("program tier status upgradeTier loyaltyID referredBy expirationDate joinDate", "any"),
        "loyaltyID": ["text"],
        "points": "number",
        "pointsExpired": "number",
        "pointsRedeemed": "number",
        "lifetimePoints": "number",
        "lifetimePurchases": "number",
        "adjustments": "any",
    },
    **_SERVER_FIELDS,
    "identities": ["any"],
    "consents": {
        "marketing": {"*": "any"},
        "collect": _CONSENT,
        "share": _CONSENT,
        "personalize": {"content": _CONSENT},
        "metadata": {"time": "date-time"},
    },
    "optInOut": "any",
    "preferredLanguage": "text",
    "timeZone": "text",
    "testProfile": "boolean",
    "organizations": ["text"],
    "personID": "text",
    "userAccount": {
        "ID": "text",
        "startDate": "date-time",
        "endDate": "date-time",
        "contactEmail": "text",
    },
    "subscriptions": "any",
    "pushNotificationDetails": ["any"],
    "extSourceSystemAudit": _AUDIT,
    "timeSeriesEvents": "any",
    "orders": ["any"],
    "events": "any",
    "tags": ["text"],
}

_PRODUCT = {
    **_fields_of_type("SKU name product currencyCode productAddMethod unitOfMeasureCode lineItemId", "text"),
    "quantity": "integer",
    "priceTotal": "number",
    "price": "number",
    "discountAmount": "number",
    "productCategories": ["any"],
    "selectedOptions": ["any"],
    "refundAmount": "number",
    "_id": "text",
}
_EVENT = {
    "_id": "text",
    "timestamp": "date-time",
    "eventType": "text",
    "eventMergeId": "text",
    "producedBy": "text",
    "identityMap": _IDENTITIES,
    "endUserIDs": "any",
    "web": {
        "webPageDetails": {
            **_fields_of_type("name URL server siteSection viewName", "text"),
            "isHomePage": "boolean",
            "isErrorPage": "boolean",
            "pageViews": _MEASURE,
        },
        "webReferrer": {"URL": "text", "type": "text", "linkName": "text", "linkRegion": "text"},
        "webInteraction": {
            "name": "text",
            "URL": "text",
            "type": "text",
            "linkClicks": _MEASURE,
            "region": "text",
        },
        "isHomePage": "boolean",
    },
    "commerce": {
        **_fields_of_type(
            "purchases checkouts productViews productListAdds productListRemovals productListOpens "
            "productListReopens productListViews saveForLaters cartAbandons inStorePurchase",
            _MEASURE,
        ),
        "order": {
            **_fields_of_type("purchaseID purchaseOrderNumber orderType currencyCode", "text"),
            "priceTotal": "number",
            "taxAmount": "number",
            "discountAmount": "number",
            "createdDate": "date-time",
            "lastUpdatedDate": "date-time",
            "payments": ["any"],
        },
        "cart": {"cartID": "text", "cartSource": "text"},
        "shipping": {"shippingAmount": "number", "shippingMethod": "text", "currencyCode": "text"},
        "promotionID": "text",
        "item": "any",
    },
    "productListItems": [_PRODUCT],
    "device": {
        **_fields_of_type("type manufacturer model modelNumber typeID screenOrientation", "text"),
        "screenHeight": "integer",
        "screenWidth": "integer",
        "colorDepth": "integer",
    },
    "environment": {
        **_fields_of_type(
            "type operatingSystem operatingSystemVersion operatingSystemVendor carrier connectionType "
            "domain ISP ipV4 ipV6 language",
            "text",
        ),
        "colorDepth": "integer",
        "viewportHeight": "integer",
        "viewportWidth": "integer",
        "browserDetails": {
            **_fields_of_type("name vendor version acceptLanguage userAgent", "text"),
            "cookiesEnabled": "boolean",
            "javaScriptEnabled": "boolean",
            "viewportHeight": "integer",
            "viewportWidth": "integer",
            "userAgentClientHints": "any",
        },
    },
    "application": {
        "id": "text",
        "name": "text",
        "version": "text",
        "launches": _MEASURE,
        "crashes": _MEASURE,
    },
    "placeContext": {
        "geo": {
            **_fields_of_type("countryCode stateProvince city postalCode dmaID msaID", "text"),
            "_schema": {"latitude": "number", "longitude": "number", "elevation": "number"},
        },
        "POIinteraction": "any",
        "localTime": "date-time",
        "localTimezoneOffset": "integer",
        "placeContextDetails": "any",
    },
    "marketing": {"trackingCode": "text", "campaignName": "text", "campaignGroup": "text"},
    "channel": "any",
    "search": {"keywords": "text", "pageDepth": "integer", "searchEngine": "text"},
    "directMarketing": "any",
    "advertising": "any",
    "media": "any",
}
_OFFER = {
    "_id": "text",
    "name": "text",
    "status": "text",
    "rank": {"priority": "integer"},
    "selectionConstraint": {"startDate": "date-time", "endDate": "date-time"},
    "characteristics": {"*": "any"},
    "tags": ["text"],
    "representations": ["any"],
}

XDM_FIELDS: Mapping[str, Any] = {"profile": _PROFILE, "xEvent": _EVENT, "offer": _OFFER}
"""The fields of `XDM`, in the format of `Schema.of`."""

XDM = Schema.of(XDM_FIELDS, strict=False)
"""The built-in schema. It covers only a part of XDM, so unknown fields are warnings."""


def schema_with(declared: Mapping[str, Any]) -> Schema:
    """Return the built-in schema with the declared roots replaced, strictly.

    `declared` has the format of `Schema.of`. Undeclared tenant namespaces (`_acme`) are not checked; identities
    and audiences, which the server adds to profiles, are always declared.
    """
    if not declared:
        return XDM
    if "profile" in declared:
        declared = {**declared, "profile": {**_SERVER_FIELDS, **declared["profile"]}}
    tenant = Schema.of(declared)
    return Schema({**XDM.roots, **tenant.roots}, tenant.strict)
