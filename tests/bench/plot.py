"""Plots of measured figures as SVG files that change only when the figures do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.rcParams["svg.hashsalt"] = "handslag"
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: small, and found by a search


def lines(
    into: Path,
    *,
    title: str,
    x: str,
    y: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    log_x: bool = False,
    goal: tuple[str, float] | None = None,
    note: str = "",
    marker: str | None = "o",
) -> None:
    """Draw named series of (x, y) points; `goal` is a dashed level, `note` says machine, commit and command."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, points in series.items():
        axes.plot([one for one, _ in points], [two for _, two in points], marker=marker, label=name)
    if log_x:
        axes.set_xscale("log")
    if goal:
        axes.axhline(goal[1], linestyle="--", color="grey", linewidth=1, label=goal[0])
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    if note:
        figure.supxlabel(note, fontsize=7, color="grey")
    into.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(into, format="svg", metadata={"Date": None, "Creator": None})


def shares(into: Path, *, title: str, y: str, bars: Mapping[str, Mapping[str, float]], note: str = "") -> None:
    """Draw stacked bars: bar name -> part -> amount."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    names = list(bars)
    below = [0.0] * len(names)
    for part in dict.fromkeys(part for parts in bars.values() for part in parts):
        height = [bars[name].get(part, 0.0) for name in names]
        axes.bar(names, height, bottom=below, label=part)
        below = [one + two for one, two in zip(below, height, strict=True)]
    axes.set(title=title, ylabel=y)
    axes.legend()
    if note:
        figure.supxlabel(note, fontsize=7, color="grey")
    into.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(into, format="svg", metadata={"Date": None, "Creator": None})
