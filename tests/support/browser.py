"""A browser for tests: Debian's Chromium, installed if it is absent and can be.

`python tests/support/browser.py` installs it (`make browser`). `PROFFER_BROWSER=needed`, as CI has it, makes a
missing browser a failure instead of a reason to skip.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ALLOY = Path(__file__).parents[2] / "src" / "proffer" / "web" / "vendor" / "alloy.min.js"

FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
]


def find() -> str | None:
    """Return the path of an installed Chromium."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def install() -> str | None:
    """Return the path of Chromium; install it with apt if absent and this process is root."""
    path = find()
    apt = shutil.which("apt-get")
    if path is not None or apt is None or os.geteuid() != 0:
        return path
    quiet: Mapping[str, str] = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = (
        [apt, "install", "-y", "-qq", "--no-install-recommends", "chromium"],
        [apt, "update", "-qq"],
        [apt, "install", "-y", "-qq", "--no-install-recommends", "chromium"],
    )
    for command in commands:
        try:
            subprocess.run(command, env=quiet, check=False, timeout=600, capture_output=True)
        except (OSError, subprocess.TimeoutExpired):
            return find()
        if find() is not None:
            break
    return find()


def missing_reason() -> str | None:
    """Return why browser tests cannot run; None if they can."""
    if install() is None:
        return "there is no Chromium, and it cannot be installed: run `make browser` as root"
    if not ALLOY.exists():
        return "alloy is not there: run `make web` where npm is"
    return None


def is_needed() -> bool:
    """Whether tests that need a browser must not be skipped."""
    return os.environ.get("PROFFER_BROWSER") == "needed"


if __name__ == "__main__":
    if install() is None:
        sys.stderr.write("Chromium cannot be installed here: tests that look at pages will be skipped\n")
