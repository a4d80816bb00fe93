"""Content of offers: templates are compiled at publish time and rendered for the selected offers.

A component without template marks stays the model's `Component`; only a type check is spent on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from proffer.model.content import Component
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import component_kind
from proffer.pql import Environment
from proffer.templating.compile import (
    Fault,
    Format,
    Rejected,
    Template,
    compile_template,
    has_marks,
)

_MEMBERS = ("content", "delivery_url", "link_url")
_COMPILED = 4_096
"""Maximum number of compiled template texts kept between builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Templated(Component):
    """A component with compiled templates by member; `error` is set if one does not compile."""

    templates: Mapping[str, Template] = field(default_factory=dict, hash=False)
    broken: str | None = None


def format_of(component_type: str, media_type: str, member: str = "content") -> Format:
    """Return how values are escaped in a member of a component."""
    if member != "content":
        return Format.URL
    kind = component_kind(component_type)
    if kind == "html" or media_type.startswith("text/html"):
        return Format.HTML
    if kind == "json" or media_type.startswith("application/json"):
        return Format.JSON
    return Format.TEXT


def prepared(component: Component) -> Component:
    """Return the component with its templates compiled; the same object if it has none."""
    texts = {name: text for name in _MEMBERS if (text := getattr(component, name))}
    marked = {name: text for name, text in texts.items() if has_marks(text)}
    if not marked:
        return component
    templates: dict[str, Template] = {}
    broken: str | None = None
    for name, text in marked.items():
        made = _compiled(text, format_of(component.type, component.format, name))
        if isinstance(made, Template):
            templates[name] = made
        else:
            first = made.problems[0]
            broken = broken or f"{first.message} (line {first.line}, column {first.column})"
    return Templated(
        type=component.type,
        format=component.format,
        language=component.language,
        content=component.content,
        delivery_url=component.delivery_url,
        link_url=component.link_url,
        default=component.default,
        templates=templates,
        broken=broken,
    )


@lru_cache(maxsize=_COMPILED)
def _compiled(text: str, format_: Format) -> Template | Rejected:
    return compile_template(text, format_)


class Contents:
    """Renders the content of offers for one request.

    `faults`: offer id → number of failed renderings (R23).
    """

    __slots__ = ("_environment", "_profile", "faults")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._profile: Mapping[str, Any] | None = None
        self.faults: dict[str, int] = {}

    def made(
        self,
        component: Templated,
        offer: PersonalizedOffer | FallbackOffer,
        *,
        count_faults: bool = True,
    ) -> Component | str:
        """Return the rendered component, its declared default, or the reason for neither.

        Pass `count_faults=False` for offers rendered only for a trace.
        """
        reason = component.broken
        if reason is None:
            try:
                return self._rendered(component, offer)
            except Fault as fault:
                reason = str(fault)
        if count_faults:
            self.faults[offer.id] = self.faults.get(offer.id, 0) + 1
        if component.default is None:
            return f"its content could not be made: {reason}"
        addresses = {
            name: None if name in component.templates else getattr(component, name)
            for name in ("delivery_url", "link_url")
        }
        return _plain(component, {"content": component.default, **addresses})

    def _rendered(
        self, component: Templated, offer: PersonalizedOffer | FallbackOffer
    ) -> Component:
        known = self._environment
        event = known.events if isinstance(known.events, Mapping) else {}
        environment = Environment(
            profile=self._known_profile(event),
            now=known.now,
            context=known.context,
            events=known.events,
            offer=_attributes(offer),
            variables={**known.variables, "context": event},
            tz=known.tz,
        )
        members = {name: getattr(component, name) for name in _MEMBERS}
        for name, template in component.templates.items():
            members[name] = template.render(environment)
        return _plain(component, members)

    def _known_profile(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the profile with the request's event as `timeSeriesEvents` (spec 7.5)."""
        if self._profile is None:
            self._profile = self._environment.profile
            if event and "timeSeriesEvents" not in self._profile:
                self._profile = {**self._profile, "timeSeriesEvents": event}
        return self._profile


def _attributes(offer: PersonalizedOffer | FallbackOffer) -> Mapping[str, Any]:
    if isinstance(offer, PersonalizedOffer) and offer.attributes:
        return offer.attributes
    return {"_id": offer.shown_id, "name": offer.name, "characteristics": offer.characteristics}


def _plain(component: Component, members: Mapping[str, str | None]) -> Component:
    return Component(
        type=component.type, format=component.format, language=component.language, **members
    )
