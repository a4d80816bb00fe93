"""Translate Offer Library API documents to stored ones, and back. The tables are in `wire/dps.py`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from proffer.errors import Conflict, Invalid, ProfferError, Violation
from proffer.model.ids import SERVED_KINDS, EntityKind
from proffer.model.instance import Instance
from proffer.model.xdm import format_xdm_time
from proffer.service.search.properties import Path, document_values, values_at
from proffer.wire import dps, patch
from proffer.wire.codec import decode
from proffer.wire.renaming import public_path, public_words, replace_words, to_public, to_stored

SCHEME = "dps"
"""Prefix of ids created by this interface."""

_ENVELOPE_PATHS: Mapping[str, Path] = {
    name: (dps.RENAMING_BY_KIND[EntityKind.TAG].members[name].stored,)
    for name in ("created", "modified", "etag", "createdBy", "lastModifiedBy")
}
_STORED_ENVELOPE_NAMES = frozenset(path[0] for path in _ENVELOPE_PATHS.values())
_WORDS = {kind: public_words(dps.RENAMING_BY_KIND[kind]) for kind in SERVED_KINDS}


def read_instance(kind: EntityKind, body: bytes) -> dict[str, Any]:
    """Return the document to store for a body. Members of the envelope are ignored."""
    value = decode(body)
    if not isinstance(value, dict):
        finding = Violation(
            code="type",
            message="the body is not an object",
            path="$",
            help="send one object: `{…}`",
        )
        raise Invalid.of([finding])
    document: dict[str, Any] = to_stored(dps.RENAMING_BY_KIND[kind], _without_envelope(value))
    return document


def read_patch(body: bytes) -> Callable[[Instance], dict[str, Any]]:
    """Return the change that a JSON Patch makes, written against `write_instance` (R37).

    The change raises `Invalid` where it touches the envelope.
    """
    return partial(_apply_patch, decode(body))


def _apply_patch(operations: Any, instance: Instance) -> dict[str, Any]:
    before = write_instance(instance)
    after = patch.apply_patch(before, operations, lenient_replace=True)
    table = dps.RENAMING_BY_KIND[instance.kind]
    changed = [
        table.members[name].stored  # findings use the stored names; `reword_errors` translates them
        for name in sorted(dps.ENVELOPE_MEMBERS)
        if not patch.json_equal(before.get(name), after.get(name))
    ]
    if changed:
        raise Invalid.of(
            [
                Violation(
                    code="immutable",
                    message=f"`{name}` is set by the server and cannot be patched",
                    path=f"$.{name}",
                    help="patch the object's own members",
                )
                for name in changed
            ]
        )
    document: dict[str, Any] = to_stored(table, _without_envelope(after), instance.document)
    return document


def _without_envelope(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in dps.ENVELOPE_MEMBERS}


def write_instance(instance: Instance) -> dict[str, Any]:
    """Return an object as this interface shows it."""
    return dps.entity(
        instance.kind,
        to_public(dps.RENAMING_BY_KIND[instance.kind], instance.document),
        created=format_xdm_time(instance.created_us),
        modified=format_xdm_time(instance.modified_us),
        etag=instance.etag,
        created_by=instance.created_by.user,
        modified_by=instance.modified_by.user,
    )


def write_receipt(instance: Instance) -> dict[str, Any]:
    return dps.receipt(
        etag=instance.etag,
        entity_id=instance.id,
        sandbox_id=instance.container,
        created=format_xdm_time(instance.created_us),
        modified=format_xdm_time(instance.modified_us),
        created_by=instance.created_by.user,
        modified_by=instance.modified_by.user,
        created_by_client=instance.created_by.client,
        modified_by_client=instance.modified_by.client,
    )


def property_path(path: Path) -> Path:
    """Return a query path with the envelope's members under their stored names."""
    return _ENVELOPE_PATHS.get(path[0], path) if len(path) == 1 else path


def dps_values_at(instance: Instance, path: Path) -> list[Any]:
    """Return the object's values at a path in this API's spelling."""
    if path[0] in _STORED_ENVELOPE_NAMES:
        return values_at(instance, path)
    if path[0] == "schemas":
        return document_values([dps.schema_name(instance.kind)], path[1:])
    table, document = dps.RENAMING_BY_KIND[instance.kind], instance.document
    member = table.members.get(path[0])
    if member is not None:  # translate only the requested member
        spelling = table.stored_name(path[0], document)
        if spelling is None:
            return []
        return document_values(to_public(member.of, document[spelling]), path[1:])
    if path[0] in table.exchange:
        return document_values(to_public(table, document), path)
    return document_values(document, path)


@contextmanager
def reword_errors(kind: EntityKind) -> Iterator[None]:
    """Translate errors about a stored document to this API's spelling."""
    try:
        yield
    except Invalid as error:
        raise Invalid.of(reword_violations(kind, error.violations)) from None
    except Conflict as error:
        raise _reword_conflict(kind, error) from None


def reword_violations(kind: EntityKind, violations: Sequence[Violation]) -> list[Violation]:
    """Translate violations of a stored document to this API's spelling."""
    return [_reword_finding(kind, violation) for violation in violations]


def _reword_finding(kind: EntityKind, finding: Violation) -> Violation:
    words = _WORDS[kind]
    return replace(
        finding,
        message=replace_words(finding.message, words),
        path=public_path(dps.RENAMING_BY_KIND[kind], finding.path) if finding.path else finding.path,
        help=replace_words(finding.help, words) if finding.help else finding.help,
    )


def _reword_conflict(kind: EntityKind, error: Conflict) -> ProfferError:
    report = dict(error.extra.get("report", {}))
    if "referrers" in report:
        report["referrers"] = [
            {"id": referrer["@id"], "name": referrer["xdm:name"]} for referrer in report["referrers"]
        ]
    extra = {**error.extra, "report": report} if report else error.extra
    return Conflict(
        replace_words(error.detail, _WORDS[kind]),
        code=error.code,
        violations=error.violations,
        extra=extra,
    )
