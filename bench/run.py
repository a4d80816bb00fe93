"""The benchmark suite: run its parts, write the page of results.

    python bench/run.py [--only http,engine] [--quick] [--into docs/benchmarks] [--page-only]

Each part runs in its own process, limited in time. Its rows are written to `results.json` next to the page.
A part that is not run keeps its previous rows, and each part the machine that it ran on. A part that fails
keeps no rows: the page says that it did not finish.
"""

import argparse
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _machine import machine
from _measure import Row
from _page import write_page

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks"
WORK = HERE.parent / "build" / "bench"
"""Folder of the databases: on the disk of the project, not in memory."""


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A benchmark of the suite: module, title on the page, and timeout in seconds.

    One that is not `by_default` runs only when it is named, and does not share the time of the suite.
    """

    module: str
    title: str
    seconds: int
    by_default: bool = True


PARTS: Mapping[str, Part] = {
    "http": Part("over_http", "Decisions over HTTP", 300),
    "engine": Part("engine", "The engine", 240),
    "formulas": Part("formulas", "Ranking formulas", 60),
    "edge": Part("edge", "The edge", 120),
    "caps": Part("caps", "Exact caps and durable events", 180),
    "profiles": Part("profiles", "Customers", 120),
    "publish": Part("publish", "Publishing", 180),
    "memory": Part("memory", "Memory", 180),
    "soak": Part("soak", "Memory over many requests", 3 * 3600, by_default=False),
    "record": Part("record", "Feedback, exports and erasure", 150),
    "serving": Part("serving", "Serving", 90),
    "rules": Part("pql_rules", "Rules", 90),
    "postgres": Part("postgres", "PostgreSQL with one and two servers", 120),
    "store": Part("store_commits", "The store", 60),
}
"""The parts by the name in `ONLY`, in the order of the page."""


SUITE_S = 870
"""Seconds for the whole suite; a part without time left is not run."""
_MIN_PART_S = 15


def run_part(name: str, *, quick: bool, left_s: float) -> dict[str, Any]:
    """Run a part in its own process; return its entry of `results.json`, with `error` if it failed."""
    part = PARTS[name]
    bound_s = min(part.seconds, left_s) if part.by_default else part.seconds
    begun = time.monotonic()
    result: dict[str, Any] = {
        "title": part.title,
        "module": part.module,
        "ran": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "quick": quick,
        "machine": machine(WORK),
    }
    if bound_s < _MIN_PART_S:
        return result | {"error": "no time was left for it", "seconds": 0.0}
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        Path(folder).chmod(0o755)  # a database server may run as somebody else
        into = Path(folder) / "rows.json"
        command = [sys.executable, __file__, "--part", name, "--rows", str(into)]
        if quick:
            command.append("--quick")
        child = subprocess.Popen(command, start_new_session=True, env={**os.environ, "TMPDIR": folder})
        try:
            status = child.wait(timeout=bound_s)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(child.pid, signal.SIGKILL)  # the servers it started go with it
            child.wait()
        except BaseException:
            os.killpg(child.pid, signal.SIGTERM)
            raise
        if status == 0:
            result |= json.loads(into.read_text(encoding="utf-8"))
        else:
            result["error"] = (
                f"it was not done after {bound_s:.0f} s" if status is None else f"it ended with status {status}"
            )
    result["seconds"] = round(time.monotonic() - begun, 1)
    return result


def measure(name: str, *, quick: bool) -> dict[str, Any]:
    """Run a part in this process; return its description and rows."""
    module = importlib.import_module(PARTS[name].module)
    rows: Iterable[Row] = module.rows(quick=quick)
    return {"about": about(module.__doc__ or ""), "rows": [dataclasses.asdict(row) for row in rows]}


def about(doc: str) -> str:
    """Return a module's docstring without its command lines, for the page."""
    paragraphs = doc.strip().split("\n\n")
    return "\n\n".join(paragraph for paragraph in paragraphs if not paragraph.startswith("    "))


def _commit() -> str:
    completed = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.stdout.strip()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help=f"parts, by comma: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, smaller libraries")
    parser.add_argument("--into", type=Path, default=PAGE, help="the folder of the page")
    parser.add_argument("--page-only", action="store_true", help="write the page of last results")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.part:
        result = measure(options.part, quick=options.quick)
        options.rows.write_text(json.dumps(result), encoding="utf-8")
        return
    chosen = [name for name in options.only.split(",") if name] or [
        name for name, part in PARTS.items() if part.by_default
    ]
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        sys.exit(f"there is no part `{'`, `'.join(unknown)}`; there are: {', '.join(PARTS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    options.into.mkdir(parents=True, exist_ok=True)
    results_file = options.into / "results.json"
    results: dict[str, Any] = json.loads(results_file.read_text(encoding="utf-8")) if results_file.exists() else {}
    failed = []
    until = time.monotonic() + SUITE_S
    for name in [] if options.page_only else chosen:
        print(f"== {name} (at most {PARTS[name].seconds} s)", flush=True)
        result = results[name] = run_part(name, quick=options.quick, left_s=until - time.monotonic())
        if "error" in result:
            failed.append(f"{name}: {result['error']}")
        results = {part_name: results[part_name] for part_name in PARTS if part_name in results}
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        results_file.write_text(text, encoding="utf-8")
    write_page(results, options.into)
    print(f"written: {options.into / 'README.md'}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
