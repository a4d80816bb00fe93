"""Conversion of rows to values and back, in `statements.py` column order."""

from functools import lru_cache
from sys import intern
from typing import Any, TypeAlias

import msgspec

from proffer.model.audience import AudienceEvaluation
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Container, Instance
from proffer.model.lease import Lease
from proffer.model.token import StoredToken
from proffer.store.common.versions import decode_document, encode_document

Row: TypeAlias = tuple[Any, ...]


def from_container(container: Container) -> Row:
    return (
        container.id,
        container.organisation,
        container.sandbox,
        container.name,
        container.created_us,
        container.created_by.user,
        container.created_by.client,
        container.revision,
    )


def to_container(row: Row) -> Container:
    key, organisation, sandbox, name, created_us, user, client, revision = row
    return Container(
        id=key,
        organisation=organisation,
        sandbox=sandbox,
        name=name,
        created_us=created_us,
        created_by=Actor(user=user, client=client),
        revision=revision,
    )


def from_version(version: Instance) -> Row:
    return (
        version.container,
        version.revision,
        version.instance_id,
        version.kind.value,
        version.id,
        version.etag,
        version.created_us,
        version.modified_us,
        version.created_by.user,
        version.created_by.client,
        version.modified_by.user,
        version.modified_by.client,
        int(version.deleted),
        encode_document(version),
    )


def to_version(row: Row) -> Instance:
    return Instance(
        container=intern(row[0]),
        revision=row[1],
        instance_id=row[2],
        kind=EntityKind(row[3]),
        id=row[4],
        etag=row[5],
        created_us=row[6],
        modified_us=row[7],
        created_by=_actor(row[8], row[9]),
        modified_by=_actor(row[10], row[11]),
        deleted=bool(row[12]),
        document=decode_document(row[13]),
    )


@lru_cache(maxsize=256)  # few authors write thousands of objects: share their instances
def _actor(user: str, client: str) -> Actor:
    return Actor(user=user, client=client)


def head_row(version: Instance) -> Row:
    """Return the row of `instances` once this version is the newest."""
    return (
        version.container,
        version.instance_id,
        version.key,
        version.kind.value,
        version.etag,
        version.revision,
        int(version.deleted),
    )


def from_token(token: StoredToken) -> Row:
    return (
        token.id,
        token.digest,
        token.organisation,
        token.sandbox,
        msgspec.json.encode(sorted(token.permissions)).decode(),
        token.label,
        token.created_us,
        token.expires_us,
        token.revoked_us,
    )


def to_token(row: Row) -> StoredToken:
    key, digest, organisation, sandbox, permissions, label, created_us, expires_us, revoked_us = row
    return StoredToken(
        id=key,
        digest=digest,
        organisation=organisation,
        sandbox=sandbox,
        permissions=msgspec.json.decode(permissions, type=frozenset[str]),
        label=label,
        created_us=created_us,
        expires_us=expires_us,
        revoked_us=revoked_us,
    )


def from_evaluation(evaluation: AudienceEvaluation) -> Row:
    return (
        evaluation.container,
        evaluation.revision,
        evaluation.meaning,
        evaluation.started_us,
        evaluation.finished_us,
        evaluation.customers,
        evaluation.changed,
    )


def to_evaluation(row: Row) -> AudienceEvaluation:
    container, revision, meaning, started_us, finished_us, customers, changed = row
    return AudienceEvaluation(
        container=container,
        revision=revision,
        meaning=meaning,
        started_us=started_us,
        finished_us=finished_us,
        customers=customers,
        changed=changed,
    )


def to_lease(name: str, row: Row | None) -> Lease:
    """Return the lease of a row of owner, end and version; a free one without a row."""
    if row is None:
        return Lease(name=name)
    owner, until_us, version = row
    return Lease(name=name, owner=owner, until_us=until_us, version=version)
