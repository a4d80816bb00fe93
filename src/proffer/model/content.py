"""What is shown: a representation is an offer's content for one placement, in one or more languages."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One piece of content: inline text, or the address of an image.

    Texts may be templates; `default` is what stands in where one cannot be rendered.
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
    """The content of an offer for one placement: language variants of the same thing."""

    placement: str
    components: tuple[Component, ...]


def in_language(components: Sequence[Component], wanted: Sequence[str]) -> Component | None:
    """The component in the first wanted language that one of them speaks, else the first of all (R30).

    `en` is served by `en-us`, and `de-AT` by `de`; case does not matter. None only when there is
    nothing to choose from.
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
