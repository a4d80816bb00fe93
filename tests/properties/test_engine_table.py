"""The table of laws is whole."""

import re
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).parent


def test_every_law_is_in_the_table() -> None:
    """Each file of this folder is named by a row, and each law that a test names is one."""
    rows = re.findall(r"^\| ([a-z-]+) \| .+ \| `(.+)` \|$", (HERE / "PROPERTIES.md").read_text(), re.MULTILINE)
    files = [file for file in HERE.glob("test_*.py") if file != Path(__file__)]
    named = {
        law
        for file in files
        if file.name.startswith("test_engine")
        for law in re.findall(r'^    """([a-z-]+): ', file.read_text(), re.MULTILINE)
    }

    assert [file.name for file in files if not any(fnmatch(file.name, at) for _, at in rows)] == []
    assert named - {name for name, _ in rows} == set()
