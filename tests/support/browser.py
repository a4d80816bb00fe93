"""A browser for tests: Debian's Chromium, installed where it is absent and that is possible.

`python tests/support/browser.py` installs it (`make browser`). `PROFFER_BROWSER=needed`, as CI has it, makes a
browser that cannot be had a failure instead of a reason to skip.
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
    """The path of a Chromium that is installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def install() -> str | None:
    """Chromium's path, installed from Debian's packages where it is absent, we are root and apt is there."""
    found = find()
    apt = shutil.which("apt-get")
    if found is not None or apt is None or os.geteuid() != 0:
        return found
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


def lacking() -> str | None:
    """Why pages cannot be looked at here; None where they can."""
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
        sys.stderr.write(
            "Chromium cannot be installed here: tests that look at pages will be skipped\n"
        )
