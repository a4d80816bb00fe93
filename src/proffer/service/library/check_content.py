"""Validation of templates and JSON content when an offer is written (spec 7.5).

Violations have line and column. Services check templates only through this module, and rules through
`service/rules/check.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from json import JSONDecodeError
from typing import Any

from proffer.engine.content import escape_format
from proffer.errors import Violation
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.pql.check.audiences import check_audiences
from proffer.templating.compile import Format, Template, TemplateErrors, compile_template, has_template_tags, json_error
from proffer.templating.reads import expressions_of

_MEMBERS = {
    "xdm:content": "content",
    "xdm:copyline": "content",
    "xdm:deliveryURL": "delivery_url",
    "xdm:linkURL": "link_url",
}


Audiences = Callable[[], Mapping[str, Sequence[str]]]
"""Returns the ids of audiences by name."""


def content_violations(
    version: Instance, before: Instance | None = None, audiences: Audiences | None = None
) -> list[Violation]:
    """Return all violations in an offer's templates and JSON content; none for other kinds.

    Components that `before` has too are skipped, so that an offer stored unchecked can be changed. With
    `audiences`, names that several of them have are violations.
    """
    if version.kind not in {EntityKind.OFFER, EntityKind.FALLBACK}:
        return []
    stored = [] if before is None else [component for _, component in _components(before.document)]
    return [
        finding
        for path, component in _components(version.document)
        if component not in stored
        for finding in _component_violations(path, component, audiences)
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


def _component_violations(path: str, component: Mapping[str, Any], audiences: Audiences | None) -> Iterator[Violation]:
    type_, media = component.get("@type"), component.get("dc:format")
    for name, member in _MEMBERS.items():
        text = component.get(name)
        if not isinstance(text, str):
            continue
        format_ = escape_format(str(type_), str(media), member)
        if not has_template_tags(text):
            is_elsewhere = not text and component.get("xdm:deliveryURL")
            is_json = format_ is Format.JSON and name == "xdm:content" and not is_elsewhere
            if is_json and (error := json_error(text)) is not None:
                yield _json_violation(f"{path}.{name}", error)
            continue
        template = compile_template(text, format_)
        if isinstance(template, Template) and audiences is not None:
            yield from _audience_violations(f"{path}.{name}", template, audiences)
        for problem in template.problems if isinstance(template, TemplateErrors) else ():
            yield Violation(
                code="template",
                message=problem.message,
                path=f"{path}.{name}",
                help=problem.help or "see how content is personalized",
                line=problem.line,
                column=problem.column,
            )


def _audience_violations(path: str, template: Template, audiences: Audiences) -> Iterator[Violation]:
    for expression in expressions_of(template.body):
        for core in expression.choices:
            for finding in check_audiences(core, audiences, saving=True):
                if finding.is_error:
                    yield Violation(code=finding.code, message=finding.message, path=path, help=finding.help)


def _json_violation(path: str, error: JSONDecodeError) -> Violation:
    return Violation(
        code="json-content",
        message=f"the content is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
        path=path,
        help="write JSON (names and texts in double quotes, no comma after the last entry), or use another format",
        line=error.lineno,
        column=error.colno,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
