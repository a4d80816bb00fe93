"""What a server listens on: a socket of its own or one that systemd hands over, and the certificate for https."""

import os
import resource
import socket
import ssl
import sys
from pathlib import Path

from proffer.config import Settings
from proffer.errors import Unavailable

BACKLOG = 2048
_FILES_BESIDE = 256
"""Databases, pipes, certificates and the like."""
_HANDED_OVER = 3
"""The first descriptor that a service manager passes on (sd_listen_fds)."""
_KERNEL_BALANCES = sys.platform == "linux"
"""Other systems have `SO_REUSEPORT`, too, but give all new connections to one of the sockets."""


def listen(chosen: Settings) -> socket.socket:
    """A socket bound to the address of the settings, or the one that a service manager holds for us.

    A socket that is handed over outlives this process, so whoever connects while one server makes way
    for the next only waits. Raises `Unavailable` where the port is taken.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return _ready(socket.socket(fileno=_HANDED_OVER))
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((chosen.host, chosen.port))
        if chosen.workers > 1 and _KERNEL_BALANCES:
            # Only after the bind, which must fail where another server has the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot listen on {chosen.host}:{chosen.port}: {error.strerror}; "
            "stop what uses the port, or choose another with `--port`",
            code="port-taken",
        ) from None
    return _ready(listener)


def listen_per_worker(listener: socket.socket, workers: int) -> list[socket.socket]:
    """Return one listening socket per worker on the address of `listener`, which is the first.

    The kernel spreads new connections over them (`SO_REUSEPORT`). All workers share `listener` where that is
    not possible: it belongs to a service manager, or the system is not Linux.
    """
    listeners = [listener]
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) or not _KERNEL_BALANCES:
        return listeners * workers
    while len(listeners) < workers:
        sibling = socket.socket(listener.family, listener.type)
        sibling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sibling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sibling.bind(listener.getsockname())
        except OSError:  # the service manager bound it as another user
            sibling.close()
            return [listener] * workers
        sibling.listen(BACKLOG)
        listeners.append(_ready(sibling))
    return listeners


def _ready(listener: socket.socket) -> socket.socket:
    listener.setblocking(False)  # several workers see one arrival, and only one gets it
    listener.set_inheritable(True)
    return listener


def allow_connections(most: int) -> None:
    """Let this process have so many connections open, and some files, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _FILES_BESIDE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shown(listener: socket.socket, *, tls: bool) -> str:
    """The address of a listener, as it is told to people."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    host, port = name[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def tls_context(chosen: Settings) -> ssl.SSLContext | None:
    """What https needs, from the files that the settings name; None for http.

    Raises `Unavailable`, naming the file, where one cannot be read or the two do not belong together.
    """
    if not chosen.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, chosen)
    return context


def load_certificate(context: ssl.SSLContext, chosen: Settings) -> None:
    """Read the files into a context; one that is in use has them for connections that come later."""
    cert, key = chosen.tls_cert, chosen.tls_key or chosen.tls_cert
    for path, begins, what in (
        (cert, b"-----BEGIN CERTIFICATE", "certificate"),
        (key, b"PRIVATE KEY-----", "private key"),
    ):
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise _bad(f"cannot read the {what} `{path}`: {error.strerror}") from None
        if begins not in text:
            raise _bad(f"`{path}` has no {what} in PEM form")
    try:
        context.load_cert_chain(cert, key, password=_refuse_passphrase)
    except _Passphrase:
        raise _bad(
            f"the private key `{key}` is protected by a passphrase: give one without "
            "(`openssl pkey -in KEY -out PLAIN`), readable by the server alone"
        ) from None
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error) or "MISMATCH" in str(error):
            raise _bad(
                f"the private key `{key}` is not that of the certificate `{cert}`; of a chain, the "
                "server's own certificate comes first in the file"
            ) from None
        raise _bad(f"`{cert}` and `{key}` cannot be used: {error.reason or error}") from None


class _Passphrase(Exception):
    """The key wants a passphrase, and nobody is there to type one."""


def _refuse_passphrase() -> str:
    raise _Passphrase


def _bad(detail: str) -> Unavailable:
    return Unavailable(detail, code="tls-files")
