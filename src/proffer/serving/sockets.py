"""Listening sockets, the limit of open files, and the TLS context."""

import os
import resource
import socket
import ssl
import sys
from pathlib import Path

from proffer.config import Settings
from proffer.errors import Unavailable

BACKLOG = 2048
_OTHER_FILES = 256
"""Databases, pipes, certificates and the like."""
_FIRST_PASSED_FD = 3
"""The first descriptor that a service manager passes (sd_listen_fds)."""
_KERNEL_BALANCES = sys.platform == "linux"
"""Other systems have `SO_REUSEPORT`, too, but give all new connections to one of the sockets."""


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the configured address.

    If a service manager passed a socket, it is returned instead. A passed socket outlives this process, so
    clients that connect while the server restarts only wait.
    Raises `Unavailable` if the port is in use.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return _prepare(socket.socket(fileno=_FIRST_PASSED_FD))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        if settings.workers > 1 and _KERNEL_BALANCES:
            # Only after the bind, which must fail where another server has the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "stop the process that uses the port, or choose another with `--port`",
            code="port-taken",
        ) from None
    return _prepare(listener)


def listen_per_worker(listener: socket.socket, workers: int) -> list[socket.socket]:
    """Return one listening socket per worker on the address of `listener`.

    `listener` is the first. The kernel spreads new connections over them (`SO_REUSEPORT`). All workers share
    `listener` where that is not possible: it belongs to a service manager, or the system is not Linux.
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
        listeners.append(_prepare(sibling))
    return listeners


def _prepare(listener: socket.socket) -> socket.socket:
    listener.setblocking(False)  # of several workers that are woken only one accepts
    listener.set_inheritable(True)
    return listener


def allow_connections(max_connections: int) -> None:
    """Raise the limit of open files for so many connections. It is raised as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max_connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def listener_url(listener: socket.socket, *, tls: bool) -> str:
    """Return the URL of a listener, for messages."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    host, port = name[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the configured certificate and key; None for plain http.

    Raises `Unavailable`, naming the file, if one cannot be read or if they do not belong together.
    """
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, settings)
    return context


def load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    """Load the certificate and key into a context; it uses them for connections made from then on."""
    cert, key = settings.tls_cert, settings.tls_key or settings.tls_cert
    for path, marker, content_name in (
        (cert, b"-----BEGIN CERTIFICATE", "certificate"),
        (key, b"PRIVATE KEY-----", "private key"),
    ):
        try:
            pem = Path(path).read_bytes()
        except OSError as error:
            raise _tls_error(f"cannot read the {content_name} `{path}`: {error.strerror}") from None
        if marker not in pem:
            raise _tls_error(f"`{path}` has no {content_name} in PEM form")
    try:
        context.load_cert_chain(cert, key, password=_refuse_passphrase)
    except _PassphraseRequired:
        raise _tls_error(
            f"the private key `{key}` is protected by a passphrase: use one without "
            "(`openssl pkey -in KEY -out PLAIN`), readable only by the server"
        ) from None
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error) or "MISMATCH" in str(error):
            raise _tls_error(
                f"the private key `{key}` does not match the certificate `{cert}`; in a chain, the "
                "server's own certificate must be first"
            ) from None
        raise _tls_error(f"`{cert}` and `{key}` cannot be used: {error.reason or error}") from None


class _PassphraseRequired(Exception):
    """The private key is protected by a passphrase."""


def _refuse_passphrase() -> str:
    raise _PassphraseRequired


def _tls_error(detail: str) -> Unavailable:
    return Unavailable(detail, code="tls-files")
