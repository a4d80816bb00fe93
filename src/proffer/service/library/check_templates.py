"""Validation of content templates when an offer is written (spec 7.5).

Violations have line and column. Services check templates only through this module, and rules through
`service/rules/check.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proffer.engine.content import escape_format
from proffer.errors import Violation
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.templating.compile import TemplateErrors, compile_template, has_template_tags

_MEMBERS = {
    "xdm:content": "content",
    "xdm:copyline": "content",
    "xdm:deliveryURL": "delivery_url",
    "xdm:linkURL": "link_url",
}


def template_violations(version: Instance) -> list[Violation]:
    """Return all violations in an offer's templates; none for other kinds."""
    if version.kind not in {EntityKind.OFFER, EntityKind.FALLBACK}:
        return []
    return [
        finding
        for path, component in _components(version.document)
        for finding in _component_violations(path, component)
    ]


def _components(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for representation_index, representation in enumerate(_list(document.get("xdm:representations"))):
        components = representation.get("xdm:components") if isinstance(representation, dict) else None
        for index, component in enumerate(_list(components)):
            if isinstance(component, Mapping):
                yield (
                    f"$.xdm:representations[{representation_index}].xdm:components[{index}]",
                    component,
                )


def _component_violations(path: str, component: Mapping[str, Any]) -> Iterator[Violation]:
    type_, media = component.get("@type"), component.get("dc:format")
    for name, member in _MEMBERS.items():
        text = component.get(name)
        if not isinstance(text, str) or not has_template_tags(text):
            continue
        template = compile_template(text, escape_format(str(type_), str(media), member))
        for problem in template.problems if isinstance(template, TemplateErrors) else ():
            yield Violation(
                code="template",
                message=problem.message,
                path=f"{path}.{name}",
                help=problem.help or "see how content is personalized",
                line=problem.line,
                column=problem.column,
            )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
