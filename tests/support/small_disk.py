"""A folder on a small disk of its own, for tests of full disks."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A temporary file system of a given size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add_tablespace(self) -> str:
        """Return the statement that creates the tablespace `small` on this disk."""
        place = self.folder / "space"
        place.mkdir()
        place.chmod(0o777)
        shutil.chown(place, "nobody")
        return f"CREATE TABLESPACE small LOCATION '{place}'"

    def fill(self, leave_kilobytes: int) -> None:
        """Leave only this much space."""
        status = os.statvfs(self.folder)
        ballast = status.f_bavail * status.f_frsize - (leave_kilobytes << 10)
        (self.folder / "ballast").write_bytes(bytes(max(0, ballast)))

    def resize(self, megabytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", self.folder], check=True)


@contextmanager
def small_disk(parent: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk in `parent`; skip the test where that is not possible."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can make a small disk")
    folder = parent / "small"
    folder.mkdir()
    options = f"size={megabytes}m,mode=777"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be made here: {mounted.stderr.decode()}")
    try:
        for ancestor in folder.parents:
            if str(ancestor).startswith("/tmp/"):  # noqa: S108 - PostgreSQL's user must reach the folder
                ancestor.chmod(0o755)
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
