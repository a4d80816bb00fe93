"""Charts as SVG text, drawn by matplotlib (extra `bench`).

Rows with an `at` become lines, one per name; rows with a ratio to one baseline become bars. An axis that
spans more than a factor of twenty is logarithmic.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

RowDict: TypeAlias = Mapping[str, Any]

INK, MUTED, GRID = "#24292f", "#6e7781", "#d8dee4"
COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be185d", "#4d7c0f", "#0369a1", "#6b7280")
_WIDE_RATIO = 20
_MIN_BARS = 3


def draw(rows: Sequence[RowDict], title: str) -> str | None:
    """Return a chart of the rows as SVG; None if a table shows them better."""
    lines: dict[str, list[RowDict]] = {}
    for row in rows:
        if row["at"] is not None:
            lines.setdefault(row["name"], []).append(row)
    if lines and all(len(points) > 1 for points in lines.values()):
        return _lines(lines, title)
    bars = [row for row in rows if row["ratio"] is not None]
    if len(bars) >= _MIN_BARS and len({row["baseline"] for row in bars}) == 1:
        return _bars(bars, title)
    return None


def _lines(lines: Mapping[str, Sequence[RowDict]], title: str) -> str:
    figure = Figure(figsize=(7.6, 3.6))
    axes = figure.subplots()
    _strip_axes(axes)
    for (name, rows), colour in zip(lines.items(), _colours(len(lines)), strict=True):
        at = [row["at"] for row in rows]
        values = [row["value"] for row in rows]
        axes.plot(at, values, color=colour, marker="o", markersize=4, linewidth=1.8, label=name)
    all_rows = [row for rows in lines.values() for row in rows]
    if _is_wide([row["at"] for row in all_rows]):
        axes.set_xscale("log")
    if _is_wide([row["value"] for row in all_rows]):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    ticks = sorted({row["at"] for row in all_rows})
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.set_ylabel(all_rows[0]["unit"], color=MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    if len(lines) == 1:
        axes.set_xlabel(next(iter(lines)), color=MUTED)
    else:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, labelcolor=INK)
    return _svg(figure, axes, title)


def _bars(rows: Sequence[RowDict], title: str) -> str:
    figure = Figure(figsize=(7.6, 1.1 + 0.34 * len(rows)))
    axes = figure.subplots()
    _strip_axes(axes)
    ratios = [row["ratio"] for row in rows]
    wide = _is_wide(ratios)
    places = range(len(rows))
    axes.barh(places, ratios, color=COLOURS[0], height=0.62)
    for place, row in zip(places, rows, strict=True):
        if row["spread"] is not None:
            axes.plot(row["spread"], (place, place), color=INK, linewidth=1.4)
        end = max(row["ratio"], row["spread"][1] if row["spread"] else 0)
        axes.annotate(
            f"{row['ratio']:,.0f}" if row["ratio"] >= 100 else f"{row['ratio']:.3g}",
            (end, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    if wide:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(1, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.set_yticks(places, [row["name"] for row in rows], color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.set_xlabel(f"times {rows[0]['baseline']}", color=MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    return _svg(figure, axes, title)


def _strip_axes(axes: Any) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    axes.set_axisbelow(True)


def _svg(figure: Any, axes: Any, title: str) -> str:
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=12)
    figure.set_facecolor("white")
    with mpl.rc_context({"svg.hashsalt": "proffer", "svg.fonttype": "path"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.15, metadata={"Date": None})
    return buffer.getvalue()


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _is_wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) > _WIDE_RATIO * min(values)
