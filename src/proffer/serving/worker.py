"""What a worker process does between the fork and its end."""

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
from proffer.serving.board import Row
from proffer.serving.server import FLUSH_S, Server

GIVE_WAY = signal.SIGUSR1
"""What the parent sends to a worker whose place another has taken; SIGTERM says that the whole server ends."""
OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, GIVE_WAY)
"""Signals that are held back over the fork, until the worker knows what they mean to it."""


def work(
    chosen: Settings,
    listener: socket.socket,
    row: Row,
    lifeline: int,
    make: Callable[[Settings, socket.socket, Row], Server],
) -> NoReturn:
    """Serve until told to stop, then end the process. Nothing of the parent's is unwound here.

    `lifeline` is a pipe that ends when the parent does; then this worker leaves too.
    """
    code = 1
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(OURS) - {GIVE_WAY})
        faulthandler.enable()
        server = make(chosen, listener, row)
        server.heed()
        signal.signal(GIVE_WAY, lambda *_: server.give_way())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {GIVE_WAY})
        _watch(lifeline, server, chosen.shutdown_timeout + FLUSH_S)
        server.run()
        code = 0 if server.started else 3
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        code = 0
    except BaseException:  # noqa: BLE001 - it is told, and the process ends
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave(*_: object) -> None:
    raise SystemExit(0)


def _watch(lifeline: int, server: Server, bound_s: float) -> None:
    """In a thread that sleeps until the parent is no more: leave in order, or for sure after the bound."""

    def wait() -> None:
        os.read(lifeline, 1)
        server.drain_s = 0
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(bound_s)
        os._exit(1)

    threading.Thread(target=wait, name="proffer-lifeline", daemon=True).start()
