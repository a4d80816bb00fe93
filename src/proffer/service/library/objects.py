"""Create, read, replace, revise and delete single library objects, as documents."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from proffer.auth.principal import Principal
from proffer.errors import Invalid, NotFound, Stale, Violation
from proffer.model.catalog import CatalogOverlay
from proffer.model.difference import is_same_json
from proffer.model.ids import (
    INTERNAL_KINDS,
    KIND_LABELS,
    EntityKind,
    InstanceIds,
    Snowflakes,
    canonical,
    kind_phrase,
)
from proffer.model.instance import Actor, Instance
from proffer.model.integrity import check_unique, check_unreferenced, version_violations
from proffer.model.limit_index import with_indexes
from proffer.pql.check.types import ANY, Type
from proffer.service.library.check_content import content_violations
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.library.warnings import write_warnings
from proffer.service.rules.check import audiences_by_name, broken_expressions, check_expressions
from proffer.service.rules.stored_fields import StoredFields

_ON_PROFILES = frozenset({EntityKind.RULE, EntityKind.FORMULA, EntityKind.AUDIENCE})
"""Kinds whose expressions read profiles."""
Document: TypeAlias = Mapping[str, Any]
Revision: TypeAlias = Callable[[Instance], Document]
"""Returns the new document from the current version; raises to refuse the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precondition:
    """Conditions on the current object: any of these etags, and its kind. None: not checked."""

    etags: frozenset[int] | None = None
    kind: EntityKind | None = None


NO_CONDITION = Precondition()


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReceipt:
    """A durable write: the previous version, if any, the new one, and warnings about it."""

    before: Instance | None
    instance: Instance
    warnings: tuple[Violation, ...] = ()


class CatalogService:
    """Use cases of single objects.

    `stored_fields`: the fields of stored profiles, for warnings about rules that read others.
    """

    def __init__(self, stored_fields: StoredFields | None = None) -> None:
        self._stored_fields = stored_fields
        self._ids = Snowflakes()
        self._instance_ids = InstanceIds()

    async def create(
        self,
        access: AuthorizedContainer,
        kind: EntityKind,
        document: Document,
        *,
        instance_id: str | None = None,
        scheme: str = "xcore",
        importing: bool = False,
    ) -> WriteReceipt:
        """Create an object. Without an `@id` one is minted with the prefix `scheme` (R13).

        `instance_id` is used if given, else minted. `importing` accepts rules, formulas and templates
        that do not check: they count as false or fail, and are reported (R33).
        """
        warnings: list[Violation] = []
        observed = await self.observed_profiles(access) if kind in _ON_PROFILES else ANY

        def change(draft: CatalogOverlay, now_us: int) -> Instance:
            requested_id = document.get("@id")
            entity_id = requested_id if isinstance(requested_id, str) else self._ids.mint(kind, now_us, scheme)
            actor = actor_of(access.principal)
            version = Instance(
                container=access.id,
                instance_id=instance_id or self._instance_ids.mint(now_us),
                kind=kind,
                id=entity_id,
                etag=1,
                revision=draft.next_revision,
                created_us=now_us,
                modified_us=now_us,
                created_by=actor,
                modified_by=actor,
                document={**document, "@id": requested_id if "@id" in document else entity_id},
            )
            expression_warnings = _validate(draft, None, version, observed, importing=importing)
            version = _with_indexes(version, {})
            warnings[:] = [*expression_warnings, *write_warnings(None, version, importing=importing)]
            return version

        instance = await access.state.write(change)
        return WriteReceipt(before=None, instance=instance, warnings=tuple(warnings))

    async def revise(
        self,
        access: AuthorizedContainer,
        instance_id: str,
        revision: Revision,
        condition: Precondition = NO_CONDITION,
        *,
        importing: bool = False,
    ) -> WriteReceipt:
        """Replace an object's document with the result of `revision`. Its `@id` cannot change.

        A document that only lacks the stored indexes of limits is the stored one: nothing is written (R46).
        """
        replaced: list[Instance] = []
        warnings: list[Violation] = []
        current = access.state.catalog.by_instance(instance_id.lower())
        reads_profiles = current is not None and current.kind in _ON_PROFILES
        observed = await self.observed_profiles(access) if reads_profiles else ANY

        def change(draft: CatalogOverlay, now_us: int) -> Instance:
            before = _require(draft.by_instance(instance_id.lower()), instance_id, condition)
            document = dict(revision(before))
            requested_id = document.setdefault("@id", before.id)
            if not isinstance(requested_id, str) or canonical(requested_id) != before.key:
                raise Invalid.of(
                    [
                        Violation(
                            code="immutable",
                            message=f"`@id` is `{before.id}` and cannot change",
                            path="$.@id",
                            help="leave `@id` out, or send it unchanged",
                        )
                    ]
                )
            document["@id"] = before.id
            version = replace(_next_version(before, draft, now_us, access.principal), document=document)
            expression_warnings = _validate(draft, before, version, observed, importing=importing)
            replaced[:] = [before]
            indexed = _with_indexes(version, before.document)
            if indexed is not version and is_same_json(indexed.document, before.document):
                return before
            version = indexed
            warnings[:] = [*expression_warnings, *write_warnings(before, version, importing=importing)]
            return version

        instance = await access.state.write(change)
        return WriteReceipt(before=replaced[0], instance=instance, warnings=tuple(warnings))

    async def delete(
        self,
        access: AuthorizedContainer,
        instance_id: str,
        condition: Precondition = NO_CONDITION,
        users: Callable[[CatalogOverlay, Instance], Iterable[Instance]] | None = None,
    ) -> Instance:
        """Delete an unreferenced object and return the deletion's version (R9).

        `users`: a function that finds objects that use it without a reference.
        """

        def change(draft: CatalogOverlay, now_us: int) -> Instance:
            before = _require(draft.by_instance(instance_id.lower()), instance_id, condition)
            check_unreferenced(draft, before, users(draft, before) if users is not None else ())
            return replace(_next_version(before, draft, now_us, access.principal), deleted=True)

        return await access.state.write(change)

    def get(
        self,
        access: AuthorizedContainer,
        instance_id: str,
        condition: Precondition = NO_CONDITION,
    ) -> Instance:
        """Return the current version of an object, or raise `NotFound`."""
        return _require(access.state.catalog.by_instance(instance_id.lower()), instance_id, condition)

    async def observed_profiles(self, access: AuthorizedContainer) -> Type:
        """Return the type of the stored profiles: the fields that they have."""
        return ANY if self._stored_fields is None else await self._stored_fields.of(access.id)

    def of_kind(self, access: AuthorizedContainer, kind: EntityKind) -> list[Instance]:
        """Return the objects of one kind, in the order of their creation."""
        return list(access.state.catalog.of_kind(kind).values())

    def look_up(self, access: AuthorizedContainer, kind: EntityKind, entity_id: str) -> Instance:
        """Return the object of this kind and `@id` (either spelling). Raises `NotFound`."""
        return _of_kind(access.state.catalog.by_id(entity_id), kind, entity_id)


