"""A server in dev mode with the small library, for every test of the edge."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from api.ode.library import fill
from support.server import server


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client
