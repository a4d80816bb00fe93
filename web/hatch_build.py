"""The wheel has the files from npm inside, if npm is there where it is built."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

import build as web


class WebHook(BuildHookInterface[Any]):
    """Runs `build.py` before a wheel is made; an editable install gets its files from `make web`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del build_data
        if version != "editable":
            web.main()
