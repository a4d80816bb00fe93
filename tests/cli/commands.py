"""Commands run in this process: their output and exit code."""

import os
import sys
from dataclasses import dataclass

import pytest

from proffer.cli.main import run


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


class Proffer:
    """`proffer ARGUMENTS`, as from a shell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["proffer", *map(str, arguments)])
        code = 0
        try:
            run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)


@pytest.fixture
def proffer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Proffer:
    """The command line, without the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("PROFFER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    return Proffer(monkeypatch, capsys)
