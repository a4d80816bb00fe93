"""Content of offers: representations per placement, in one or more languages."""

from collections.abc import Sequence
from dataclasses import dataclass

from proffer.model.languages import best_variant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Component:
    """One piece of content: inline text, or the URL of an image.

    Texts may be templates; `default` is used if one cannot be rendered.
    """

    type: str
    format: str
    language: tuple[str, ...] = ()
    content: str | None = None
    delivery_url: str | None = None
    link_url: str | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """The content of an offer for one placement, as language variants."""

    placement: str
    components: tuple[Component, ...]


def component_in_language(components: Sequence[Component], languages: Sequence[str]) -> Component | None:
    """Return the component in the first available language, else the first (R30).

    None only if there are no components.
    """
    if not components:
        return None
    if len(components) == 1 or not languages:
        return components[0]
    available = tuple([component.language for component in components])
    return components[best_variant(tuple(languages), available) or 0]
