"""Servers to measure: Proffer over a prepared database, and a bare app.

    python bench/_servers.py 715,2279     serves the bare app, with a response of each size at `/0`, `/1`, …

Each server is a process group, pinned to a core if one is given, and can be suspended while it is idle.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, Services, open_store
from proffer.auth.principal import Permission, Principal
from proffer.config import Settings
from proffer.service.imports.files import open_file
from proffer.service.library.load import library_entries

_LISTENING = re.compile(r"listening on http://[^:]+:(\d+)")
BY = Principal(
    organisation=DEV_ORGANISATION,
    sandbox=None,
    permissions=frozenset({Permission.ADMIN}),
    user="bench",
    client="bench",
)


@cache
def cores() -> tuple[int | None, int | None]:
    """Return the cores of the servers and of the client, from the affinity at the start.

    They are equal with one core, and None where affinity is not supported.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    free = sorted(os.sched_getaffinity(0))
    return free[0], free[-1]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its process and the child processes."""

    process: subprocess.Popen[str]
    port: int

    def processes(self) -> list[int]:
        """Return its process ids, the main process first."""
        pids = [self.process.pid]
        for pid in pids:
            with suppress(OSError):
                text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
                pids += map(int, text.split())
        return pids

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, in seconds; 0 if the system does not report it."""
        total = 0.0
        for pid in self.processes():
            with suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
                user, system = stat.rpartition(")")[2].split()[11:13]
                total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return total

    def resident_mb(self) -> dict[int, float]:
        """Return resident megabytes by process id."""
        megabytes = {}
        for pid in self.processes():
            with suppress(OSError):
                pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
                megabytes[pid] = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        return megabytes

    def freeze(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)


@contextmanager
def run_server(command: Sequence[str], core: int | None) -> Iterator[Server]:
    """Run a server, pinned with its children to a core; yield it when it listens."""

    def settle() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    process = subprocess.Popen(
        [sys.executable, *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        process_group=0,
        preexec_fn=settle,  # noqa: PLW1509 - nothing else runs yet in this process but the main thread
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if match := _LISTENING.search(line):
                yield Server(process, int(match[1]))
                break
            print(line, end="", file=sys.stderr)
        else:
            raise SystemExit("the server did not start")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def proffer(database: str, *options: str, workers: int = 1, core: int | None) -> AbstractContextManager[Server]:
    """Run Proffer over this database in dev mode."""
    command = ["-m", "proffer", "serve", "--dev", "--port", "0", "--database", database]
    return run_server([*command, "--workers", str(workers), *options], core)


def echo(sizes: Iterable[int], core: int | None) -> AbstractContextManager[Server]:
    """Run the bare app with a response of each of these sizes."""
    return run_server([__file__, ",".join(map(str, sizes))], core)


def serve_echo(sizes: Sequence[int]) -> None:
    """Serve the bare app, which decodes requests with msgspec and encodes a response of a given size."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    option = {"xdm:id": "x" * 40, "repo:etag": "1", "@type": "y" * 60, "dc:format": "text/html"}
    bare = len(msgspec.json.encode({"xdm:propositions": [option], "xdm:content": ""}))
    answers = [{"xdm:propositions": [option], "xdm:content": "z" * max(size - bare, 1)} for size in sizes]
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode

    async def respond(request: Request) -> Response:
        decode(await request.body())
        document = answers[request.path_params["which"]]
        return Response(encode(document), media_type="application/json")

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    app = Starlette(routes=[Route("/{which:int}", respond, methods=["POST"])])
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


async def _write(folder: Path, settings: Settings, library: Mapping[str, Any], customers: Sequence[Any]) -> None:
    services = Services(await open_store(settings))
    try:
        await services.start(dev=True)
        for kind, section in groupby(library_entries(dict(library)), key=lambda entry: entry[0]):
            creating = (
                services.catalog.create(services.registry.authorize(BY, DEV_CONTAINER), kind, document)
                for _, _, document in section
            )
            await asyncio.gather(*creating)
        if customers:
            path = folder / "customers.jsonl"
            path.write_bytes(b"\n".join(map(msgspec.json.encode, customers)) + b"\n")
            rejects = folder / "rejects.jsonl"
            done = await services.imports.run(
                services.registry.authorize(BY, DEV_CONTAINER),
                open_file(path),
                rejects,
                dataset="crm",
            )
            assert done.accepted == len(customers), "some customers were refused"
    finally:
        await services.stop()


def create_database(
    folder: Path, library: Mapping[str, Any], customers: Sequence[Any] = (), name: str = "bench"
) -> str:
    """Create a SQLite database with this library and these customers; return its URL."""
    return fill_database(f"sqlite:///{folder / name}.db", folder, library, customers)


def fill_database(database: str, folder: Path, library: Mapping[str, Any], customers: Sequence[Any] = ()) -> str:
    """Fill a database of any kind; temporary files go to `folder`. Return its URL."""
    asyncio.run(_write(folder, Settings(database=database), library, customers))
    return database


if __name__ == "__main__":
    serve_echo([int(size) for size in sys.argv[1].split(",")])
