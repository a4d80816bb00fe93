"""The catalog: the objects of one container at one revision, in memory, with their referrers.

`Catalog` holds committed versions. `CatalogOverlay` adds versions that are being validated and are not
yet durable; it can hold several, so that waiting writes share one commit. Only
`service/library/objects.py` changes either.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from proffer.model.documents import count_cap_rules
from proffer.model.ids import EntityKind, canonical
from proffer.model.instance import Instance
from proffer.model.references import find_references


class Catalog:
    """The existing objects of a container. `revision` is that of the last applied version."""

    def __init__(self, container: str, revision: int = 0) -> None:
        self.container = container
        self.revision = revision
        self._by_instance: dict[str, Instance] = {}
        self._by_key: dict[str, Instance] = {}
        self._by_kind: dict[EntityKind, dict[str, Instance]] = {kind: {} for kind in EntityKind}
        self._referrers: dict[str, dict[str, None]] = {}
        self._tags: dict[str, str] = {}
        self.cap_rule_count = 0
        """Number of capping rules of all offers together."""

    @classmethod
    def of(cls, container: str, revision: int, instances: Iterable[Instance]) -> "Catalog":
        """Create a catalog of these objects."""
        catalog = cls(container)
        for instance in instances:
            catalog.apply(instance)
        catalog.revision = revision
        return catalog

    def apply(self, version: Instance) -> None:
        """Apply one committed version: create, replace or delete the object."""
        before = self._by_instance.get(version.instance_id)
        if before is not None:
            self._unindex(before)
        if not version.deleted:
            self._index(version)
        self.revision = version.revision

    def by_instance(self, instance_id: str) -> Instance | None:
        """Return the object with this instance id, or None."""
        return self._by_instance.get(instance_id)

    def by_id(self, entity_id: str) -> Instance | None:
        """Return the object with this `@id` (`xcore:` or `dps:`), or None."""
        return self._by_key.get(canonical(entity_id))

    def of_kind(self, kind: EntityKind) -> Mapping[str, Instance]:
        """Return the objects of one kind by instance id, in creation order."""
        return MappingProxyType(self._by_kind[kind])

    def referrers(self, entity_id: str) -> list[Instance]:
        """Return the objects that refer to this one."""
        instance_ids = self._referrers.get(canonical(entity_id), ())
        return [self._by_instance[instance_id] for instance_id in instance_ids]

    def tag_by_name(self, name: str) -> Instance | None:
        """Return the tag of this name, or None. Tag names are unique (R12)."""
        instance_id = self._tags.get(name)
        return self._by_instance[instance_id] if instance_id is not None else None

    def count(self, kind: EntityKind) -> int:
        return len(self._by_kind[kind])

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._by_instance.values())

    def __len__(self) -> int:
        return len(self._by_instance)

    def _index(self, instance: Instance) -> None:
        self._by_instance[instance.instance_id] = instance
        self._by_key[instance.key] = instance
        self._by_kind[instance.kind][instance.instance_id] = instance
        for reference in find_references(instance.kind, instance.document):
            self._referrers.setdefault(reference.key, {})[instance.instance_id] = None
        if instance.kind is EntityKind.TAG:
            self._tags[instance.name] = instance.instance_id
        self.cap_rule_count += _cap_rule_count(instance)

    def _unindex(self, instance: Instance) -> None:
        del self._by_instance[instance.instance_id]
        del self._by_key[instance.key]
        del self._by_kind[instance.kind][instance.instance_id]
        for reference in find_references(instance.kind, instance.document):
            referrer_ids = self._referrers.get(reference.key, {})
            referrer_ids.pop(instance.instance_id, None)
            if not referrer_ids:
                self._referrers.pop(reference.key, None)
        if instance.kind is EntityKind.TAG:
            self._tags.pop(instance.name, None)
        self.cap_rule_count -= _cap_rule_count(instance)


def _cap_rule_count(instance: Instance) -> int:
    return count_cap_rules(instance.document) if instance.kind is EntityKind.OFFER else 0


class CatalogOverlay:
    """The catalog as it will be once the added versions are committed."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.versions: list[Instance] = []
        self._version_by_instance: dict[str, Instance] = {}
        self._instance_by_key: dict[str, str] = {}

    @property
    def next_revision(self) -> int:
        """The revision of the next added version."""
        return self.catalog.revision + len(self.versions) + 1

    def add(self, version: Instance) -> None:
        """Add one more version."""
        self.versions.append(version)
        self._version_by_instance[version.instance_id] = version
        self._instance_by_key[version.key] = version.instance_id

    def by_instance(self, instance_id: str) -> Instance | None:
        version = self._version_by_instance.get(instance_id)
        if version is None:
            return self.catalog.by_instance(instance_id)
        return None if version.deleted else version

    def by_id(self, entity_id: str) -> Instance | None:
        instance_id = self._instance_by_key.get(canonical(entity_id))
        if instance_id is None:
            return self.catalog.by_id(entity_id)
        return self.by_instance(instance_id)

    def referrers(self, entity_id: str) -> list[Instance]:
        key = canonical(entity_id)
        instances = [
            instance
            for instance in self.catalog.referrers(key)
            if instance.instance_id not in self._version_by_instance
        ]
        instances += [
            instance
            for instance in self._version_by_instance.values()
            if not instance.deleted
            and any(reference.key == key for reference in find_references(instance.kind, instance.document))
        ]
        return instances

    def tag_by_name(self, name: str) -> Instance | None:
        for version in self._version_by_instance.values():
            if version.kind is EntityKind.TAG and version.name == name and not version.deleted:
                return version
        tag = self.catalog.tag_by_name(name)
        return None if tag is None or tag.instance_id in self._version_by_instance else tag

    def is_id_used(self, entity_id: str) -> bool:
        """Return whether an object, or a version added here, has this `@id`.

        Ids of deleted objects are not reused either: the store knows them all, and refuses.
        """
        return self.by_id(entity_id) is not None or canonical(entity_id) in self._instance_by_key

    def of_kind(self, kind: EntityKind) -> Iterator[Instance]:
        """Yield the objects of one kind."""
        for instance_id, instance in self.catalog.of_kind(kind).items():
            if instance_id not in self._version_by_instance:
                yield instance
        for version in self._version_by_instance.values():
            if version.kind is kind and not version.deleted:
                yield version

    def cap_rule_count_without(self, instance_id: str) -> int:
        """Return the number of capping rules of all offers except this one."""
        total = self.catalog.cap_rule_count
        for changed_id in {*self._version_by_instance, instance_id}:
            before = self.catalog.by_instance(changed_id)
            after = self._version_by_instance.get(changed_id)
            if before is not None:
                total -= _cap_rule_count(before)
            if after is not None and not after.deleted and changed_id != instance_id:
                total += _cap_rule_count(after)
        return total

    def count(self, kind: EntityKind) -> int:
        total = self.catalog.count(kind)
        for instance_id, version in self._version_by_instance.items():
            if version.kind is kind:
                total += (not version.deleted) - (self.catalog.by_instance(instance_id) is not None)
        return total
