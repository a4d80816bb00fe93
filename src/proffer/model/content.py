"""Content of offers: representations per placement, in one or more languages."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
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


def in_language(components: Sequence[Component], wanted: Sequence[str]) -> Component | None:
    """Return the component in the first available language of `languages`, else the first (R30).

    `en` matches `en-us`, and `de-AT` matches `de`; case is ignored. None only if there are no
    components.
    """
    if not components:
        return None
    if len(components) > 1:
        for language in wanted:
            for speaks in (_is, _speaks):  # an exact match before a near one
                for component in components:
                    if any(speaks(spoken, language) for spoken in component.language):
                        return component
    return components[0]


def _is(spoken: str, wanted: str) -> bool:
    return spoken.lower() == wanted.lower()


def _speaks(spoken: str, wanted: str) -> bool:
    spoken, wanted = spoken.lower(), wanted.lower()
    return spoken == wanted or spoken.startswith(f"{wanted}-") or wanted.startswith(f"{spoken}-")
