"""Registry of offers and collections, with changes since the last build."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from proffer.engine.compiled import PlayableOffer
from proffer.model.collection import Collection, FilterType
from proffer.model.offer import PersonalizedOffer

Source: TypeAlias = str | tuple[str, ...]
"""Source of a criterion's offers: a collection id, or a tuple of offer ids."""


@dataclass(slots=True)
class Offers:
    """Offers and collections, with the versions of the last build. `mark_built` ends a build."""

    _playable: dict[str, PlayableOffer] = field(default_factory=dict)
    _before: dict[str, PlayableOffer | None] = field(default_factory=dict)
    _by_tag: dict[str, set[str]] = field(default_factory=dict)
    _collections: dict[str, Collection] = field(default_factory=dict)
    _collections_by_member: dict[str, set[str]] = field(default_factory=dict)  # an offer or a tag
    _redefined: set[str] = field(default_factory=set)

    def put(self, key: str, playable: PlayableOffer) -> None:
        """Add or replace an offer."""
        self.remove(key)
        self._playable[key] = playable
        for tag in playable.offer.tags:
            self._by_tag.setdefault(tag, set()).add(key)

    def remove(self, key: str) -> None:
        playable = self._playable.pop(key, None)
        self._before.setdefault(key, playable)
        for tag in playable.offer.tags if playable is not None else ():
            discard(self._by_tag, tag, key)

    def define(self, key: str, collection: Collection) -> None:
        """Add or replace a collection."""
        self.undefine(key)
        self._collections[key] = collection
        for member in collection.ids:
            self._collections_by_member.setdefault(member, set()).add(key)

    def undefine(self, key: str) -> None:
        self._redefined.add(key)
        collection = self._collections.pop(key, None)
        for member in collection.ids if collection is not None else ():
            discard(self._collections_by_member, member, key)

    def settle(self) -> None:
        """Clear the record of changes."""
        self._before.clear()
        self._redefined.clear()

    def __getitem__(self, key: str) -> PlayableOffer:
        return self._playable[key]

    def __iter__(self) -> Iterator[PlayableOffer]:
        return iter(self._playable.values())

    def changed(self) -> Mapping[str, PlayableOffer | None]:
        """Changed offers: id → version of the last build, None for new ones."""
        return self._before

    def get(self, key: str) -> PlayableOffer | None:
        return self._playable.get(key)

    def collections_of(self, offer: PersonalizedOffer) -> set[str]:
        """Return collections naming the offer or one of its tags; other required tags may be missing."""
        found = set(self._collections_by_member.get(offer.id, ()))
        for tag in offer.tags:
            found |= self._collections_by_member.get(tag, set())
        return found

    def members(self, source: Source) -> list[PlayableOffer]:
        """Return the offers of a source, of any status."""
        found: Iterable[str]
        if not isinstance(source, str):
            found = dict.fromkeys(source)
        else:
            collection = self._collections.get(source)
            found = self._listed(collection) if collection is not None else ()
        return [self._playable[key] for key in found if key in self._playable]

    def is_redefined(self, source: Source) -> bool:
        """Return whether the collection itself has changed since the last build."""
        return isinstance(source, str) and source in self._redefined

    def belongs(self, offer: PersonalizedOffer, source: Source) -> bool:
        """Return whether the offer is a member of the source."""
        if not isinstance(source, str):
            return offer.id in source
        collection = self._collections.get(source)
        if collection is None or not collection.ids:
            return False
        if collection.filter_type is FilterType.OFFERS:
            return offer.id in collection.ids
        asked = any if collection.filter_type is FilterType.ANY_TAGS else all
        return asked(tag in offer.tags for tag in collection.ids)

    def _listed(self, collection: Collection) -> Iterable[str]:
        if collection.filter_type is FilterType.OFFERS:
            return dict.fromkeys(collection.ids)
        tagged = [self._by_tag.get(tag, set()) for tag in collection.ids]
        if not tagged:
            return ()
        any_tag = collection.filter_type is FilterType.ANY_TAGS
        return set.union(*tagged) if any_tag else set.intersection(*tagged)


def discard(index: dict[str, set[str]], source: str, key: str) -> None:
    """Remove a member from its set, and the set once empty."""
    members = index.get(source)
    if members is not None:
        members.discard(key)
        if not members:
            del index[source]
