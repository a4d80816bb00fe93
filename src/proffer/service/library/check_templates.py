"""Validation of content templates when an offer is written, with line and column (spec 7.5).

Services check templates only through this module, and rules through `service/rules/check.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proffer.engine.content import format_of
from proffer.errors import Finding
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.templating.compile import Rejected, compile_template, has_marks

_MEMBERS = {
    "xdm:content": "content",
    "xdm:copyline": "content",
    "xdm:deliveryURL": "delivery_url",
    "xdm:linkURL": "link_url",
}


def template_mistakes(version: Instance) -> list[Finding]:
    """Return all violations in an offer's templates; none for other kinds."""
    if version.kind not in {EntityKind.OFFER, EntityKind.FALLBACK}:
        return []
    return [
        finding
        for place, component in _components(version.document)
        for finding in _of_component(place, component)
    ]


def _components(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for at, representation in enumerate(_list(document.get("xdm:representations"))):
        listed = representation.get("xdm:components") if isinstance(representation, dict) else None
        for index, component in enumerate(_list(listed)):
            if isinstance(component, Mapping):
                yield f"$.xdm:representations[{at}].xdm:components[{index}]", component


def _of_component(place: str, component: Mapping[str, Any]) -> Iterator[Finding]:
    type_, media = component.get("@type"), component.get("dc:format")
    for name, member in _MEMBERS.items():
        text = component.get(name)
        if not isinstance(text, str) or not has_marks(text):
            continue
        made = compile_template(text, format_of(str(type_), str(media), member))
        for one in made.problems if isinstance(made, Rejected) else ():
            yield Finding(
                code="template",
                message=one.message,
                path=f"{place}.{name}",
                help=one.help or "see how content is personalized",
                line=one.line,
                column=one.column,
            )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
