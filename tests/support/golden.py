"""Golden documents: JSON files with a request and its masked answer."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Case = dict[str, Any]


def mask(value: Any, members: Mapping[str, str], patterns: Sequence[tuple[str, str]]) -> Any:
    """Return the document with everything that differs from run to run replaced.

    `members` gives the replacement of a member's value by its name, `patterns` those within texts.
    """
    if isinstance(value, dict):
        return {name: members.get(name) or mask(member, members, patterns) for name, member in value.items()}
    if isinstance(value, list):
        return [mask(member, members, patterns) for member in value]
    if isinstance(value, str):
        for pattern, replacement in patterns:
            value = re.sub(pattern, replacement, value)
    return value


def load(path: Path) -> Case:
    case: Case = json.loads(path.read_text(encoding="utf-8"))
    return case


def rewrite(path: Path, answer_to: Callable[[Case], Case]) -> None:
    """Replace the answer of a golden document."""
    case = load(path)
    case["answer"] = answer_to(case)
    path.write_text(json.dumps(case, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
