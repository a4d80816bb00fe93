"""Content of offers: representations per placement, in one or more languages."""

from collections.abc import Sequence
from dataclasses import dataclass


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

    `en` matches `en-us`, and `de-AT` matches `de`; case is ignored. None only if there are no
    components.
    """
    if not components:
        return None
    if len(components) > 1:
        for language in languages:
            for matches in (
                _is_same_language,
                _is_similar_language,
            ):  # an exact match before a near one
                for component in components:
                    if any(matches(available, language) for available in component.language):
                        return component
    return components[0]


def _is_same_language(available: str, requested: str) -> bool:
    return available.lower() == requested.lower()


def _is_similar_language(available: str, requested: str) -> bool:
    available, requested = available.lower(), requested.lower()
    return available == requested or available.startswith(f"{requested}-") or requested.startswith(f"{available}-")
