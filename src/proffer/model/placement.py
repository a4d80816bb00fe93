"""A placement: a place on a channel where an offer may appear, and the kind of content it takes."""

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
    """Where an offer may appear (spec 1.1)."""

    id: str
    name: str
    etag: int
    channel: str | None
    component_type: str

    def takes(self, component_type: str) -> bool:
        """True when content of this component type may stand here."""
        return component_kind(component_type) == component_kind(self.component_type)