def actor_of(principal: Principal) -> Actor:
    """Return the caller as recorded in versions."""
    return Actor(user=principal.user, client=principal.client)


def _validate(
    draft: CatalogOverlay, before: Instance | None, version: Instance, observed: Type, *, importing: bool
) -> list[Violation]:
    """Return the warnings about a version's expressions. Raises `Invalid` with all errors of the version.

    Imports accept faulty expressions and templates. Errors of expressions that can be evaluated all the same
    become warnings there.
    """
    violations = version_violations(draft, version)
    expressions = check_expressions(version, draft, before=before, observed=observed)
    if not importing:
        reported_paths = {violation.path for violation in violations}
        violations += content_violations(version, before, partial(audiences_by_name, draft))
        violations += [error for error in expressions.errors if error.path not in reported_paths]
    if violations:
        raise Invalid.of(violations)
    check_unique(draft, version)
    broken = broken_expressions(version, draft) if expressions.errors else []
    return [*(error for error in expressions.errors if error not in broken), *expressions.warnings]


def _with_indexes(version: Instance, stored: Document) -> Instance:
    """Return the version with an index for each limit of an offer, else itself."""
    if version.kind is not EntityKind.OFFER:
        return version
    document = with_indexes(version.document, stored)
    return version if document is version.document else replace(version, document=document)


def _require(instance: Instance | None, instance_id: str, condition: Precondition) -> Instance:
    hidden = instance is not None and instance.kind in INTERNAL_KINDS - {condition.kind}
    if instance is None or hidden:
        raise _not_found(instance_id)
    if condition.kind is not None and condition.kind is not instance.kind:
        raise Invalid.of(
            [
                Violation(
                    code="wrong-kind",
                    message=f"`{instance_id}` is a {instance.kind}, not a {condition.kind}",
                    path="$",
                    help=f"send the schema of {instance.kind} in the Content-Type, or none",
                )
            ]
        )
    if condition.etags is not None and instance.etag not in condition.etags:
        raise Stale(
            f"`{instance_id}` now has etag {instance.etag}; read it again and reapply your change",
            extra={"report": {"etag": instance.etag}},
        )
    return instance


def _next_version(before: Instance, draft: CatalogOverlay, now_us: int, principal: Principal) -> Instance:
    """Return the next version of an instance, with the previous document."""
    return replace(
        before,
        etag=before.etag + 1,
        revision=draft.next_revision,
        modified_us=max(now_us, before.modified_us + 1),
        modified_by=actor_of(principal),
    )


def _of_kind(instance: Instance | None, kind: EntityKind, entity_id: str) -> Instance:
    if instance is None or instance.kind in INTERNAL_KINDS:
        detail = f"there is no {KIND_LABELS[kind]} `{entity_id[:200]}`"
    elif instance.kind is not kind:
        detail = f"`{instance.id}` is {kind_phrase(instance.kind)}, not {kind_phrase(kind)}"
    else:
        return instance
    raise NotFound(detail, code="instance-not-found")


def _not_found(instance_id: str) -> NotFound:
    return NotFound(f"there is no instance `{instance_id[:200]}`", code="instance-not-found")
