"""In-memory store: the reference for the other stores, and a fast double for tests.

Data lives as long as the process. No method awaits anything, so on one event loop every method is
atomic; that makes it a reference.
"""

import asyncio
from collections import ChainMap, Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from proffer.errors import Conflict
from proffer.model.audience import AudienceEvaluation
from proffer.model.capping import OfferCaps
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.model.lease import Lease
from proffer.model.token import StoredToken
from proffer.store.common.versions import (
    InstanceHead,
    check_order,
    check_revision,
    check_version,
    container_id_conflict,
    decode_document,
    encode_document,
    existing_at,
    unknown_container,
)
from proffer.store.memory.caps import MemoryCaps, MemoryLedger
from proffer.store.memory.customers import MemoryCustomers
from proffer.store.memory.feedback import MemoryFeedback
from proffer.store.ports import POLL_SECONDS


@dataclass(slots=True)
class _Library:
    """A container with all versions; `newest`: by instance id; `holders`: `@id` → instance id."""

    container: Container
    versions: list[Instance] = field(default_factory=list)
    newest: dict[str, Instance] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)


class MemoryStore(MemoryCustomers, MemoryCaps, MemoryFeedback):
    """A `Store` in memory; its data is lost with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._libraries: dict[str, _Library] = {}
        self._sandboxes: dict[tuple[str, str], str] = {}
        self._tokens: dict[str, StoredToken] = {}
        self._leases: dict[str, Lease] = {}
        self._evaluations: dict[str, AudienceEvaluation] = {}

    @classmethod
    async def open(cls) -> Self:
        """Return a new, empty store."""
        return cls()

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def containers(self) -> Sequence[Container]:
        all_containers = (library.container for library in self._libraries.values())
        return tuple(sorted(all_containers, key=lambda container: (container.created_us, container.id)))

    async def ensure_container(self, container: Container) -> Container:
        sandbox = (container.organisation, container.sandbox)
        if sandbox in self._sandboxes:
            return self._libraries[self._sandboxes[sandbox]].container
        if container.id in self._libraries:
            raise container_id_conflict(container)
        self._libraries[container.id] = _Library(container)
        self._sandboxes[sandbox] = container.id
        return container

    async def live(self, container_id: str) -> tuple[int, Sequence[Instance]]:
        library = self._libraries.get(container_id)
        if library is None:
            return 0, ()
        alive = (version for version in library.newest.values() if not version.deleted)
        return library.container.revision, tuple(sorted(alive, key=lambda each: each.revision))

    async def live_at(self, container_id: str, revision: int, *, changed_since: int = 0) -> Sequence[Instance] | None:
        versions = self._versions(container_id)
        last_revisions = {version.instance_id: version.revision for version in versions}
        newest = {
            version.instance_id: version
            for version in versions
            if version.revision <= revision and last_revisions[version.instance_id] >= changed_since
        }
        return existing_at(sorted(newest.values(), key=lambda version: version.revision), revision)

    async def version_at(self, container_id: str, revision: int, key: str) -> Instance | None:
        versions = (each for each in self._versions(container_id) if each.revision <= revision and each.key == key)
        return max(versions, key=lambda version: version.revision, default=None)

    async def since(self, container_id: str, revision: int) -> Sequence[Instance]:
        return tuple(each for each in self._versions(container_id) if each.revision > revision)

    async def commit(
        self,
        container_id: str,
        based_on: int,
        versions: Sequence[Instance],
        caps: Sequence[OfferCaps] | None = None,
    ) -> None:
        check_order(container_id, based_on, versions)
        library = self._libraries.get(container_id)
        check_revision(container_id, library.container.revision if library else None, based_on)
        if library is None or not versions:
            return
        # Written to new maps over the stored ones, so that a rejected version leaves those unchanged.
        newest: dict[str, Instance] = {}
        holders: dict[str, str] = {}
        stored = [
            _add_version(each, ChainMap(newest, library.newest), ChainMap(holders, library.holders))
            for each in versions
        ]
        library.versions += stored
        library.newest |= newest
        library.holders |= holders
        library.container = replace(library.container, revision=stored[-1].revision)
        if caps is not None:
            ledger = self._ledger(container_id)
            ledger.put_limits(caps)
            if ledger.revision == based_on:
                ledger.revision = stored[-1].revision

    async def history(self, container_id: str, instance_id: str) -> Sequence[Instance]:
        versions = self._versions(container_id)
        return tuple(each for each in versions if each.instance_id == instance_id)

    async def revisions(self) -> Mapping[str, int]:
        return MappingProxyType({key: library.container.revision for key, library in self._libraries.items()})

    async def await_change(self) -> None:
        await asyncio.sleep(POLL_SECONDS)

    async def lease(self, name: str) -> Lease:
        return self._leases.get(name, Lease(name=name))

    async def put_lease(self, lease: Lease) -> Lease | None:
        if (await self.lease(lease.name)).version != lease.version:
            return None
        self._leases[lease.name] = replace(lease, version=lease.version + 1)
        return self._leases[lease.name]

    async def audience_evaluation(self, container_id: str) -> AudienceEvaluation | None:
        return self._evaluations.get(container_id)

    async def put_audience_evaluation(self, evaluation: AudienceEvaluation) -> None:
        if evaluation.container not in self._libraries:
            raise unknown_container(evaluation.container)
        self._evaluations[evaluation.container] = evaluation

    async def counts(self, container_id: str) -> Mapping[EntityKind, int]:
        _, alive = await self.live(container_id)
        return MappingProxyType(dict(Counter(each.kind for each in alive)))

    def _versions(self, container_id: str) -> Sequence[Instance]:
        library = self._libraries.get(container_id)
        return library.versions if library else ()

    def _revision(self, container_id: str) -> int:
        library = self._libraries.get(container_id)
        return library.container.revision if library else 0

    def _ledger_of(self, container_id: str) -> MemoryLedger:
        return self._ledger(container_id)

    def _has_container(self, container_id: str) -> bool:
        return container_id in self._libraries

    async def add_token(self, token: StoredToken) -> None:
        for stored_token in self._tokens.values():
            if token.id == stored_token.id or token.digest == stored_token.digest:
                raise Conflict(f"token `{token.id}` already exists", code="token-taken")
        self._tokens[token.id] = token

    async def token(self, digest: str) -> StoredToken | None:
        return next((each for each in self._tokens.values() if each.digest == digest), None)

    async def tokens(self) -> Sequence[StoredToken]:
        return tuple(sorted(self._tokens.values(), key=lambda token: (token.created_us, token.id)))

    async def revoke_token(self, token_id: str, now_us: int) -> bool:
        token = self._tokens.get(token_id)
        if token is None or token.revoked_us is not None:
            return False
        self._tokens[token_id] = replace(token, revoked_us=now_us)
        return token.expires_us is None or now_us < token.expires_us


def _add_version(
    version: Instance, newest: MutableMapping[str, Instance], holders: MutableMapping[str, str]
) -> Instance:
    """Check a version and add it to the maps. Its document is copied."""
    last = newest.get(version.instance_id)
    head = InstanceHead(key=last.key, etag=last.etag, deleted=last.deleted) if last else None
    check_version(version, head, holders.get(version.key))
    stored = replace(version, document=decode_document(encode_document(version)))
    newest[version.instance_id] = stored
    holders[version.key] = version.instance_id
    return stored
