"""A worker process, from the fork to its exit."""

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from proffer.config import Settings
from proffer.serving.server import FLUSH_S, Server
from proffer.serving.worker_table import WorkerSlot

REPLACE = signal.SIGUSR1
"""Sent by the parent to a worker that a new one has replaced; SIGTERM means that the whole server stops."""
BLOCKED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, REPLACE)
"""Signals that are blocked over the fork, until the worker has installed its handlers."""


def run_worker(
    settings: Settings,
    listener: socket.socket,
    slot: WorkerSlot,
    lifeline: int,
    make_server: Callable[[Settings, socket.socket, WorkerSlot], Server],
) -> NoReturn:
    """Serve until told to stop, then end the process.

    The parent's stack is not unwound. `lifeline` is the read end of a pipe that closes when the parent dies;
    then this worker stops, too.
    """
    exit_code = 1
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # until it serves: the parent sends SIGTERM
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        faulthandler.enable()
        server = make_server(settings, listener, slot)
        server.install_sigterm()
        signal.signal(REPLACE, lambda *_: server.replace_and_stop())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)
        _watch_parent(lifeline, server, settings.shutdown_timeout + FLUSH_S)
        server.run()
        exit_code = 0 if server.started else 3
    except SystemExit as error:
        exit_code = error.code if isinstance(error.code, int) else 0
    except KeyboardInterrupt:
        exit_code = 0
    except BaseException:  # noqa: BLE001 - the traceback is printed, and the process ends
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def _watch_parent(lifeline: int, server: Server, stop_timeout_s: float) -> None:
    """Stop the server when the parent dies, by force after the timeout; waits in a thread."""

    def wait() -> None:
        os.read(lifeline, 1)
        server.drain_s = 0
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(stop_timeout_s)
        os._exit(1)

    threading.Thread(target=wait, name="proffer-lifeline", daemon=True).start()
