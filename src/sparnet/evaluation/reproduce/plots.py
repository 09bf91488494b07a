"""Plots of numbers, drawn by matplotlib, which is imported only when one is asked for."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from sparnet.errors import SparnetError
from sparnet.evaluation.evaluate import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, PAPER = "#1b6ca8", "#c8553d"
_DOTS_AN_INCH = 130


def new_figure(
    columns: int = 1, rows: int = 1, *, width: float = 5.0, height: float = 3.6
) -> "tuple[Figure, Any]":
    """Make a figure of panels, each `width` x `height` inches, without a display.

    Raises:
        SparnetError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise SparnetError("plots need a package: pip install 'sparnet[lab]'") from None
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def to_png(figure: "Figure") -> bytes:
    """Return the figure as a PNG, the same for the same numbers."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_AN_INCH, metadata={"Software": None})
    return buffer.getvalue()


def plot_scores(
    panels: Sequence[tuple[str, Mapping[str, float | None], Mapping[str, Interval | None]]],
) -> bytes:
    """Draw methods one below the other, the paper's number and ours side by side.

    Args:
        panels: For each the title, the paper's number and ours by method; both have the same methods.
    """
    count = max(len(theirs) for _, theirs, _ in panels)
    figure, axes = new_figure(len(panels), width=4.2, height=0.9 + 0.36 * count)
    for place, (axis, (title, theirs, ours)) in enumerate(zip(axes[0], panels, strict=True)):
        names = list(theirs)
        rows = np.arange(len(names))[::-1]
        for row, name in zip(rows, names, strict=True):
            value = ours[name]
            if value is None:
                continue
            ends = (
                None
                if value.low is None or value.high is None
                else [[value.value - value.low], [value.high - value.value]]
            )
            axis.errorbar([value.value], [row], xerr=ends, fmt="o", color=OURS, markersize=5, capsize=2)
        known = [
            (theirs[name], row) for row, name in zip(rows, names, strict=True) if theirs[name] is not None
        ]
        axis.plot([x for x, _ in known], [y for _, y in known], "D", color=PAPER, markersize=5)
        axis.set_yticks(rows, names if place == 0 else [""] * len(names))
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.grid(axis="x", alpha=0.3)
        axis.set_title(title, fontsize=10)
    _legend(figure)
    return to_png(figure)


def _legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=PAPER, marker="D", linestyle="", label="paper (its data, full training)"),
        Line2D(
            [], [], color=OURS, marker="o", linestyle="", label="ours, 95 % interval (our data, our budget)"
        ),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize=9, frameon=False)


def plot_curves(
    axis: Any,
    curves: Mapping[str, tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]],
    *,
    steps: bool = False,
    markers: bool = False,
) -> None:
    """Draw named curves into a panel."""
    for name, (x, y) in curves.items():
        if steps:
            axis.step(x, y, where="post", label=name, linewidth=1.4)
        else:
            axis.plot(x, y, marker="o" if markers else None, label=name, linewidth=1.4, markersize=4)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def plot_maps(
    panels: Sequence[Sequence[tuple[str, Float[np.ndarray, "..."]]]], *, labels: Sequence[str]
) -> bytes:
    """Draw rows of maps; those of a row share one scale of colours, whose bar is at its end."""
    figure, axes = new_figure(len(panels[0]), len(panels), width=2.3, height=2.4)
    for row, label, line in zip(axes, labels, panels, strict=True):
        # The last hundredth is left to saturate: one eye or edge would darken all else.
        high = max(float(np.nanpercentile(values, 99)) for _, values in line)
        for axis in row:
            axis.set_axis_off()
        for axis, (title, values) in zip(row, line, strict=False):
            axis.imshow(values, cmap="magma", vmin=0, vmax=max(high, 1e-9))
            axis.set_title(title, fontsize=9)
        figure.colorbar(row[0].images[0], ax=list(row), shrink=0.8, label=label)
    return to_png(figure)
