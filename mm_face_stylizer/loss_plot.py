"""Plots of training losses."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence

from task_bundle.files import atomic_write


def save_loss_plot(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    path: str | os.PathLike[str],
    overwrite: bool = False,
) -> None:
    """Plots losses against training steps, with a logarithmic loss axis, and saves a PNG file.

    Args:
      curves: For each loss name, the step numbers and the loss values, of equal length.
      title: Title of the plot.
      path: PNG file to write, atomically.
      overwrite: Whether an existing file may be replaced.

    Raises:
      FileExistsError: The file exists and `overwrite` is False.
    """
    # Importing matplotlib takes most of a second, and most commands do not plot.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name.replace("_", " "), linewidth=1)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title=title)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(fontsize="small", ncols=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    atomic_write(path, buffer.getvalue(), overwrite=overwrite)
