"""Collections: the offers of a criterion, listed or selected by tags (spec 1.4)."""

from dataclasses import dataclass
from enum import StrEnum


class FilterType(StrEnum):
    """How a collection selects its offers."""

    OFFERS = "offers"
    ANY_TAGS = "anyTags"
    ALL_TAGS = "allTags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection. `ids` are offer ids for filter type `offers`, else tag ids."""

    id: str
    name: str
    filter_type: FilterType
    ids: tuple[str, ...]

    def has(self, offer_id: str, tags: frozenset[str]) -> bool:
        """Return whether the collection includes an offer with this id and tags."""
        if self.filter_type is FilterType.OFFERS:
            return offer_id in self.ids
        if self.filter_type is FilterType.ANY_TAGS:
            return not tags.isdisjoint(self.ids)
        return bool(self.ids) and tags.issuperset(self.ids)
