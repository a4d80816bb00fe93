"""A placement: a place on a channel where an offer may appear, and the kind of content it takes."""

from collections.abc import Mapping
from dataclasses import dataclass

COMPONENT_TYPES = "https://ns.adobe.com/experience/offer-management/content-component-"


def component_kind(component_type: str) -> str:
    """The short name of a component type (`html`, `json`, …), the same for every documented spelling.

    Samples spell one kind with either of two namespaces and with or without `-template`; a type nobody
    documents is its own kind.
    """
    _, found, short = component_type.rpartition("/content-component-")
    return short.removesuffix("-template") if found else component_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an offer may appear (spec 1.1).

    `spelled` is the id as it was given or minted; empty where that is `id`. What stands below it is what a
    request on the current decisioning API gets where it does not say: how many offers, whether those
    of other placements may be repeated, whether content comes with them, and which metadata (None: not
    said here either).
    """

    id: str
    name: str
    etag: int
    channel: str | None
    component_type: str
    spelled: str = ""
    item_count: int = 1
    allow_duplicates: bool = False
    return_content: bool | None = None
    metadata: Mapping[str, bool] | None = None

    @property
    def shown_id(self) -> str:
        """The id as answers say it."""
        return self.spelled or self.id

    def takes(self, component_type: str) -> bool:
        """True when content of this component type may stand here."""
        return component_kind(component_type) == component_kind(self.component_type)
