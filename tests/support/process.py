"""A server process on a free port, for tests."""

import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

PROFFER = [sys.executable, "-m", "proffer"]


def environment() -> dict[str, str]:
    """Return the environment without settings of the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PROFFER_")}


def start_server(
    folder: Path, *options: str, port: int = 0, stdin: int | None = None, **variables: str
) -> subprocess.Popen[str]:
    """Start a server with a database in `folder` and stderr piped."""
    command = [*PROFFER, "serve", "--port", str(port)]
    command += ["--database", f"sqlite:///{folder / 'proffer.db'}", *options]
    return subprocess.Popen(
        command,
        stdin=stdin,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**environment(), **variables},
    )


def listening_address(process: subprocess.Popen[str]) -> str:
    """Return the URL in the first line of a server's stderr."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "listening on " in line, line + process.stderr.read()
    return line.split("listening on ")[1].split()[0]


@contextmanager
def run_server(folder: Path, *options: str, ready: str = "/data/core/xcore/") -> Iterator[str]:
    """Run a server in dev mode with a database in `folder`; yield its URL when it is ready."""
    process = start_server(folder, "--dev", *options)
    try:
        address = listening_address(process)
        wait_for(f"{address}{ready}")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stderr is not None:
            process.stderr.close()


def wait_for(url: str, seconds: float = 20) -> None:
    """Wait until the URL responds with 200; certificates are not verified."""
    context = ssl._create_unverified_context() if url.startswith("https:") else None  # noqa: S323
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - our own
                assert answer.status == 200
                return
        except (URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
