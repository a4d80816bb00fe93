"""Translate repository API documents to stored documents, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proffer.api.kit.media_types import MediaType, schema_names
from proffer.errors import Invalid, Malformed, Unsupported, Violation
from proffer.model.ids import EntityKind, kind_of
from proffer.model.instance import Container, Instance, format_timestamp
from proffer.model.long_names import with_short_names
from proffer.wire import patch, xcore
from proffer.wire.codec import decode

_KIND_MARKERS: Sequence[tuple[EntityKind, frozenset[str]]] = (
    (EntityKind.DECISION, frozenset({"xdm:fallback", "xdm:criteria"})),
    (EntityKind.COLLECTION, frozenset({"xdm:filterType"})),
    (EntityKind.RULE, frozenset({"xdm:condition", "condition", "xdm:modelUsage"})),
    (EntityKind.FORMULA, frozenset({"xdm:expression", "expression"})),
    (EntityKind.PLACEMENT, frozenset({"xdm:componentType"})),
    (EntityKind.OFFER, frozenset({"xdm:rank", "xdm:selectionConstraint"})),
    (EntityKind.FALLBACK, frozenset({"xdm:representations"})),
)
"""Members that identify a kind if `application/json` names no schema; the first match counts."""


def read_instance(media: MediaType, body: bytes) -> tuple[EntityKind, dict[str, Any], str]:
    """Return a new instance's kind, document, and JSON path in the body.

    Raises `Unsupported` where neither the schema nor the members tell the kind.
    """
    kind = read_kind(media)
    document, root = read_document(body)
    return kind or _infer_kind(document), document, root


def read_document(body: bytes) -> tuple[dict[str, Any], str]:
    """Return the instance, bare or wrapped in `_instance`, and its JSON path."""
    value = decode(body)
    if isinstance(value, dict) and isinstance(value.get("_instance"), dict):
        return dict(with_short_names(value["_instance"])), "$._instance"
    if not isinstance(value, dict):
        raise Invalid.of(
            [
                Violation(
                    code="type",
                    message="the body is not an object",
                    path="$",
                    help="send one instance: `{…}`",
                )
            ]
        )
    return dict(with_short_names(value)), "$"


def read_kind(media: MediaType) -> EntityKind | None:
    """Return the kind that a Content-Type's schema parameter names; None where it names none.

    Raises `Unsupported` for a schema that is not one of the library's.
    """
    names = schema_names(media)
    if not names:
        return None
    kinds = {xcore.kind_of_schema(name.uri) for name in names} - {None}
    if len(kinds) != 1:
        kind_list = ", ".join(f"`{kind}`" for kind in xcore.VERSIONS)
        raise Unsupported(
            f"`{names[0].uri[:200]}` is not a schema of an offer library; the last part must be one of {kind_list}",
            code="unknown-schema",
        )
    return EntityKind(kinds.pop() or "")


def _infer_kind(document: Mapping[str, Any]) -> EntityKind:
    """Infer the kind from id or members; else raise `Unsupported`."""
    entity_id = document.get("@id")
    kind = kind_of(entity_id) if isinstance(entity_id, str) else None
    if kind is not None and kind in xcore.VERSIONS:
        return kind
    for candidate, members in _KIND_MARKERS:
        if members & document.keys():
            return candidate
    raise Unsupported(
        f"the Content-Type names no schema and the body does not identify its kind; send `{xcore.INSTANCE_TYPE}; "
        f'schema="{xcore.NAMESPACE}<kind>"`',
        code="schema-missing",
    )


class PatchError(Invalid):
    """An invalid patch; its paths are of the patch or envelope, so `with_root` does not change them."""

    def with_root(self, root: str) -> "PatchError":  # noqa: ARG002 - the signature is the base's
        return self


def read_patch(body: bytes, sandbox: str) -> Callable[[Instance], dict[str, Any]]:
    """Return the change a JSON Patch makes to an instance (spec 2.5).

    `test` may look at the rest of the envelope; changing it is refused, except `/_links`, which is
    not kept.
    """
    operations = decode(body)
    return lambda instance: _apply_patch(operations, write_instance(instance, sandbox))


def _apply_patch(operations: Any, before: dict[str, Any]) -> dict[str, Any]:
    try:
        after = patch.apply_patch(before, operations)
    except Invalid as error:
        raise PatchError.of(error.violations) from None
    changed = [
        name
        for name in {**before, **after}
        if name not in {"_instance", "_links"} and before.get(name) != after.get(name)
    ]
    document = after.get("_instance")
    findings = [
        Violation(
            code="immutable",
            message=f"`{name}` belongs to the envelope and cannot be patched",
            path=f"$.{name}",
            help="patch members under `/_instance`",
        )
        for name in changed
    ]
    if not isinstance(document, dict):
        findings.append(
            Violation(
                code="type",
                message="`_instance` is missing or not an object",
                path="$._instance",
                help="to delete an instance, use DELETE",
            )
        )
    if findings or not isinstance(document, dict):
        raise PatchError.of(findings)
    return document


def write_receipt(instance: Instance) -> dict[str, Any]:
    return xcore.receipt(_audit(instance), instance.instance_id, instance.id)


def write_instance(instance: Instance, sandbox: str, score: float | None = None) -> dict[str, Any]:
    return xcore.envelope(
        _audit(instance),
        container=instance.container,
        instance_id=instance.instance_id,
        kind=instance.kind,
        instance=instance.document,
        sandbox=sandbox,
        score=score,
    )


def write_container(container: Container) -> dict[str, Any]:
    created = format_timestamp(container.created_us)
    audit = xcore.audit(
        etag=1,
        created=created,
        modified=created,
        created_by=container.created_by.user,
        modified_by=container.created_by.user,
        created_by_client=container.created_by.client,
        modified_by_client=container.created_by.client,
    )
    return xcore.container(
        audit,
        container_id=container.id,
        name=container.name,
        sandbox=container.sandbox,
        parent=container.organisation,
    )


def read_schema(values: Sequence[str]) -> tuple[EntityKind, str]:
    """Return the kind of a query's `schema`, and the response's schema name.

    Raises `Malformed` where it is missing or names nothing of a library.
    """
    names = schema_names(MediaType("", {"schema": " ".join(values)}))
    if not names:
        raise Malformed(
            f"`schema` is missing: name a kind, `schema={xcore.NAMESPACE}<kind>`",
            code="schema-missing",
        )
    kinds = {xcore.kind_of_schema(name.uri) for name in names}
    kind = kinds.pop()
    if kinds or kind is None:
        kind_list = ", ".join(f"`{kind_name}`" for kind_name in xcore.VERSIONS)
        raise Malformed(
            f"`schema` must name one kind of a library, not `{names[0].uri[:200]}`; kinds are {kind_list}",
            code="unknown-schema",
        )
    version = names[0].version
    return EntityKind(kind), f"{names[0].uri};version={version}" if version else xcore.schema(kind)


def _audit(instance: Instance) -> dict[str, Any]:
    return xcore.audit(
        etag=instance.etag,
        created=format_timestamp(instance.created_us),
        modified=format_timestamp(instance.modified_us),
        created_by=instance.created_by.user,
        modified_by=instance.modified_by.user,
        created_by_client=instance.created_by.client,
        modified_by_client=instance.modified_by.client,
    )
