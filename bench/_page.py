"""The page of results: tables, charts and machine of each part."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from _charts import draw

RowDict: TypeAlias = Mapping[str, Any]

HEAD = """\
# Benchmarks

Written by `make bench`; do not edit. [results.json](results.json) has the raw figures of every run.

**Compare the ratios.** Each is measured against a baseline in alternating rounds of the same run, so other load
affects both. The spread gives the smallest and the largest ratio of the rounds.
Absolute figures depend on the machine and the day.

`make bench` runs all parts but the memory over many requests, which `make soak` runs; `make bench ONLY=http,engine`
runs some of them, `make bench QUICK=1` shorter ones.
"""


def write_page(results: Mapping[str, Any], folder: Path) -> None:
    """Write `README.md` and its charts into the folder; delete earlier charts."""
    for old in folder.glob("*.svg"):
        old.unlink()
    parts = [HEAD, contents(results), machines(results)]
    parts += [section(name, part, folder) for name, part in results.items()]
    text = "\n".join(parts).rstrip() + "\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def contents(results: Mapping[str, Any]) -> str:
    lines = [f"- [{part['title']}](#{_anchor(part['title'])})" for part in results.values()]
    return "\n".join(lines) + "\n"


def machines(results: Mapping[str, Any]) -> str:
    """Describe the machines of the parts, and the sync latency of the disk before each part."""
    lines = ["## The machine", ""]
    for description in dict.fromkeys(map(describe, results.values())):
        names = [name for name, part in results.items() if describe(part) == description]
        names_note = "" if len(names) == len(results) else f" ({', '.join(names)})"
        lines.append(f"{description}{names_note}.")
        lines.append("")
    lines += [
        "Time to write 1 KB durably (`fdatasync`) and the load of the machine, just before each part:",
        "",
        "| part | ran | commit | took | load | fdatasync p50 | p99 |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, part in results.items():
        disk = part["machine"]["disk"]
        quick = " (quick)" if part.get("quick") else ""
        lines.append(
            f"| {name}{quick} | {part['ran']} | {part['commit']} | {part['seconds']:.0f} s"
            f" | {part['machine']['load']} | {disk['p50_ms']:.2f} ms | {disk['p99_ms']:.2f} ms |"
        )
    return "\n".join(lines) + "\n"


def describe(part: RowDict) -> str:
    machine = part["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; {machine['system']}; "
        f"{machine['python']}"
    )


def section(name: str, part: RowDict, folder: Path) -> str:
    lines = [f"## {part['title']}", ""]
    if "error" in part:
        lines += [f"This part did not finish: {part['error']}.", ""]
        return "\n".join(lines)
    lines += [part["about"], ""]
    for title, table_rows in groupby(part["rows"], key=lambda row: row["table"]):
        rows = list(table_rows)
        if title:
            lines += [f"### {title}", ""]
        chart = draw(rows, f"{part['title']}: {title}" if title else part["title"])
        if chart is not None:
            file = f"{name}-{_anchor(title or 'all')}.svg"
            (folder / file).write_text(chart, encoding="utf-8")
            lines += [f"![{title or part['title']}]({file})", ""]
        lines += [*table(rows), ""]
    return "\n".join(lines)


def table(rows: Sequence[RowDict]) -> Iterable[str]:
    """Yield the lines of a Markdown table; empty columns are left out."""
    columns = {
        "": [row["name"] for row in rows],
        "at": [_number(row["at"]) if row["at"] is not None else "" for row in rows],
        "measured": [f"{_number(row['value'])} {row['unit']}".strip() for row in rows],
        "ratio": [_ratio(row) for row in rows],
        "baseline": [row["baseline"] or "" for row in rows],
        "spread": [_spread(row) for row in rows],
        "goal": [row["goal"] for row in rows],
        "note": [row["note"] for row in rows],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    right = {"at", "measured", "ratio", "spread"}
    yield "| " + " | ".join(filled) + " |"
    yield "| " + " | ".join("---:" if name in right else "---" for name in filled) + " |"
    for cells in zip(*filled.values(), strict=True):
        yield "| " + " | ".join(cells) + " |"


def _ratio(row: RowDict) -> str:
    return "" if row["ratio"] is None else f"**{_number(row['ratio'])}**"


def _spread(row: RowDict) -> str:
    if row["spread"] is None:
        return ""
    low, high = row["spread"]
    return f"{_number(low)} – {_number(high)}"


def _number(value: float) -> str:
    """Format a number with three significant digits."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3g}"


def _anchor(title: str) -> str:
    text = "".join(character for character in title.lower() if character.isalnum() or character in " -")
    return "-".join(text.split())
