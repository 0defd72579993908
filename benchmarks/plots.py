"""Plots of a report."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import ONE_CORE, label
from benchmarks.report import Report, Row, Settings
from benchmarks.summary import Summary, summarize
from task_bundle.files import atomic_write

# The palette of Okabe and Ito, which color-blind readers can tell apart.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
_STAGE_COLORS = {
    "detector": "#56B4E9",
    "landmarks": "#009E73",
    "stylizer": "#E69F00",
    "everything else": "#BBBBBB",
}
_MARKERS = ("s", "o", "^", "v", "D", "P", "X")
_DPI = 110


def save_plots(report: Report, stem: str | os.PathLike[str], overwrite: bool = False) -> list[Path]:
    """Draws the plots for which a report has data.

    Args:
      report: The report.
      stem: Path of the files, to which '-stages.png', '-size.png', '-rounds.png', '-photo.png',
        '-faces.png', '-batch.png' and '-resolution.png' are appended.
      overwrite: Whether existing files may be replaced.

    Returns:
      The files that were written.

    Raises:
      FileExistsError: a file exists and `overwrite` is false.
      OSError: a file cannot be written.
    """
    summaries = {row.key(): summarize(row.rounds) for row in report.rows if row.rounds}
    drawers: dict[str, Callable[[Report, _Summaries], Any]] = {
        "stages": _stages,
        "size": _size,
        "rounds": _rounds,
        **{name: _scaling(name) for name in _AXES},
    }
    written = []
    for name, draw in drawers.items():
        figure = draw(report, summaries)
        if figure is None:
            continue
        path = Path(f"{os.fspath(stem)}-{name}.png")
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=_DPI, format="png")
        atomic_write(path, buffer.getvalue(), overwrite)
        written.append(path)
    return written


_Summaries = dict[tuple[str, str, str, str, Settings], Summary]


def _figure(width: float, height: float) -> Any:
    # Matplotlib takes most of a second to import and is not needed for tables.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _is_whole(row: Row) -> bool:
    """Returns whether a row is an end-to-end one, and not one that varies the number of faces."""
    return row.stage == "end_to_end" and row.settings.faces is None


def _threads(row: Row, cores: int) -> int:
    """Returns the number of threads that a row could use."""
    return row.settings.threads or (1 if row.settings.cores == ONE_CORE else cores)


def _stages(report: Report, summaries: _Summaries) -> Any:
    """Draws end-to-end times as bars in which the times of the single models are stacked."""
    cores = {device.name: device.cores for device in report.devices}
    photos = {row.settings.photo for row in report.rows if _is_whole(row)}
    if len(photos) != 1:  # There is no end-to-end row, or it is a scaling run with other plots.
        return None
    bars = [row for row in report.rows if _is_whole(row) and row.key() in summaries]
    if not bars:
        return None
    figure = _figure(9.5, 1.6 + 0.42 * len(bars))
    axes = figure.subplots()
    seen = set()
    for position, bar in enumerate(bars):
        total = summaries[bar.key()]
        left = 0.0
        for stage in ("detector", "landmarks", "stylizer"):
            alone = next(
                (
                    summaries[row.key()]
                    for row in report.rows
                    if (row.device, row.subject, row.stage) == (bar.device, bar.subject, stage)
                    and row.settings.delegate == "xnnpack"
                    and row.settings.threads == _threads(bar, cores[bar.device])
                    and row.key() in summaries
                ),
                None,
            )
            if alone is not None:
                axes.barh(
                    position,
                    alone.p50,
                    left=left,
                    color=_STAGE_COLORS[stage],
                    label=None if stage in seen else stage,
                )
                seen.add(stage)
                left += alone.p50
        rest = "everything else"
        axes.barh(
            position,
            max(total.p50 - left, 0.0),
            left=left,
            color=_STAGE_COLORS[rest],
            label=None if rest in seen else rest,
        )
        seen.add(rest)
        _whisker(axes, position, total)
    names = [
        f"{bar.subject}: {bar.runtime}, {_plural(_threads(bar, cores[bar.device]), 'thread')}"
        for bar in bars
    ]
    axes.set_yticks(range(len(bars)), names)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    # This leaves room for the numbers beside the bars.
    highest = max(_end(summaries[bar.key()]) for bar in bars)
    axes.set_xlim(0.0, 1.1 * highest)
    axes.set_xlabel("ms per photo, p50; whiskers: 95 % prediction interval for another run")
    axes.set_title(f"{_device_names(report)}: end to end, and the models run alone", fontsize=11)
    figure.legend(loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def _whisker(axes: Any, position: float, summary: Summary) -> None:
    low, high = _whiskers(summary)
    axes.errorbar(
        summary.p50, position, xerr=[[low], [high]], color="black", capsize=3, linewidth=1.2
    )
    axes.annotate(
        f"{summary.p50:.1f}",
        (_end(summary), position),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
    )


def _whiskers(summary: Summary) -> tuple[float, float]:
    """Returns the lengths down and up; NaN, which is not drawn, with too few rounds."""
    interval = summary.p50_interval
    if interval.high >= 3 * interval.low:
        return np.nan, np.nan
    return summary.p50 - interval.low, interval.high - summary.p50


def _end(summary: Summary) -> float:
    """Returns the upper end of the whisker, or the value itself without one."""
    return float(np.nanmax([summary.p50, summary.p50 + _whiskers(summary)[1]]))


def _size(report: Report, summaries: _Summaries) -> Any:
    """Draws end-to-end time against the size of the file."""
    sizes = {subject.name: subject.size_bytes / 1e6 for subject in report.subjects}
    series: dict[str, list[tuple[float, Summary, str]]] = defaultdict(list)
    cores = {device.name: device.cores for device in report.devices}
    for row in report.rows:
        if _is_whole(row) and row.key() in summaries:
            threads = _plural(_threads(row, cores[row.device]), "thread")
            name = f"{row.runtime}, {threads}"
            series[name].append((sizes[row.subject], summaries[row.key()], row.subject))
    if not series or len({size for size, _, _ in next(iter(series.values()))}) < 2:
        return None
    figure = _figure(8.5, 5)
    axes = figure.subplots()
    tops: dict[str, tuple[float, float]] = {}
    for number, (name, points) in enumerate(sorted(series.items())):
        points.sort(key=lambda point: point[0])
        _line(axes, [p[0] for p in points], [p[1] for p in points], name, number, joined=False)
        for size, summary, subject in points:
            if subject not in tops or summary.p50 > tops[subject][1]:
                tops[subject] = (size, _end(summary))
    for subject, place in tops.items():
        axes.annotate(
            subject, place, xytext=(0, 7), textcoords="offset points", ha="center", fontsize="small"
        )
    axes.set(xlabel="file size, MB", ylabel="ms per photo, p50")
    axes.set_ylim(0.0, 1.15 * max(top for _, top in tops.values()))
    axes.margins(x=0.15)
    axes.set_title(f"{_device_names(report)}: file size and end-to-end latency", fontsize=11)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    return figure


def _rounds(report: Report, summaries: _Summaries) -> Any:
    """Draws how the drift control and the end-to-end cases vary from round to round."""
    rows = [r for r in report.rows if r.key() in summaries and _is_whole(r)]
    rows = rows or [r for r in report.rows if r.key() in summaries and r.stage == "stylizer"]
    rows = [row for row in rows if len(row.rounds) > 2 and row.rounds[0].samples_ms]
    if not rows or len({row.settings.photo for row in rows}) > 1:
        return None
    # Other files vary in the same way, and more lines than colors could not be told apart.
    rows = [row for row in rows if row.subject == rows[0].subject]
    figure = _figure(8.5, 5)
    axes = figure.subplots()
    for row, color in zip(rows, _COLORS[:-1], strict=False):
        medians = np.array([np.median(one.samples_ms) for one in row.rounds])
        name = f"{row.subject}, {row.runtime}, {_short(row.settings)}"
        _relative(axes, medians, name, color, 1.0)
    if all(one.control_ms for row in rows for one in row.rounds):
        count = min(len(row.rounds) for row in rows)
        control = [
            np.median([ms for row in report.rows if row.rounds for ms in row.rounds[i].control_ms])
            for i in range(count)
        ]
        _relative(axes, np.array(control), "drift control", _COLORS[-1], 2.2)
    axes.axhline(0.0, color="gray", linewidth=0.8, zorder=0)
    axes.set(xlabel="round", ylabel="median, % from the median of all rounds")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"{_device_names(report)}: from round to round", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    axes.grid(alpha=0.3)
    return figure


def _relative(axes: Any, medians: Any, name: str, color: str, width: float) -> None:
    axes.plot(
        range(1, len(medians) + 1),
        100 * (medians / np.median(medians) - 1),
        label=name,
        color=color,
        linewidth=width,
        marker="o",
        markersize=3,
    )


# The title of the axis of each scaling plot, and its value in a row.
_AXES: dict[str, tuple[str, Callable[[Report, Row], float | None]]] = {
    "photo": (
        "longer side of the photo, px",
        lambda report, row: (
            None
            if row.settings.photo is None or row.settings.faces is not None
            else float(max(row.settings.photo))
        ),
    ),
    "faces": ("faces", lambda report, row: row.settings.faces),
    "batch": ("pictures per call", lambda report, row: row.settings.batch),
    "resolution": (
        "side of the stylizer's picture, px",
        lambda report, row: None if row.settings.batch is None else _side(report, row),
    ),
}


def _scaling(name: str) -> Callable[[Report, _Summaries], Any]:
    title, value_of = _AXES[name]

    def draw(report: Report, summaries: _Summaries) -> Any:
        series: dict[str, dict[float, Summary]] = defaultdict(dict)
        for row in report.rows:
            value = value_of(report, row)
            if value is not None and row.key() in summaries:
                series[_series_name(report, row, name)][value] = summaries[row.key()]
        series = {key: points for key, points in series.items() if len(points) > 1}
        if not series:
            return None
        figure = _figure(8.5, 4.8)
        axes = figure.subplots()
        for number, (key, points) in enumerate(sorted(series.items())):
            values = sorted(points)
            _line(axes, values, [points[v] for v in values], key, number)
        ticks = sorted({value for points in series.values() for value in points})
        if name in ("photo", "resolution"):
            axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0.0)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set(xlabel=title, ylabel="ms per call, p50")
        axes.set_title(f"{_device_names(report)}: {_SCALING_TITLES[name]}", fontsize=11)
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
        return figure

    return draw


_SCALING_TITLES = {
    "photo": "latency and the size of the photo",
    "faces": "latency and the number of faces",
    "batch": "latency and the pictures per call",
    "resolution": "latency and the resolution of the stylizer",
}


def _line(
    axes: Any,
    values: Sequence[float],
    summaries: Sequence[Summary],
    name: str,
    number: int,
    joined: bool = True,
) -> None:
    whiskers = np.array([_whiskers(summary) for summary in summaries]).T
    axes.errorbar(
        values,
        [summary.p50 for summary in summaries],
        yerr=whiskers,
        label=name,
        color=_COLORS[number % len(_COLORS)],
        # Hollow markers of different shapes do not hide each other where values are equal.
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=7,
        markerfacecolor="none",
        capsize=3,
        linestyle="-" if joined else "none",
    )


def _series_name(report: Report, row: Row, varied: str) -> str:
    words = [row.stage.replace("_", " "), row.runtime, _short(row.settings)]
    # Each resolution and batch size has a file of its own, whose name must not be part of a series.
    if varied == "batch":
        words.append(f"{_side(report, row):g} px")
    elif varied == "resolution":
        words.append(f"batch {row.settings.batch}")
    else:
        words.insert(0, row.subject)
    return ", ".join(words)


def _short(settings: Settings) -> str:
    """Returns a label without the settings that vary along an axis or are the same everywhere."""
    kept = Settings(
        threads=settings.threads,
        cores=settings.cores if settings.threads is None else None,
        delegate=settings.delegate,
        gpu_precision=settings.gpu_precision,
    )
    return label(kept)


def _side(report: Report, row: Row) -> float:
    subject = next(s for s in report.subjects if s.name == row.subject)
    return next(float(m.input_shape[2]) for m in subject.models if m.stage == row.stage)


def _device_names(report: Report) -> str:
    return ", ".join(device.name for device in report.devices)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
