"""`proffer demo`: the three requests it prints do what they say, and Ctrl-C ends it without a trace."""

import json
import os
import re
import shlex
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from support.process import PROFFER, environment, listening_address, wait_for


def send(command: str) -> tuple[int, Any]:
    """What a printed `curl` command gets: it is read as a shell would."""
    words = shlex.split(command.replace("\\\n", ""))
    assert words[0] == "curl"
    headers: dict[str, str] = {}
    data = method = url = None
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            data = next(rest).encode()
        else:
            assert url is None
            url = word
    assert url is not None
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own
        return answer.status, json.load(answer)


def test_the_requests_of_the_demo_work_as_they_are_printed(tmp_path: Path) -> None:
    """201 and nine members; an offer for one who qualifies; the fallback for one who does not; then Ctrl-C."""
    demo = subprocess.Popen(
        [*PROFFER, "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert demo.stdout is not None
        address = listening_address(demo)
        wait_for(f"{address}/data/core/xcore/")
        assert len(list(tmp_path.iterdir())) == 1
        os.set_blocking(demo.stdout.fileno(), False)
        printed = demo.stdout.read()

        commands = re.findall(r"^curl .*?^\}'$", printed, re.DOTALL | re.MULTILINE)
        assert len(commands) == 3
        assert all(address in command for command in commands)
        status, receipt = send(commands[0])
        assert status == 201
        assert len(receipt) == 9

        status, decided = send(commands[1])
        assert status == 200
        (proposition,) = decided["xdm:propositions"]
        assert proposition["xdm:options"][0]["xdm:name"]
        assert proposition["xdm:options"][0]["xdm:content"]

        status, decided = send(commands[2])
        assert status == 200
        (proposition,) = decided["xdm:propositions"]
        assert "xdm:options" not in proposition
        assert proposition["xdm:fallback"]["xdm:content"]

        os.set_blocking(demo.stdout.fileno(), True)
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=20)
    finally:
        demo.kill()
        demo.communicate()

    assert demo.returncode in {0, 130}
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_the_demo_removes_its_database_when_it_is_stopped(tmp_path: Path) -> None:
    """By a service manager as by Ctrl-C."""
    demo = subprocess.Popen(
        [*PROFFER, "demo", "--port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "TMPDIR": str(tmp_path)},
    )
    try:
        address = listening_address(demo)
        wait_for(f"{address}/data/core/xcore/")
        demo.terminate()
        _, err = demo.communicate(timeout=20)
    finally:
        demo.kill()
        demo.communicate()

    assert (demo.returncode, err) == (0, "")
    assert list(tmp_path.iterdir()) == []
