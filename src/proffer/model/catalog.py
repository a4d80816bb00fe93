"""The catalog: the objects of one container at one revision, in memory, with their referrers.

`Catalog` holds committed versions. `CatalogOverlay` adds versions that are being validated and are not
yet durable; it can hold several, so that waiting writes share one commit. Only
`service/library/objects.py` changes either.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from proffer.model.documents import cap_rules
from proffer.model.ids import EntityKind, canonical
from proffer.model.instance import Instance
from proffer.model.references import references


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
        self._retired: set[str] = set()
        self.cap_rules = 0
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
            self._forget(before)
        if version.deleted:
            self._retired.add(version.key)
        else:
            self._remember(version)
        self.revision = version.revision

    def by_instance(self, instance_id: str) -> Instance | None:
        """Return the object with this instance id, or None."""
        return self._by_instance.get(instance_id)

    def by_id(self, entity_id: str) -> Instance | None:
        """Return the object with this `@id` (`xcore:` or `dps:`), or None."""
        return self._by_key.get(canonical(entity_id))

    def of_kind(self, kind: EntityKind) -> Mapping[str, Instance]:
        """Return the objects of one kind by instance id, in order of creation."""
        return MappingProxyType(self._by_kind[kind])

    def referrers(self, entity_id: str) -> list[Instance]:
        """Return the objects that refer to this one."""
        found = self._referrers.get(canonical(entity_id), ())
        return [self._by_instance[instance_id] for instance_id in found]

    def tag_named(self, name: str) -> Instance | None:
        """Return the tag of this name, or None. Tag names are unique (R12)."""
        holder = self._tags.get(name)
        return self._by_instance[holder] if holder is not None else None

    def is_retired(self, entity_id: str) -> bool:
        """Return whether this id was deleted while this catalog was in memory."""
        return canonical(entity_id) in self._retired

    def count(self, kind: EntityKind) -> int:
        return len(self._by_kind[kind])

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._by_instance.values())

    def __len__(self) -> int:
        return len(self._by_instance)

    def _remember(self, instance: Instance) -> None:
        self._by_instance[instance.instance_id] = instance
        self._by_key[instance.key] = instance
        self._by_kind[instance.kind][instance.instance_id] = instance
        for reference in references(instance.kind, instance.document):
            self._referrers.setdefault(reference.key, {})[instance.instance_id] = None
        if instance.kind is EntityKind.TAG:
            self._tags[instance.name] = instance.instance_id
        self.cap_rules += _cap_rules(instance)

    def _forget(self, instance: Instance) -> None:
        del self._by_instance[instance.instance_id]
        del self._by_key[instance.key]
        del self._by_kind[instance.kind][instance.instance_id]
        for reference in references(instance.kind, instance.document):
            who = self._referrers.get(reference.key, {})
            who.pop(instance.instance_id, None)
            if not who:
                self._referrers.pop(reference.key, None)
        if instance.kind is EntityKind.TAG:
            self._tags.pop(instance.name, None)
        self.cap_rules -= _cap_rules(instance)


def _cap_rules(instance: Instance) -> int:
    return cap_rules(instance.document) if instance.kind is EntityKind.OFFER else 0


class Draft:
    """The catalog as it will be once the added versions are committed."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.versions: list[Instance] = []
        self._over: dict[str, Instance] = {}
        self._over_keys: dict[str, str] = {}

    @property
    def next_revision(self) -> int:
        """The revision of the next added version."""
        return self.catalog.revision + len(self.versions) + 1

    def add(self, version: Instance) -> None:
        """Add one more version."""
        self.versions.append(version)
        self._over[version.instance_id] = version
        self._over_keys[version.key] = version.instance_id

    def by_instance(self, instance_id: str) -> Instance | None:
        version = self._over.get(instance_id)
        if version is None:
            return self.catalog.by_instance(instance_id)
        return None if version.deleted else version

    def by_id(self, entity_id: str) -> Instance | None:
        instance_id = self._over_keys.get(canonical(entity_id))
        if instance_id is None:
            return self.catalog.by_id(entity_id)
        return self.by_instance(instance_id)

    def referrers(self, entity_id: str) -> list[Instance]:
        key = canonical(entity_id)
        found = [one for one in self.catalog.referrers(key) if one.instance_id not in self._over]
        found += [
            one
            for one in self._over.values()
            if not one.deleted
            and any(reference.key == key for reference in references(one.kind, one.document))
        ]
        return found

    def tag_named(self, name: str) -> Instance | None:
        for one in self._over.values():
            if one.kind is EntityKind.TAG and one.name == name and not one.deleted:
                return one
        holder = self.catalog.tag_named(name)
        return None if holder is None or holder.instance_id in self._over else holder

    def is_taken(self, entity_id: str) -> bool:
        """Return whether an object has or had this `@id`. Ids are not reused."""
        return (
            self.by_id(entity_id) is not None
            or canonical(entity_id) in self._over_keys
            or self.catalog.is_retired(entity_id)
        )

    def of_kind(self, kind: EntityKind) -> Iterator[Instance]:
        """Yield the objects of one kind."""
        for instance_id, instance in self.catalog.of_kind(kind).items():
            if instance_id not in self._over:
                yield instance
        for one in self._over.values():
            if one.kind is kind and not one.deleted:
                yield one

    def cap_rules_beside(self, instance_id: str) -> int:
        """Return the number of capping rules of all offers except this one."""
        total = self.catalog.cap_rules
        for changed in {*self._over, instance_id}:
            before = self.catalog.by_instance(changed)
            after = self._over.get(changed)
            if before is not None:
                total -= _cap_rules(before)
            if after is not None and not after.deleted and changed != instance_id:
                total += _cap_rules(after)
        return total

    def count(self, kind: EntityKind) -> int:
        total = self.catalog.count(kind)
        for instance_id, one in self._over.items():
            if one.kind is kind:
                total += (not one.deleted) - (self.catalog.by_instance(instance_id) is not None)
        return total
