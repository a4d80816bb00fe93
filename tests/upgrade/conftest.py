"""Copies of the stored installations of every version, one per test."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import proffer
from support.postgres import drop_database
from upgrade.installations import KINDS, VERSIONS, Installation, StoredVersion, copy_installation

__all__ = ["installation", "proffer", "version"]


@pytest.fixture(params=VERSIONS, ids=str)
def version(request: pytest.FixtureRequest) -> StoredVersion:
    """A version that has stored fixtures."""
    found: StoredVersion = request.param
    return found


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, version: StoredVersion, tmp_path: Path) -> Iterator[Installation]:
    """A copy of the database written by a version, for each kind."""
    copied = copy_installation(version, request.param, tmp_path)
    yield copied
    if copied.kind == "postgres":
        asyncio.run(drop_database(copied.database))
