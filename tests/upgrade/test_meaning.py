"""Every rule and value that an earlier version answered differently is listed by `library check --upgrade`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from proffer.pql import MEANING_VERSION, CompileErrors, compile_rule, encounters
from support.process import environment
from upgrade import results
from upgrade.installations import StoredVersion


def test_every_difference_is_listed(version: StoredVersion, sources: Callable[[str], Path]) -> None:
    """A result that differs from the earlier version's comes with an encounter of the evaluation.

    Only a version of another meaning gives different results.
    """
    before = json.loads(
        subprocess.run(
            [sys.executable, str(Path(results.__file__))],
            env={**environment(), "PYTHONPATH": str(sources(version.commit))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    differences = 0
    for (text, field), earlier in zip(results.rules(), before, strict=True):
        rule = compile_rule(text)
        assert not isinstance(rule, CompileErrors), rule.diagnostics
        for inputs, held in zip(results.environments(field), earlier, strict=True):
            if rule.holds(inputs) is not held:
                differences += 1
                assert encounters(rule.checked, inputs), (text, inputs.profile, held)
    assert (differences > 500) if version.meaning < MEANING_VERSION else differences == 0
