"""GET /openapi.json: it is a valid OpenAPI document, it is complete, and what it says is true."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from proffer.model.documents import SHAPES, document_violations
from proffer.model.ids import SERVED_KINDS, EntityKind
from proffer.wire.openapi import json_schema
from support.server import server


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server() as client:
        yield client


@pytest.fixture(scope="module")
def document(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resolved(document: Any, schema: Any) -> dict[str, Any]:
    """A schema that can be used on its own."""
    return {**schema, "components": document["components"]}


def is_valid(document: Any, schema: Any, value: Any) -> bool:
    return jsonschema_rs.is_valid(resolved(document, schema), value)


def test_every_route_is_described(client: TestClient, document: Any) -> None:
    """Every path and method that the app serves stands in the document, and no other."""
    served = {
        (method, route.path)
        for route in client.app.routes  # type: ignore[attr-defined]
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(method, path) for method, path, _ in operations(document)}

    assert served - described == set()
    assert described - served == set()


def test_it_names_the_package(document: Any) -> None:
    """OpenAPI 3.1, with the title and version of the package."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Proffer"
    assert document["info"]["version"] == version("proffer-server")


def test_every_schema_is_a_schema(document: Any) -> None:
    """Each can be compiled, and every reference leads to one."""
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.validator_for(resolved(document, schema))
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]


def test_every_operation_says_what_it_needs(document: Any) -> None:
    """Its name is its own, its path parameters are declared, and its refusals are problem documents."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for _, path, operation in operations(document):
        declared = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path))
        assert operation["summary"]
        assert operation["description"]
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"]
        if operation.get("security") != []:
            assert {"401", "403", "500", "503"} <= operation["responses"].keys()


def test_every_example_fits_its_schema(document: Any) -> None:
    """Of bodies and of answers."""
    found = 0
    for _, _, operation in operations(document):
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in contents:
            for one in content.get("content", {}).values():
                if "example" in one:
                    found += 1
                    assert is_valid(document, one["schema"], one["example"]), one["example"]
    assert found > 20


def test_the_examples_work_as_they_stand(client: TestClient, document: Any) -> None:
    """Created in the order of the document, they make a library; its decision gives the answer shown."""
    container = example_of(document, "getContainer", "container")
    create = next(one for _, _, one in operations(document) if one["operationId"] == "createInstance")
    for media_type, content in create["requestBody"]["content"].items():
        if "schema=" in media_type:
            answer = client.post(
                f"/data/core/xcore/{container}/instances",
                json=content["example"],
                headers={"Content-Type": media_type},
            )
            assert answer.status_code == 201, answer.text
    decide = next(one for _, _, one in operations(document) if one["operationId"] == "decide")
    answers = decide["responses"]["200"]["content"]
    for media_type, content in decide["requestBody"]["content"].items():
        answer = client.post(
            f"/data/core/ode/{container}/decisions",
            json=content["example"],
            headers={"Content-Type": media_type},
        )
        assert answer.status_code == 200, answer.text
        shown = answers[media_type.replace("decision-request", "decision-response")]["example"]
        own = {"xdm:propositionId", "xdm:propositionID", "ode:createDate"}
        assert {k: v for k, v in answer.json().items() if k not in own} == {
            k: v for k, v in shown.items() if k not in own
        }


def example_of(document: Any, operation_id: str, parameter: str) -> str:
    operation = next(one for _, _, one in operations(document) if one["operationId"] == operation_id)
    return str(next(one["example"] for one in operation["parameters"] if one["name"] == parameter))


@pytest.mark.parametrize("kind", SERVED_KINDS)
def test_schemas_of_kinds_agree_with_the_validation(document: Any, kind: EntityKind) -> None:
    """What the validation accepts, the schema accepts; a missing member and a wrong type are refused by both."""
    schema = document["components"]["schemas"][kind]
    create = next(one for _, _, one in operations(document) if one["operationId"] == "createInstance")
    (example,) = (
        content["example"]
        for media_type, content in create["requestBody"]["content"].items()
        if media_type.endswith(f'/{kind}"')
    )
    assert schema == json_schema(SHAPES[kind])
    assert document_violations(kind, example) == []
    for name in example:
        without = {key: value for key, value in example.items() if key != name}
        if document_violations(kind, without) == []:
            assert is_valid(document, schema, without)
        assert document_violations(kind, {**example, name: 7})
        assert not is_valid(document, schema, {**example, name: 7})


def test_nobody_needs_a_token_to_read_it() -> None:
    """Description and health are open where everything else is not."""
    with server(dev=False) as client:
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/data/core/xcore/").status_code == 401
        assert client.post("/healthz").status_code == 405
        assert client.head("/healthz").status_code == 200
