"""Load: as much as a server takes (by wrk where it is installed, else by asyncio), or so much a second.

Both are closed and open loops of the client's own core. The paced load counts waiting from the moment
a request was due, so a server that stalls is not spared the requests it kept waiting.
"""

import asyncio
import json
import os
import re
import selectors
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import cast

from _measure import percentile

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_SCRIPT = """\
local asked, at = {}, 0
function init(args)
  local file = io.open("%s", "rb")
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    asked[#asked + 1] = file:read(length)
  end
  file:close()
end
function request()
  at = at %% #asked + 1
  return asked[at]
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\n{"requests":%%d,"us":%%d,"bad":%%d,"p50":%%d,"p99":%%d}\\n',
    summary.requests, summary.duration,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Flood:
    """Result of a saturating load: requests per second, and latencies in milliseconds."""

    rate: float
    requests: int
    p50_ms: float
    p99_ms: float


def generator() -> str:
    """Return the name of the load generator: `wrk`, or `asyncio` without it."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def flood(port: int, requests: Sequence[bytes], seconds: float, *, connections: int, core: int | None) -> Flood:
    """Keep so many connections busy for so long. Raises if a response is not 2xx."""
    if generator() == "wrk" and seconds >= 1:
        return _wrk(port, requests, round(seconds), connections, core)
    took, elapsed = asyncio.run(_closed(port, requests, seconds, connections))
    return Flood(
        rate=len(took) / elapsed,
        requests=len(took),
        p50_ms=percentile(took, 50) * 1e3,
        p99_ms=percentile(took, 99) * 1e3,
    )


def _wrk(port: int, requests: Sequence[bytes], seconds: int, connections: int, core: int | None) -> Flood:
    with tempfile.TemporaryDirectory() as name:
        requests_file, script = Path(name) / "requests", Path(name) / "script.lua"
        requests_file.write_bytes(b"".join(b"%d\n%s" % (len(raw_request), raw_request) for raw_request in requests))
        script.write_text(_SCRIPT % requests_file, encoding="utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
        if core is not None and shutil.which("taskset"):
            command = ["taskset", "-c", str(core), *command]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 30,
        )
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["bad"] == 0, done.stdout
    return Flood(
        rate=result["requests"] / result["us"] * 1e6,
        requests=result["requests"],
        p50_ms=result["p50"] / 1e3,
        p99_ms=result["p99"] / 1e3,
    )


def paced(
    port: int, requests: Sequence[bytes], seconds: float, *, rate: float, connections: int = 64
) -> list[tuple[float, float]]:
    """Send requests at a fixed rate; return due time and latency from then on of each, in seconds.

    Requests are due at equal distances. The clock of `due` is `time.time`.
    """
    # The selector with the finest clock: timers of others are rounded to milliseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_open(port, requests, seconds, rate, connections))


def once(port: int, request: bytes) -> bytes:
    """Send one request and return the response body."""

    async def ask() -> bytes:
        pool = await Pool.of(port, 1)
        body = await pool.ask(request)
        pool.close()
        return body

    return asyncio.run(ask())


async def open_connection(port: int) -> "Connection":
    """Open a connection."""
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Connection, "127.0.0.1", port))[1]


class Connection(asyncio.Protocol):
    """A connection with one request at a time; of responses only status and length are parsed."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waiting: asyncio.Future[bytes] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """Send a request; the future has the response body."""
        assert self.transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiting

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head)
        assert length is not None, self._buffer[:200]
        end = head + 4 + int(length[1])
        if len(self._buffer) < end:
            return
        answer, self._buffer = self._buffer[:end], b""
        assert self._waiting is not None
        if answer[9:10] == b"2":
            self._waiting.set_result(answer[head + 4 :])
        else:
            self._waiting.set_exception(RuntimeError(answer[:1000].decode("latin-1")))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or RuntimeError("the server closed the connection"))


class Pool:
    """A pool of open connections, with a queue of waiting tasks."""

    def __init__(self, free: Sequence[Connection]) -> None:
        self._all = free
        self._free = deque(free)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @classmethod
    async def of(cls, port: int, count: int) -> "Pool":
        return cls([await open_connection(port) for _ in range(count)])

    async def ask(self, request: bytes) -> bytes:
        while not self._free:  # who is woken may find that another came first
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        connection = self._free.popleft()
        answer = await connection.ask(request)
        self._free.append(connection)
        if self._waiting:
            self._waiting.popleft().set_result(None)
        return answer

    def close(self) -> None:
        for connection in self._all:
            connection.close()


async def _closed(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> tuple[list[float], float]:
    """Return the latency of each response, and the total time, in seconds."""
    turn = cycle(requests)
    took: list[float] = []
    pool = await Pool.of(port, connections)
    begun = time.perf_counter()

    async def keep_asking() -> None:
        while (now := time.perf_counter()) < begun + seconds:
            await pool.ask(next(turn))
            took.append(time.perf_counter() - now)

    await asyncio.wait_for(asyncio.gather(*(keep_asking() for _ in range(connections))), seconds + 30)
    pool.close()
    return took, time.perf_counter() - begun


async def _open(
    port: int, requests: Sequence[bytes], seconds: float, rate: float, connections: int
) -> list[tuple[float, float]]:
    turn: Iterator[bytes] = cycle(requests)
    answered: list[tuple[float, float]] = []
    pool = await Pool.of(port, connections)
    asking: set[asyncio.Task[None]] = set()

    async def ask(due: float) -> None:
        await pool.ask(next(turn))
        answered.append((due, time.time() - due))

    begun = time.time() + 0.05
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        ahead = due - time.time()
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif number % 16 == 0:
            await asyncio.sleep(0)  # behind: let the answers in all the same
        task = asyncio.create_task(ask(due))
        asking.add(task)
        task.add_done_callback(asking.discard)
    if asking:
        await asyncio.wait_for(asyncio.gather(*asking), 30)
    pool.close()
    return answered


def settle_on(core: int | None) -> None:
    """Pin this process to a core."""
    if core is not None:
        os.sched_setaffinity(0, {core})
