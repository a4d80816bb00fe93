"""A port that a service manager holds: whoever comes between two servers waits for the next."""

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from support.process import PROFFER, environment, listening_address
from support.workers import RunningServer, ask, children

_AS_SYSTEMD_DOES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


def started(folder: Path, listener: socket.socket, *options: str) -> RunningServer:
    """A server that is handed the socket as systemd does it; and tells where systemd listens that it is ready."""
    command = [*PROFFER, "serve", "--dev", "--database", f"sqlite:///{folder / 'p.db'}", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", _AS_SYSTEMD_DOES, str(listener.fileno()), *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        pass_fds=[listener.fileno()],
        env={**environment(), "NOTIFY_SOCKET": str(folder / "notify")},
    )
    return RunningServer(process, listening_address(process))


def test_nobody_is_refused_between_two_servers(tmp_path: Path) -> None:
    """With one worker and with two: who connects while nobody serves is answered by the one that comes."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        for workers in ("1", "2"):
            server = started(tmp_path, listener, "--workers", workers)
            try:
                assert server.port == listener.getsockname()[1]
                assert manager.recv(4096) == b"READY=1"
                assert server.get("/healthz")[0] == 200
                code, err = server.end()
                assert (code, err) == (0, "")
                assert manager.recv(4096) == b"STOPPING=1"

                answers: list[int] = []
                waiting = server.connect()
                waiting.connect()
                client = threading.Thread(
                    target=lambda one=waiting, to=answers: to.append(ask(one, "GET", "/readyz")[0])
                )
                client.start()
                server = started(tmp_path, listener, "--workers", workers)
                client.join(30)
                waiting.close()
                assert answers == [200]
                assert manager.recv(4096) == b"READY=1"
                assert server.end(signal.SIGTERM)[0] == 0
                assert manager.recv(4096) == b"STOPPING=1"
            finally:
                for pid in (*children(server.process.pid), server.process.pid):
                    subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
                server.process.wait()
                if server.process.stderr is not None:
                    server.process.stderr.close()
