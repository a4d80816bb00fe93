"""The `proffer` command warns of another distribution that owns the same import package."""

from pathlib import Path

import pytest

from cli.commands import Proffer


def test_the_other_distribution_is_warned_of(proffer: Proffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `proffer` installed beside `proffer-server`, a command does its work and warns on stderr."""
    alone = proffer("--version")
    metadata = tmp_path / "proffer-4.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: proffer\nVersion: 4.1\n")
    monkeypatch.syspath_prepend(tmp_path)

    both = proffer("--version")

    assert (alone.code, alone.err) == (0, "")
    assert (both.code, both.out) == (0, alone.out)
    assert "`proffer` and `proffer-server` are both installed" in both.err
    assert "pip uninstall proffer proffer-server" in both.err
    assert both.err.count("\n") == 1
