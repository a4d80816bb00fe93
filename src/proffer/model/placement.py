"""Placements: places on a channel where offers appear, with the accepted content type."""

from collections.abc import Mapping
from dataclasses import dataclass

COMPONENT_TYPES = "https://ns.adobe.com/experience/offer-management/content-component-"


def component_kind(component_type: str) -> str:
    """Return the short name of a component type (`html`, `json`, …).

    Documented samples use two namespaces for one kind, with or without `-template`. An undocumented type
    is its own kind.
    """
    _, separator, short = component_type.rpartition("/content-component-")
    return short.removesuffix("-template") if separator else component_type


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """A place where an offer may appear (spec 1.1).

    `original_id` is the id as given or generated; empty if equal to `id`. The fields after it are defaults
    of requests on the current decisioning API: number of offers, whether offers of other placements may be
    repeated, whether to return content, and which metadata (None: no default).
    """

    id: str
    name: str
    etag: int
    channel: str | None
    component_type: str
    original_id: str = ""
    item_count: int = 1
    allow_duplicates: bool = False
    return_content: bool | None = None
    metadata: Mapping[str, bool] | None = None

    @property
    def public_id(self) -> str:
        """The id as responses show it."""
        return self.original_id or self.id

    def accepts(self, component_type: str) -> bool:
        """Return whether the placement accepts content of this component type."""
        return component_kind(component_type) == component_kind(self.component_type)
