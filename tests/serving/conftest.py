"""Commands run here without the settings of whoever runs the tests."""

import os

import pytest

from cli.commands import Proffer


@pytest.fixture
def proffer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Proffer:
    for name in list(os.environ):
        if name.startswith("PROFFER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    return Proffer(monkeypatch, capsys)
