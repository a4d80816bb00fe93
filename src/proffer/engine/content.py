"""Content of offers: templates are compiled at publish time and rendered for the selected offers.

A component without template marks stays the model's `Component`; only a type check is spent on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from proffer.model.content import Component
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import component_kind
from proffer.pql import Environment, Schema
from proffer.templating.compile import (
    Format,
    Template,
    TemplateErrors,
    TemplateRenderError,
    compile_template,
    has_template_tags,
    json_error,
)

_TEMPLATE_MEMBERS = ("content", "delivery_url", "link_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatedComponent(Component):
    """A component with compiled templates by member, or with content that cannot be used.

    `error` is set if a template does not compile, or if the content without a template is not JSON.
    """

    templates: Mapping[str, Template] = field(default_factory=dict, hash=False)
    error: str | None = None


def escape_format(component_type: str, media_type: str, member: str = "content") -> Format:
    """Return how values are escaped in a member of a component."""
    if member != "content":
        return Format.URL
    kind = component_kind(component_type)
    if kind == "html" or media_type.startswith("text/html"):
        return Format.HTML
    if kind == "json" or media_type.startswith("application/json"):
        return Format.JSON
    return Format.TEXT


def compile_component(component: Component, schema: Schema) -> Component:
    """Return the component with its templates compiled; the same object if it has none.

    JSON content is checked here unless it is a template. Fields that the schema lacks are no errors.
    """
    texts = {name: text for name in _TEMPLATE_MEMBERS if (text := getattr(component, name))}
    text_by_member = {name: text for name, text in texts.items() if has_template_tags(text)}
    templates: dict[str, Template] = {}
    error: str | None = None
    if "content" not in text_by_member and escape_format(component.type, component.format) is Format.JSON:
        error = _json_reason(component.content)
    if not text_by_member and error is None:
        return component
    for name, text in text_by_member.items():
        compiled = _shared_template(text, escape_format(component.type, component.format, name), schema)
        if isinstance(compiled, Template):
            templates[name] = compiled
        else:
            first = compiled.problems[0]
            error = error or f"{first.message} (line {first.line}, column {first.column})"
    return TemplatedComponent(
        type=component.type,
        format=component.format,
        language=component.language,
        content=component.content,
        delivery_url=component.delivery_url,
        link_url=component.link_url,
        default=component.default,
        templates=templates,
        error=error,
    )


def _json_reason(text: str | None) -> str | None:
    """Return why the content is not JSON; None if it is, or if there is none."""
    error = json_error(text) if text else None
    return None if error is None else f"it is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"


_TEMPLATES: WeakValueDictionary[tuple[str, Format, Schema], Template] = WeakValueDictionary()


def _shared_template(text: str, format_: Format, schema: Schema) -> Template | TemplateErrors:
    """Return the compiled template, shared with everything else that uses this text."""
    template = _TEMPLATES.get((text, format_, schema))
    if template is not None:
        return template
    compiled = compile_template(text, format_, schema)
    if isinstance(compiled, Template):
        _TEMPLATES[text, format_, schema] = compiled
    return compiled


class ContentRenderer:
    """Renders the content of offers for one request.

    `faults`: offer id → number of failed renderings (R23).
    """

    __slots__ = ("_environment", "_profile", "faults")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._profile: Mapping[str, Any] | None = None
        self.faults: dict[str, int] = {}

    def render(
        self,
        component: TemplatedComponent,
        offer: PersonalizedOffer | FallbackOffer,
        *,
        count_faults: bool = True,
    ) -> Component | str:
        """Return the rendered component, its declared default, or the reason for neither.

        Pass `count_faults=False` for offers rendered only for a trace.
        """
        reason = component.error
        if reason is None:
            try:
                return self._render_templates(component, offer)
            except TemplateRenderError as fault:
                reason = str(fault)
        if count_faults:
            self.count_fault(offer)
        if component.default is None:
            return f"the content could not be rendered: {reason}"
        urls = {
            name: None if name in component.templates else getattr(component, name)
            for name in ("delivery_url", "link_url")
        }
        return _to_component(component, {"content": component.default, **urls})

    def count_fault(self, offer: PersonalizedOffer | FallbackOffer) -> None:
        self.faults[offer.id] = self.faults.get(offer.id, 0) + 1

    def _render_templates(self, component: TemplatedComponent, offer: PersonalizedOffer | FallbackOffer) -> Component:
        base = self._environment
        event = base.events if isinstance(base.events, Mapping) else {}
        environment = Environment(
            profile=self._profile_with_event(event),
            now=base.now,
            context=base.context,
            events=base.events,
            offer=_offer_attributes(offer),
            variables={**base.variables, "context": event},
            tz=base.tz,
            audience_ids=base.audience_ids,
        )
        members = {name: getattr(component, name) for name in _TEMPLATE_MEMBERS}
        for name, template in component.templates.items():
            members[name] = template.render(environment)
        return _to_component(component, members)

    def _profile_with_event(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the profile with the request's event as `timeSeriesEvents` (spec 7.5)."""
        if self._profile is None:
            self._profile = self._environment.profile
            if event and "timeSeriesEvents" not in self._profile:
                self._profile = {**self._profile, "timeSeriesEvents": event}
        return self._profile


def _offer_attributes(offer: PersonalizedOffer | FallbackOffer) -> Mapping[str, Any]:
    if isinstance(offer, PersonalizedOffer) and offer.attributes:
        return offer.attributes
    return {"_id": offer.public_id, "name": offer.name, "characteristics": offer.characteristics}


def _to_component(component: Component, members: Mapping[str, str | None]) -> Component:
    return Component(type=component.type, format=component.format, language=component.language, **members)
