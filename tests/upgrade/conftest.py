"""Copies of the stored installations of every version, one per test."""

import asyncio
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest

from cli.commands import proffer
from support.postgres import drop_database
from upgrade.installations import KINDS, VERSIONS, Installation, StoredVersion, copy_installation

__all__ = ["installation", "proffer", "sources", "version"]

REPOSITORY = Path(__file__).parents[2]


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


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function to the source folder of a commit.

    Each commit is extracted once; without the git history the test is skipped.
    """

    @cache
    def source(commit: str) -> Path | None:
        if shutil.which("git") is None:
            return None
        archived = subprocess.run(["git", "archive", commit, "src"], cwd=REPOSITORY, capture_output=True, check=False)
        if archived.returncode != 0:
            return None
        folder = tmp_path_factory.mktemp("earlier")
        with tarfile.open(fileobj=BytesIO(archived.stdout)) as archive:
            archive.extractall(folder, filter="data")
        return folder / "src"

    def source_or_skip(commit: str) -> Path:
        folder = source(commit)
        if folder is None:
            pytest.skip(f"commit {commit} is not in the git history here; a full clone has it")
        return folder

    return source_or_skip
