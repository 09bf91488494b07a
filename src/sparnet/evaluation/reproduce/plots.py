"""Plots of numbers, drawn by matplotlib, which is imported only when one is asked for."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from jaxtyping import Float

from sparnet.errors import SparnetError
from sparnet.evaluation.evaluate import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, PAPER = "#1b6ca8", "#c8553d"
_DOTS_AN_INCH, _DOTS_AN_INCH_OF_MAPS = 130, 100
_STEPS = 41
"""Colours of a map: odd, so that 0 of a signed one is white."""


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


def to_png(figure: "Figure", *, maps: bool = False) -> bytes:
    """Return the figure as a PNG, the same for the same numbers.

    Args:
        figure: What is drawn.
        maps: Whether it shows maps by `draw_map_into`, whose few colours make a palette.
    """
    drawn = io.BytesIO()
    if not maps:
        figure.savefig(drawn, format="png", dpi=_DOTS_AN_INCH, metadata={"Software": None})
        return drawn.getvalue()
    figure.savefig(drawn, format="png", dpi=_DOTS_AN_INCH_OF_MAPS)
    palette = PIL.Image.open(drawn).convert("RGB").quantize(256, PIL.Image.Quantize.MAXCOVERAGE)
    small = io.BytesIO()
    palette.save(small, format="png", optimize=True)
    return small.getvalue()


def draw_map_into(
    axis: Any, values: Float[np.ndarray, "h w"], *, colours: str, low: float, high: float
) -> None:
    """Draw a map into a panel in some steps of a scale of colours, pixel by pixel."""
    from matplotlib import colormaps

    steps = colormaps[colours].resampled(_STEPS)
    axis.imshow(values, cmap=steps, vmin=low, vmax=high, interpolation="nearest")


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
        axis.locator_params(axis="x", nbins=6)
        axis.grid(axis="x", alpha=0.3)
        axis.set_title(title, fontsize=10)
    _legend(figure, columns=min(2, len(panels)))
    return to_png(figure)


def _legend(figure: "Figure", *, columns: int) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=PAPER, marker="D", linestyle="", label="paper (its data, full training)"),
        Line2D(
            [], [], color=OURS, marker="o", linestyle="", label="ours, 95 % interval (our data, our budget)"
        ),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


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


@dataclass(frozen=True, eq=False)
class MapRow:
    """Maps side by side that share one scale of colours."""

    label: str
    """What the colours mean, with the unit."""
    maps: Sequence[tuple[str, Float[np.ndarray, "..."]]]
    """Title and values of each; what is not a number stays white."""
    signed: bool = False
    """Whether the scale is -1 to 1, red to blue, instead of from 0 to what the values need."""


def plot_maps(rows: Sequence[MapRow]) -> bytes:
    """Draw rows of maps, the bar of each row's colours at its end."""
    columns = max(len(row.maps) for row in rows)
    figure, axes = new_figure(columns, len(rows), width=2.3, height=2.4)
    for panels, row in zip(axes, rows, strict=True):
        # The last hundredth is left to saturate: one eye or edge would darken all else.
        high = max(float(np.nanpercentile(values, 99)) for _, values in row.maps)
        low, high, colours = (-1.0, 1.0, "RdBu") if row.signed else (0.0, max(high, 1e-9), "magma")
        for axis in panels:
            axis.set_axis_off()
        for axis, (title, values) in zip(panels, row.maps, strict=False):
            draw_map_into(axis, values, colours=colours, low=low, high=high)
            axis.set_title(title, fontsize=9)
        extend = "both" if row.signed else "max"
        bar = figure.colorbar(panels[0].images[0], ax=list(panels), shrink=0.8, extend=extend)
        bar.set_label(row.label, fontsize=9)
    return to_png(figure, maps=True)
