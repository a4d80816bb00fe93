"""The cases of `spec/pql/*.json` and what is needed to run one."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from proffer.pql import Environment

SPEC = Path(__file__).parents[2] / "spec" / "pql"
ROOTS = ("profile", "xEvent", "offer", "$2")
NOON = "2024-11-20T12:00:00Z"

Case = dict[str, Any]


def load_cases() -> Iterator[Case]:
    """Every case, with the family that its file is named for."""
    for file in sorted(SPEC.glob("*.json")):
        for case in json.loads(file.read_text()):
            yield {**case, "family": file.stem}


CASES = list(load_cases())


def environment(given: Mapping[str, Any]) -> Environment:
    """The environment that a case describes (see `spec/pql/README.md`)."""
    parameters = given.get("params", [])
    variables = {f"${at}": value for at, value in enumerate(parameters, 1)} | given.get("vars", {})
    return Environment(
        profile=parameters[0] if parameters else given.get("profile", {}),
        now=datetime.fromisoformat(given.get("now", NOON)),
        context=given.get("context", {}),
        events=given.get("xEvent"),
        offer=given.get("offer"),
        variables=variables,
        tz=ZoneInfo(given.get("tz", "UTC")),
    )


def roots_of(case: Case) -> tuple[str, ...]:
    return (*ROOTS, *case["env"].get("vars", {}))
