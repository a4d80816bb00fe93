"""`proffer serve` as a process: how it starts, refuses to, and ends; and that it loses nothing when it is killed."""

import itertools
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from cli.commands import Proffer
from support.process import PROFFER, environment, listening_address, wait_for
from support.server import NAMESPACE, XCORE

ROUNDS = 4


@contextmanager
def process(database: Path, *options: str, **variables: str) -> Iterator[tuple[Any, str]]:
    """A server process and its address; killed at the end unless it has ended."""
    command = [*PROFFER, "serve", "--port", "0", "--database", f"sqlite:///{database}", *options]
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), **variables},
    )
    try:
        yield started, listening_address(started)
    finally:
        started.kill()
        started.communicate()


def test_dev_mode_is_refused_where_others_can_reach_it(proffer: Proffer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option and by variable, with exit code 1 and what to do instead."""
    everywhere = "0.0.0.0"  # noqa: S104 - refused
    ran = proffer("serve", "--dev", "--host", everywhere, "--port", 0)
    assert (ran.code, ran.out) == (1, "")
    assert "loopback" in ran.err
    assert "proffer token create" in ran.err
    monkeypatch.setenv("PROFFER_DEV", "true")
    monkeypatch.setenv("PROFFER_HOST", everywhere)
    assert proffer("serve", "--port", 0) == ran


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_busy_port_is_told_at_once(proffer: Proffer, command: str, tmp_path: Path) -> None:
    """In words, with exit code 1, before anything is created."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = () if command == "demo" else ("--database", f"sqlite:///{tmp_path / 'p.db'}")
        ran = proffer(command, "--port", port, *options)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"proffer: cannot listen on 127.0.0.1:{port}: ")
    assert "--port" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_opened_is_told_at_once(proffer: Proffer, tmp_path: Path) -> None:
    """In words too: no traceback of a server that did not start."""
    (tmp_path / "bad.db").write_text("no database" * 100)
    for database in (tmp_path / "bad.db", tmp_path / "no" / "folder.db"):
        ran = proffer("serve", "--port", 0, "--database", f"sqlite:///{database}")
        assert ran.code == 1
        assert ran.err.startswith("proffer: cannot use the database")
        assert "Traceback" not in ran.err


def test_variables_are_settings(tmp_path: Path) -> None:
    """PROFFER_DEV and PROFFER_ACCESS_LOG do what the options do."""
    with process(tmp_path / "p.db", PROFFER_DEV="1", PROFFER_ACCESS_LOG="1") as (server, address):
        wait_for(f"{address}/data/core/xcore/")
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=20)

    assert server.returncode == 0
    assert "/data/core/xcore/" in out + err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: without traceback, with the code of an end that was asked for."""
    with process(tmp_path / "p.db") as (server, address):
        with pytest.raises(HTTPError, match="401") as error:
            urllib.request.urlopen(f"{address}/data/core/xcore/", timeout=20)  # noqa: S310
        error.value.close()
        server.send_signal(how)
        _, err = server.communicate(timeout=20)

    assert server.returncode in ({0} if how is signal.SIGTERM else {0, 130})
    assert "Traceback" not in err


def write_until_dead(address: str, mark: str, acknowledged: list[str], stop: threading.Event) -> None:
    """Create tags one after another; note the name of each that was acknowledged."""
    for number in itertools.count():
        name = f"{mark}-{number}"
        request = urllib.request.Request(  # noqa: S310 - our own
            f"{address}{XCORE}/instances",
            data=json.dumps({"xdm:name": name}).encode(),
            headers={"Content-Type": f'application/schema-instance+json; schema="{NAMESPACE}tag"'},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own
                assert answer.status == 201
                json.load(answer)
        except (OSError, HTTPException, ValueError):
            return
        acknowledged.append(name)
        if stop.is_set():
            return


def names(address: str) -> set[str]:
    """Every tag there is, page by page."""
    found: set[str] = set()
    path = f"{XCORE}/instances?schema={NAMESPACE}tag&limit=1000"
    while path:
        with urllib.request.urlopen(address + path, timeout=10) as answer:  # noqa: S310 - our own
            page = json.load(answer)
        found |= {one["_instance"]["xdm:name"] for one in page["_embedded"]["results"]}
        following = page["_links"].get("next")
        path = f"/data/core/xcore{following['href']}" if following else ""
    return found


def test_a_killed_server_has_every_write_it_acknowledged(tmp_path: Path) -> None:
    """Four times over: four clients write, the process is killed, and the next one has it all."""
    database = tmp_path / "p.db"
    acknowledged: list[str] = []
    for round_ in range(ROUNDS + 1):
        with process(database, "--dev") as (server, address):
            wait_for(f"{address}/data/core/xcore/")
            assert set(acknowledged) <= names(address)
            if round_ == ROUNDS:
                break
            before, stop = len(acknowledged), threading.Event()
            writers = [
                threading.Thread(target=write_until_dead, args=(address, f"{round_}{who}", acknowledged, stop))
                for who in "abcd"
            ]
            for writer in writers:
                writer.start()
            until = time.monotonic() + 10
            while len(acknowledged) < before + 20 + 7 * round_ and time.monotonic() < until:
                time.sleep(0.001)
            server.kill()
            stop.set()
            for writer in writers:
                writer.join()
            assert len(acknowledged) > before
