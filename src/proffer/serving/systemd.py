"""Service manager integration: sd_notify messages and the meaning of SIGHUP."""

import os
import socket
import sys
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify_manager(state: str) -> None:
    """Send a state to the socket that `NOTIFY_SOCKET` names; do nothing without one."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with (
        suppress(OSError),  # a manager that does not listen must not keep us from serving
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.sendto(state.encode(), address)


def sighup_reloads() -> bool:
    """Return whether SIGHUP asks for new workers and certificates.

    It does not where stdin is a terminal: there it means that the terminal was closed.
    """
    return sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty()
