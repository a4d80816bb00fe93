"""The service manager, where there is one: what it is told (sd_notify), and what its signals mean."""

import os
import socket
import sys
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"


def tell_manager(state: str) -> None:
    """Send a state to the socket that `NOTIFY_SOCKET` names; nothing happens where there is none."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with (
        suppress(OSError),  # a manager that does not listen must not keep us from serving
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.sendto(state.encode(), address)


def hangup_renews() -> bool:
    """Whether SIGHUP asks for fresh workers and certificates. In a terminal it means that the terminal is gone."""
    return sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty()
