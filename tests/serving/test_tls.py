"""`--tls-cert` and `--tls-key`: https without anything in front, and files that will not do told at once."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cli.commands import Proffer
from proffer.cli.certificate import make_certificate
from support.process import PROFFER, environment
from support.workers import ask, run_workers, until

HOME = "/data/core/xcore/"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize("workers", [1, 2])
def test_https_is_served(tmp_path: Path, certificate: Path, workers: int) -> None:
    """To a client that checks the certificate; addresses in answers say https; a plain request is not answered."""
    with run_workers(tmp_path, "--tls-cert", str(certificate), "--workers", str(workers)) as server:
        assert server.address.startswith("https://127.0.0.1:")
        with closing(server.connect(trusting(certificate))) as connection:
            answers = [ask(connection, "GET", HOME) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200] * 3
        assert answers[0][2]["_embedded"]
        with closing(server.connect()) as plain, pytest.raises(OSError):  # noqa: PT011 - reset or closed
            ask(plain, "GET", HOME)
        code, err = server.end()

    assert code == 0
    assert "Traceback" not in err


def test_who_does_not_shake_hands_is_closed(tmp_path: Path, certificate: Path) -> None:
    """After the time for a head: silent, and in the middle of it."""
    options = ("--tls-cert", str(certificate), "--header-timeout", "1")
    with run_workers(tmp_path, *options) as server:
        for sent in (b"", b"\x16\x03\x01\x02\x00\x01"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
                client.sendall(sent)
                assert client.recv(1) == b""


def test_a_renewed_certificate_is_read_on_sighup(tmp_path: Path, certificate: Path) -> None:
    """Connections that come later have it; a file that cannot be used is told, and the old one stays in use."""
    path = tmp_path / "server.pem"
    shutil.copy(certificate, path)
    (tmp_path / "new").mkdir()
    renewed = make_certificate(tmp_path / "new")
    with run_workers(tmp_path, "--tls-cert", str(path)) as server:

        def served_with(expected: Path) -> bool:
            with closing(server.connect(trusting(expected))) as connection:
                try:
                    return ask(connection, "GET", HOME)[0] == 200
                except ssl.SSLCertVerificationError:
                    return False

        assert served_with(certificate)
        shutil.copy(renewed, path)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: served_with(renewed))
        path.write_text("nothing")
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr is not None
        lines = iter(server.process.stderr.readline, "")
        assert any("was not reloaded" in line for line in lines)
        assert served_with(renewed)


def test_files_that_will_not_do_are_told_at_once(proffer: Proffer, tmp_path: Path, certificate: Path) -> None:
    """Absent, no certificate, no key, another's key, a key with a passphrase: each in words, with exit code 1."""
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    text = certificate.read_text()
    only = tmp_path / "only.pem"
    only.write_text(text[: text.index("-----BEGIN PRIVATE KEY")])
    locked = tmp_path / "locked.pem"
    locked.write_text(lock(text[text.index("-----BEGIN PRIVATE KEY") :]))
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("hello")
    garbled = tmp_path / "garbled.pem"
    garbled.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for cert, key, words in (
        (tmp_path / "absent.pem", None, "cannot read the certificate"),
        (tmp_path, None, "cannot read the certificate"),
        (nothing, None, "has no certificate in PEM form"),
        (only, None, "has no private key in PEM form"),
        (only, tmp_path / "absent.pem", "cannot read the private key"),
        (only, other, "does not match the certificate"),
        (only, locked, "protected by a passphrase"),
        (garbled, other, "cannot be used"),
    ):
        options = ["--tls-cert", cert, *(["--tls-key", key] if key else [])]
        database = f"sqlite:///{tmp_path / 'p.db'}"
        ran = proffer("serve", "--port", 0, "--database", database, *options)
        assert (ran.code, ran.out) == (1, "")
        assert words in ran.err
        assert str(key or cert) in ran.err
        assert "Traceback" not in ran.err
    ran = proffer("serve", "--port", 0, "--tls-key", other)
    assert ran.code == 1
    assert "--tls-cert" in ran.err
    assert not (tmp_path / "p.db").exists()


def lock(key: str) -> str:
    """The key behind a passphrase."""
    from cryptography.hazmat.primitives import serialization

    loaded = serialization.load_pem_private_key(key.encode(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    ).decode()


def test_the_demo_makes_its_own_certificate(tmp_path: Path) -> None:
    """`proffer demo --tls`: its address is https, the file it names is trusted for it, and is gone at the end."""
    demo = subprocess.Popen(
        [*PROFFER, "demo", "--port", "0", "--tls"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert demo.stderr is not None
        assert demo.stdout is not None
        port = int(demo.stderr.readline().split("https://127.0.0.1:")[1].split()[0])
        (made,) = tmp_path.glob("*/localhost.pem")
        assert made.stat().st_mode & 0o077 == 0
        import http.client

        with closing(http.client.HTTPSConnection("localhost", port, context=trusting(made), timeout=20)) as connection:
            assert ask(connection, "GET", HOME)[0] == 200
        demo.send_signal(signal.SIGTERM)
        out, _ = demo.communicate(timeout=20)
    finally:
        demo.kill()
        demo.communicate()

    assert f"curl --cacert {made} " in out
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_demo_says_what_to_install(tmp_path: Path) -> None:
    """Not a traceback: the extra's name, and the other way."""
    program = (
        "import sys; sys.modules['cryptography'] = None; sys.argv = ['proffer', 'demo', '--tls', '--port', '0'];"
        "from proffer.cli.main import run; run()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )

    assert ran.returncode == 1
    assert "pip install 'proffer-server[tls]'" in ran.stderr
    assert list(tmp_path.iterdir()) == []
