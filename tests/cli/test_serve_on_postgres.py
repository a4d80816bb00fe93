"""Two servers on one PostgreSQL are one installation."""

import time
from pathlib import Path

import httpx2

from support.postgres import lent_database
from support.process import run_server
from support.server import NAMESPACE, XCORE

TAG = f'application/schema-instance+json; version=1;  schema="{NAMESPACE}tag"'


def tags(address: str) -> set[str]:
    query = {"schema": f"{NAMESPACE}tag", "limit": "1000"}
    page = httpx2.get(f"{address}{XCORE}/instances", params=query, timeout=20).json()
    return {one["_instance"]["xdm:name"] for one in page["_embedded"]["results"]}


def test_what_one_server_took_the_other_serves(tmp_path: Path) -> None:
    """Tags created by turns on both are listed by both, and are there for a third that comes later."""
    with lent_database() as url:
        options = ("--database", url)
        with run_server(tmp_path, *options) as one, run_server(tmp_path, *options) as two:
            for number in range(8):
                answer = httpx2.post(
                    f"{(one, two)[number % 2]}{XCORE}/instances",
                    json={"xdm:name": f"tag {number}"},
                    headers={"Content-Type": TAG},
                    timeout=20,
                )
                assert answer.status_code == 201, answer.text
            expected = {f"tag {number}" for number in range(8)}
            until = time.monotonic() + 20
            while not tags(one) == tags(two) == expected:
                assert time.monotonic() < until
        with run_server(tmp_path, *options) as later:
            assert expected == tags(later)
    assert list(tmp_path.iterdir()) == []
