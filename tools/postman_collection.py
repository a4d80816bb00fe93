"""Generate the Postman collection (format 2.1) from the OpenAPI description.

A folder per tag, a request per operation; `{{baseUrl}}`, `{{token}}` and the path parameters are variables.
`python tools/postman_collection.py` writes `docs/postman_collection.json`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proffer.api.openapi.document import description

PAGE = Path(__file__).parents[1] / "docs" / "postman_collection.json"
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

Json = dict[str, Any]


def text() -> str:
    """Return the collection of the published description as JSON."""
    document = collection(description(), "http://127.0.0.1:8700")
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def collection(document: Mapping[str, Any], base: str) -> Json:
    """Return the collection of an OpenAPI document; `base` is the default of `baseUrl`."""
    info = document["info"]
    operations = list(_operations(document))
    return {
        "info": {
            "name": info["title"],
            "description": info["description"],
            "schema": SCHEMA,
        },
        "auth": {
            "type": "bearer",
            "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}],
        },
        "variable": [
            {"key": "baseUrl", "value": base},
            {"key": "token", "value": ""},
        ],
        "item": [
            {
                "name": group["name"].capitalize(),
                "description": group["description"],
                "item": [
                    _item(method, path, operation)
                    for method, path, operation in operations
                    if group["name"] in operation["tags"]
                ],
            }
            for group in document["tags"]
        ],
    }


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _item(method: str, path: str, operation: Json) -> Json:
    content = operation.get("requestBody", {}).get("content", {})
    media_type = next(iter(content), None)
    headers = [_pair(parameter) for parameter in operation["parameters"] if parameter["in"] == "header"]
    request: Json = {"method": method, "description": operation["description"]}
    if operation.get("security") == []:
        request["auth"] = {"type": "noauth"}
    if media_type is not None:
        headers.insert(0, {"key": "Content-Type", "value": media_type})
        request["body"] = {
            "mode": "raw",
            "raw": json.dumps(content[media_type].get("example", {}), indent=2, ensure_ascii=False),
            "options": {"raw": {"language": "json"}},
        }
    request["header"] = headers
    request["url"] = _url(path, operation)
    return {"name": operation["summary"], "request": request, "response": []}


def _url(path: str, operation: Json) -> Json:
    segments = [f":{part[1:-1]}" if part.startswith("{") else part for part in path.split("/")[1:]]
    query = [_pair(parameter) for parameter in operation["parameters"] if parameter["in"] == "query"]
    variables = [_pair(parameter) for parameter in operation["parameters"] if parameter["in"] == "path"]
    query_string = "&".join(
        f"{parameter['key']}={parameter['value']}" for parameter in query if not parameter.get("disabled")
    )
    raw = "{{baseUrl}}/" + "/".join(segments)
    url: Json = {
        "raw": f"{raw}?{query_string}" if query_string else raw,
        "host": ["{{baseUrl}}"],
        "path": segments,
    }
    if query:
        url["query"] = query
    if variables:
        url["variable"] = variables
    return url


def _pair(parameter: Json) -> Json:
    example = parameter.get("example", "")
    if isinstance(example, list):
        example = example[0] if example else ""
    pair: Json = {
        "key": parameter["name"],
        "value": str(example),
        "description": parameter["description"],
    }
    if not parameter["required"]:
        pair["disabled"] = True
    return pair


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
