"""The curves as plots: an event's cost against rules, series, batches, windows, lateness.

Owns which curves share a plot. The files are SVG with text as text, the same bytes for the same
figures. Matplotlib is in the extra ``bench``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bench.results import Curve


class _Plot(NamedTuple):
    name: str
    varied: str
    """As ``Curve.varied`` has it."""
    label: str
    title: str
    ending: str = ""
    """Of the cases that are in it."""


_PLOTS: Final = (
    _Plot("rules", "other rules", "rules that do not match", "Rules"),
    _Plot("series", "series", "series", "Series"),
    _Plot("batch", "batch", "events in a batch", "Size of a batch"),
    _Plot("window", "window", "events in the window", "Length of the window", ", in order"),
    _Plot("late", "window", "events in the window", "A late event, by its window", ", late"),
    _Plot("lateness", "buffer", "events in window and lateness", "Allowed lateness"),
)


def draw(curves: Sequence[Curve], folder: Path) -> Iterator[Path]:
    """Write a file for each plot of which there are curves; yield its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for plot in _PLOTS:
        found = [
            curve
            for curve in curves
            if curve.varied == plot.varied and curve.case.endswith(plot.ending)
        ]
        if found:
            path = folder / f"{plot.name}.svg"
            _draw(plot, found, path)
            yield path


def _draw(plot: _Plot, curves: Sequence[Curve], path: Path) -> None:
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alertd", "font.size": 8}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for curve in curves:
            sizes = [point.size for point in curve.points]
            costs = [point.us_per_event for point in curve.points]
            axes.plot(sizes, costs, marker="o", markersize=3, linewidth=1, label=curve.case)
        axes.set(title=plot.title, xlabel=plot.label, ylabel="CPU us an event", xscale="log")
        if max(point.us_per_event for curve in curves for point in curve.points) > 100:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=6, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
