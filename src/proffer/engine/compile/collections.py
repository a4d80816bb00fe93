"""Registry of offers and collections, with changes since the last build."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from proffer.engine.compiled import BoundOffer
from proffer.model.collection import Collection, FilterType
from proffer.model.offer import PersonalizedOffer

OfferSource: TypeAlias = str | tuple[str, ...]
"""Source of a criterion's offers: a collection id, or a tuple of offer ids."""


@dataclass(slots=True)
class OfferRegistry:
    """Offers and collections, with the versions of the last build. `mark_built` ends a build."""

    _bound_offers: dict[str, BoundOffer] = field(default_factory=dict)
    _previous: dict[str, BoundOffer | None] = field(default_factory=dict)
    _by_tag: dict[str, set[str]] = field(default_factory=dict)
    _collections: dict[str, Collection] = field(default_factory=dict)
    _collections_by_member: dict[str, set[str]] = field(default_factory=dict)  # an offer or a tag
    _changed_collections: set[str] = field(default_factory=set)

    def put(self, key: str, bound_offer: BoundOffer) -> None:
        """Add or replace an offer."""
        self.remove(key)
        self._bound_offers[key] = bound_offer
        for tag in bound_offer.offer.tags:
            self._by_tag.setdefault(tag, set()).add(key)

    def remove(self, key: str) -> None:
        bound_offer = self._bound_offers.pop(key, None)
        self._previous.setdefault(key, bound_offer)
        for tag in bound_offer.offer.tags if bound_offer is not None else ():
            discard(self._by_tag, tag, key)

    def put_collection(self, key: str, collection: Collection) -> None:
        """Add or replace a collection."""
        self.remove_collection(key)
        self._collections[key] = collection
        for member in collection.ids:
            self._collections_by_member.setdefault(member, set()).add(key)

    def remove_collection(self, key: str) -> None:
        self._changed_collections.add(key)
        collection = self._collections.pop(key, None)
        for member in collection.ids if collection is not None else ():
            discard(self._collections_by_member, member, key)

    def mark_built(self) -> None:
        """Clear the record of changes."""
        self._previous.clear()
        self._changed_collections.clear()

    def __getitem__(self, key: str) -> BoundOffer:
        return self._bound_offers[key]

    def __iter__(self) -> Iterator[BoundOffer]:
        return iter(self._bound_offers.values())

    def changed_offers(self) -> Mapping[str, BoundOffer | None]:
        """Changed offers: id → version of the last build, None for new ones."""
        return self._previous

    def get(self, key: str) -> BoundOffer | None:
        return self._bound_offers.get(key)

    def collections_of(self, offer: PersonalizedOffer) -> set[str]:
        """Return collections naming the offer or one of its tags; other required tags may be missing."""
        collections = set(self._collections_by_member.get(offer.id, ()))
        for tag in offer.tags:
            collections |= self._collections_by_member.get(tag, set())
        return collections

    def members(self, source: OfferSource) -> list[BoundOffer]:
        """Return the offers of a source, of any status."""
        ids: Iterable[str]
        if not isinstance(source, str):
            ids = dict.fromkeys(source)
        else:
            collection = self._collections.get(source)
            ids = self._member_ids(collection) if collection is not None else ()
        return [self._bound_offers[key] for key in ids if key in self._bound_offers]

    def is_changed(self, source: OfferSource) -> bool:
        """Return whether the collection itself has changed since the last build."""
        return isinstance(source, str) and source in self._changed_collections

    def is_member(self, offer: PersonalizedOffer, source: OfferSource) -> bool:
        """Return whether the offer is a member of the source."""
        if not isinstance(source, str):
            return offer.id in source
        collection = self._collections.get(source)
        if collection is None or not collection.ids:
            return False
        if collection.filter_type is FilterType.OFFERS:
            return offer.id in collection.ids
        quantifier = any if collection.filter_type is FilterType.ANY_TAGS else all
        return quantifier(tag in offer.tags for tag in collection.ids)

    def _member_ids(self, collection: Collection) -> Iterable[str]:
        if collection.filter_type is FilterType.OFFERS:
            return dict.fromkeys(collection.ids)
        ids_by_tag = [self._by_tag.get(tag, set()) for tag in collection.ids]
        if not ids_by_tag:
            return ()
        any_tag = collection.filter_type is FilterType.ANY_TAGS
        return set.union(*ids_by_tag) if any_tag else set.intersection(*ids_by_tag)


def discard(index: dict[str, set[str]], source: str, key: str) -> None:
    """Remove a member from its set, and the set once empty."""
    members = index.get(source)
    if members is not None:
        members.discard(key)
        if not members:
            del index[source]
