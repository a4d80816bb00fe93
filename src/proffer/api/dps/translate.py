"""Translate Offer Library API documents to stored ones, and back (tables in `wire/dps.py`)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from proffer.errors import Conflict, Finding, Invalid, ProfferError
from proffer.model.ids import SERVED, EntityKind
from proffer.model.instance import Instance
from proffer.service.search.properties import Path, reached, values_at
from proffer.wire import dps, patch
from proffer.wire.codec import decode
from proffer.wire.renaming import reworded, shown, shown_path, shown_words, stored

SCHEME = "dps"
"""Prefix of ids created by this interface."""

_ENVELOPE_PATHS: Mapping[str, Path] = {
    name: (dps.TABLES[EntityKind.TAG].members[name].stored,)
    for name in ("created", "modified", "etag", "createdBy", "lastModifiedBy")
}
_WORDS = {kind: shown_words(dps.TABLES[kind]) for kind in SERVED}


def read_instance(kind: EntityKind, body: bytes) -> dict[str, Any]:
    """Return the document to store for a body. Members of the envelope are ignored."""
    value = decode(body)
    if not isinstance(value, dict):
        finding = Finding(
            code="type",
            message="the body is not an object",
            path="$",
            help="send one object: `{…}`",
        )
        raise Invalid.of([finding])
    document: dict[str, Any] = stored(dps.TABLES[kind], _bare(value))
    return document


def read_patch(body: bytes) -> Callable[[Instance], dict[str, Any]]:
    """Return the change that a JSON Patch makes, written against `write_instance` (R37).

    The change raises `Invalid` where it touches the envelope.
    """
    return partial(_patched, decode(body))


def _patched(operations: Any, instance: Instance) -> dict[str, Any]:
    before = write_instance(instance)
    after = patch.apply(before, operations, lenient_replace=True)
    table = dps.TABLES[instance.kind]
    changed = [
        table.members[name].stored  # findings use the stored names; `reword_errors` translates them
        for name in sorted(dps.ENVELOPE)
        if not patch.same(before.get(name), after.get(name))
    ]
    if changed:
        raise Invalid.of(
            [
                Finding(
                    code="immutable",
                    message=f"`{name}` is the server's and cannot be patched",
                    path=f"$.{name}",
                    help="patch the object's own members",
                )
                for name in changed
            ]
        )
    document: dict[str, Any] = stored(table, _bare(after), instance.document)
    return document


def _bare(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in dps.ENVELOPE}


def write_instance(instance: Instance) -> dict[str, Any]:
    """Return an object as this interface shows it."""
    return dps.entity(
        instance.kind,
        shown(dps.TABLES[instance.kind], instance.document),
        created=_moment(instance.created_us),
        modified=_moment(instance.modified_us),
        etag=instance.etag,
        created_by=instance.created_by.user,
        modified_by=instance.modified_by.user,
    )


def write_receipt(instance: Instance) -> dict[str, Any]:
    return dps.receipt(
        etag=instance.etag,
        entity_id=instance.id,
        sandbox_id=instance.container,
        created=_moment(instance.created_us),
        modified=_moment(instance.modified_us),
        created_by=instance.created_by.user,
        modified_by=instance.modified_by.user,
        created_by_client=instance.created_by.client,
        modified_by_client=instance.modified_by.client,
    )


def property_path(path: Path) -> Path:
    """Return a query path with the envelope's members under their stored names."""
    return _ENVELOPE_PATHS.get(path[0], path) if len(path) == 1 else path


def values_shown(instance: Instance, path: Path) -> list[Any]:
    """Return the values at a path of the object in this API's spelling."""
    if path[0] in {known[0] for known in _ENVELOPE_PATHS.values()}:
        return values_at(instance, path)
    if path[0] == "schemas":
        return reached([dps.schema(instance.kind)], path[1:])
    table, document = dps.TABLES[instance.kind], instance.document
    member = table.members.get(path[0])
    if member is not None:  # translate only the requested member
        spelling = table.spelling(path[0], document)
        if spelling is None:
            return []
        return reached(shown(member.of, document[spelling]), path[1:])
    if path[0] in table.exchange:
        return reached(shown(table, document), path)
    return reached(document, path)


@contextmanager
def in_these_words(kind: EntityKind) -> Iterator[None]:
    """Translate errors about a stored document to this API's spelling."""
    try:
        yield
    except Invalid as error:
        raise Invalid.of([_finding(kind, one) for one in error.findings]) from None
    except Conflict as error:
        raise _conflict(kind, error) from None


def _finding(kind: EntityKind, finding: Finding) -> Finding:
    words = _WORDS[kind]
    return replace(
        finding,
        message=reworded(finding.message, words),
        path=shown_path(dps.TABLES[kind], finding.path) if finding.path else finding.path,
        help=reworded(finding.help, words) if finding.help else finding.help,
    )


def _conflict(kind: EntityKind, error: Conflict) -> ProfferError:
    report = dict(error.extra.get("report", {}))
    if "referrers" in report:
        report["referrers"] = [
            {"id": one["@id"], "name": one["xdm:name"]} for one in report["referrers"]
        ]
    extra = {**error.extra, "report": report} if report else error.extra
    return Conflict(
        reworded(error.detail, _WORDS[kind]),
        code=error.code,
        findings=error.findings,
        extra=extra,
    )


def _moment(moment_us: int) -> str:
    """Return a moment in milliseconds, with `Z`."""
    whole = datetime.fromtimestamp(moment_us // 1_000_000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{moment_us // 1000 % 1000:03d}Z"
