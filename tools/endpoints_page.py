"""Generate the reference page of endpoints from the OpenAPI description.

`python tools/endpoints_page.py` writes `docs/reference/endpoints.md`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from proffer.api.kit.openapi import ERRORS
from proffer.api.openapi.document import description

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "endpoints.md"
_BASE = "http://127.0.0.1:8700"
_HEAD = """# Endpoints

This page is generated from the OpenAPI description that every server publishes at `/openapi.json`, which also
has the schemas of all documents. A request needs a token, `Authorization: Bearer …` ([issue
one](cli.md#proffer-token-create)), except in dev mode. `x-request-id` is repeated in the answer.
`x-gw-ims-org-id` and `x-sandbox-name` are optional and must match the token. No request is refused because of
its Accept header, and a slash at the end of a path does not count. Errors are problem documents
(`application/problem+json`) with a [code](errors.md).
`{container}` is the id of a container; the first endpoint lists them.
These statuses have the same meaning for every endpoint:

| status | meaning |
| --- | --- |
"""


def page() -> str:
    document = description()
    usual = "\n".join(f"| {status} | {_cell(when)} |" for status, when in ERRORS.items())
    return "\n".join([_HEAD + usual + "\n", *_groups(document)]).rstrip() + "\n"


def title(method: str, path: str) -> str:
    """Return the heading of an endpoint."""
    return f"### `{method.upper()} {path}`"


def _groups(document: Any) -> Iterator[str]:
    for group in document["tags"]:
        yield f"## {group['name'].capitalize()}\n\n{group['description']}\n"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["tags"] == [group["name"]]:
                    yield from _endpoint(method, path, operation)


def _endpoint(method: str, path: str, operation: Any) -> Iterator[str]:
    yield f"{title(method, path)}\n\n{operation['summary']}. {operation['description']}\n"
    parameters = [spec for spec in operation["parameters"] if spec["name"] != "container"]
    if parameters:
        yield "| parameter | where | what |\n| --- | --- | --- |"
        for spec in parameters:
            notes = [spec["in"]]
            if spec["required"] and spec["in"] != "path":
                notes.append("required")
            if spec["schema"].get("type") == "array":
                notes.append("repeatable")
            yield f"| `{spec['name']}` | {', '.join(notes)} | {_cell(spec['description'])} |"
        yield ""
    body = operation.get("requestBody")
    if body:
        yield f"Body: {_media_types_text(body['content'])}.\n"
    yield from _statuses(operation["responses"])
    yield f"```sh\n{_curl(method, path, operation)}\n```\n"
    example = next((spec["example"] for spec in _successes(operation) if spec.get("example") is not None), None)
    if example is not None:
        yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"


def _statuses(responses: Any) -> Iterator[str]:
    usual = []
    for status, answer in responses.items():
        if ERRORS.get(int(status)) == answer["description"]:
            usual.append(status)
        else:
            yield f"- {status}: {answer['description']}"
    yield (f"- {', '.join(usual)}: as above.\n" if usual else "")


def _successes(operation: Any) -> Iterator[Any]:
    for status, answer in operation["responses"].items():
        if int(status) < 300:
            yield from answer.get("content", {}).values()


def _media_types_text(content: Any) -> str:
    """Return the media types as text; those that differ only in their schema are merged."""
    kinds = dict.fromkeys(media_type.partition(";")[0] for media_type in content)
    return " or ".join(f"`{kind}`" + (" with a `schema`" if f"{kind};" in " ".join(content) else "") for kind in kinds)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _curl(method: str, path: str, operation: Any) -> str:
    query = []
    for spec in operation["parameters"]:
        example = spec.get("example")
        if spec["in"] == "path":
            path = path.replace(f"{{{spec['name']}}}", str(example))
        elif spec["in"] == "query" and spec["required"]:
            value = example[0] if isinstance(example, list) else example
            query.append(f"{spec['name']}={quote(value, safe=':/')}")
    address = f"'{_BASE}{path}{'?' if query else ''}{'&'.join(query)}'"
    lines = [f"curl {address}" if method == "get" else f"curl -X {method.upper()} {address}"]
    content = operation.get("requestBody", {}).get("content", {})
    for media_type, spec in content.items():
        if "example" in spec:
            body = json.dumps(spec["example"], indent=2, ensure_ascii=False)
            lines += [f"  -H 'Content-Type: {media_type}'", f"  -d '{body}'"]
            break
    return " \\\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
