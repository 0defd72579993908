"""Formats a report as tables: for the terminal, as Markdown or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.case import label
from benchmarks.published import PUBLISHED, SOURCE
from benchmarks.report import Coverage, Device, Memory, Report, Row
from benchmarks.summary import Summary, summarize

# Relative variation of the drift control between rounds above which a table warns of it.
QUIET = 0.05
_PROFILE_LINES = 12

Lines = list[list[str]]
Layout = Callable[[list[str], Lines], str]


def terminal(report: Report) -> str:
    """Returns a report as text for a terminal.

    Args:
      report: The report.

    Returns:
      Text that begins with one number for each bundle, followed by a table for each device, and the
      conditions of the measurement.
    """
    lines = "".join(f"{line}\n" for line in headlines(report))
    return (lines and lines + "\n") + _document(
        report, _aligned, lambda text: f"{text}\n{'=' * len(text)}"
    )


def markdown(report: Report) -> str:
    """Returns a report as a Markdown document that ends with the published phone latencies.

    Args:
      report: The report.

    Returns:
      The document.
    """
    rows = [[p.phone, f"{p.synthesis_ms:.2f}", f"{p.encoder_ms:.2f}"] for p in PUBLISHED]
    head = ["phone (published)", "synthesis, ms", "encoder, ms"]
    return (
        _document(report, _pipes, lambda text: f"# {text}")
        + f"\n## Published, not measured here\n\n{SOURCE}.\n\n{_pipes(head, rows)}"
    )


def csv_text(report: Report) -> str:
    """Returns a report as CSV with a line for each row and all times in milliseconds.

    Args:
      report: The report.

    Returns:
      The text, with a header.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([name for name, _ in _CSV])
    for row in report.rows:
        summary = summarize(row.rounds) if row.rounds else None
        writer.writerow(["" if v is None else v for v in (get(row, summary) for _, get in _CSV)])
    return buffer.getvalue()


def headlines(report: Report) -> list[str]:
    """Says in a line for each bundle and device how long a photo takes, in the fastest way."""
    lines = []
    for device in report.devices:
        for subject in report.subjects:
            rows = [
                row
                for row in report.rows
                if (row.device, row.subject, row.stage) == (device.name, subject.name, "end_to_end")
            ]
            timed = [(summarize(row.rounds), row) for row in rows if row.rounds]
            if not timed:
                continue
            best, row = min(timed, key=lambda pair: pair[0].p50)
            how = ", ".join(text for text in (row.runtime, label(row.settings)) if text)
            lines.append(
                f"{subject.name}: {best.p50:.0f} ms a photo, {1000 / best.p50:.0f} photos a second"
                f" ({how})"
            )
    return lines


def drift(rows: Sequence[Row]) -> tuple[float, float, float] | None:
    """Summarizes the times of the drift control.

    Args:
      rows: Rows of one device.

    Returns:
      Median, minimum and maximum of the control's medians of each round, in milliseconds; None if
      there is no drift control.
    """
    count = max((len(row.rounds) for row in rows), default=0)
    medians = []
    for number in range(count):
        calls = [
            c for row in rows if number < len(row.rounds) for c in row.rounds[number].control_ms
        ]
        if calls:
            medians.append(float(np.median(calls)))
    return (float(np.median(medians)), min(medians), max(medians)) if medians else None


def _document(report: Report, layout: Layout, heading: Callable[[str], str]) -> str:
    parts = []
    for device in report.devices:
        rows = [row for row in report.rows if row.device == device.name]
        parts += [heading(device.name), _about(report, device, rows)]
        parts.append(layout(_HEAD, [_cells(row) for row in rows]))
        parts += [f"{_title(row)}: {row.error}" for row in rows if row.error is not None]
        parts += [_profile(row, layout) for row in rows if row.profile]
    models = [
        [subject.name, m.stage, _size(m.size_bytes), _shape(m.input_shape), m.weights]
        + [f"{m.parameters / 1e6:.2f} M", f"{m.macs / 1e9:.3f} G", _operators(m.operators)]
        for subject in report.subjects
        for m in subject.models
    ]
    head = ["subject", "model", "size", "input", "weights", "parameters", "MACs", "operators"]
    return "\n\n".join([*parts, layout(head, models).rstrip("\n")]) + "\n"


def _about(report: Report, device: Device, rows: Sequence[Row]) -> str:
    """Returns the conditions of the measurement, and how to read the table."""
    versions = ", ".join(f"{name} {version}" for name, version in device.versions.items())
    lines = [
        f"{report.began}, {report.seconds:.0f} s. {device.processor}, {device.cores} cores,"
        f" {device.system}. {versions}."
    ]
    for when, state in (("Before", device.before), ("After", device.after)):
        known = {
            "load": None if state is None or state.load is None else f"{state.load:.2f}",
            "temperature": state and state.celsius and f"{state.celsius:.1f} °C",
            "thermal status": state and state.thermal_status,
            "battery": state and state.battery_percent and f"{state.battery_percent} %",
        }
        parts = [f"{name} {value}" for name, value in known.items() if value is not None]
        if parts:
            lines.append(f"{when}: {', '.join(parts)}.")
    control = drift(rows)
    if control is not None:
        median, least, greatest = control
        noisy = greatest / least - 1 > QUIET
        lines.append(
            f"Drift control: {median:.2f} ms, by round {least:.2f} to {greatest:.2f} ms."
            + (" The machine was not quiet: compare ratios, not milliseconds." if noisy else "")
        )
    lines.append(
        "Times are in ms; brackets hold the 95 % prediction interval for the p50 of another run."
        " Memory is what the case adds to a process that has already imported the runtime."
    )
    return "\n".join(lines)


_HEAD = ["subject", "stage", "runtime", "settings", "p50", "[95 %]", "p90", "p95", "p99"]
_HEAD += ["mean ± sd", "min", "calls", "create", "first", "memory", "delegated", "result"]


def _cells(row: Row) -> list[str]:
    cells = [row.subject, row.stage.replace("_", " "), row.runtime, label(row.settings)]
    if not row.rounds:
        return cells + ["failed"] + [""] * 11 + [_result(row)]
    s = summarize(row.rounds)
    deviation = "" if s.standard_deviation is None else f" ± {ms(s.standard_deviation)}"
    return cells + [
        ms(s.p50) + (" throttled" if row.throttled else ""),
        _interval(s),
        *(ms(value) for value in (s.p90, s.p95, s.p99)),
        f"{ms(s.mean)}{deviation}",
        ms(s.minimum),
        f"{s.count} in {s.rounds}",
        ms(_median([one.creation_ms for one in row.rounds])),
        ms(_median([one.first_call_ms for one in row.rounds])),
        _memory(row.memory),
        _coverage(row.coverage),
        _result(row),
    ]


def _interval(summary: Summary) -> str:
    low, high = summary.p50_interval.low, summary.p50_interval.high
    # With few rounds the interval is too wide to be of use.
    return f"[{ms(low)}, {ms(high)}]" if high < 3 * low else "too few rounds"


def ms(value: float | None) -> str:
    """Formats milliseconds with three significant digits."""
    if value is None:
        return ""
    if value >= 9.995:
        return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
    return f"{value:.2f}" if value >= 0.0995 else f"{value:.3f}"


def _result(row: Row) -> str:
    """Describes the comparison of the result, with the greatest mean difference."""
    if not row.parity:
        return "failed" if row.error else "not compared"
    if row.error:
        return "WRONG" if any(not p.passed for p in row.parity) else "failed"
    worst = max(row.parity, key=lambda p: p.mean)
    return f"right ({worst.mean:.2g} {worst.unit})"


def _memory(memory: Memory | None) -> str:
    if memory is None:
        return ""
    steady, peak = (
        (value - memory.baseline_bytes) / 2**20
        for value in (memory.steady_bytes, memory.peak_bytes)
    )
    return f"{steady:.0f} MiB, peak {peak:.0f}"


def _coverage(coverage: Coverage | None) -> str:
    if coverage is None:
        return ""
    parts = "part" if coverage.partitions == 1 else "parts"
    return f"{coverage.delegated} of {coverage.operators}, {coverage.partitions} {parts}"


def _profile(row: Row, layout: Layout) -> str:
    total = sum(one.mean_ms * one.calls for one in row.profile)
    lines = [
        [o.operator, _end(o.name), ms(o.mean_ms), f"{100 * o.mean_ms * o.calls / total:.1f} %"]
        for o in row.profile[:_PROFILE_LINES]
    ]
    rest = sum(one.mean_ms * one.calls for one in row.profile[_PROFILE_LINES:])
    if rest:
        number = f"{len(row.profile) - len(lines)} others"
        lines.append([number, "", ms(rest), f"{100 * rest / total:.1f} %"])
    lines.append(["sum", "", ms(total), ""])
    head = ["operator", "output", "ms", "share"]
    table = layout(head, lines).rstrip("\n")
    return f"Slowest operators of {_title(row)}, each run alone:\n\n{table}"


def _end(name: str, length: int = 60) -> str:
    """Shortens the name of a tensor to its end; that of a fused operator to its first name."""
    name = name.split(";")[0]
    return name if len(name) <= length else f"...{name[-length:]}"


def _title(row: Row) -> str:
    words = (row.subject, row.stage.replace("_", " "), row.runtime, label(row.settings))
    return ", ".join(words)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB"


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)


def _operators(operators: dict[str, int]) -> str:
    return f"{sum(operators.values())} of {len(operators)} kinds"


def _aligned(head: list[str], rows: Lines) -> str:
    """Aligns columns with spaces, and leaves out columns that are empty."""
    shown = [i for i in range(len(head)) if any(row[i] for row in rows)]
    table = [[line[i] for i in shown] for line in (head, *rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(shown))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    return "\n".join(lines) + "\n"


def _pipes(head: list[str], rows: Lines) -> str:
    shown = [i for i in range(len(head)) if any(row[i] for row in rows)]
    lines = [[line[i].replace("|", "\\|") for i in shown] for line in (head, *rows)]
    lines.insert(1, ["---"] * len(shown))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _column(attribute: str) -> Callable[[Row, Summary | None], Any]:
    return lambda row, summary: None if summary is None else getattr(summary, attribute)


_CSV: list[tuple[str, Callable[[Row, Summary | None], Any]]] = [
    ("device", lambda row, _: row.device),
    ("subject", lambda row, _: row.subject),
    ("stage", lambda row, _: row.stage),
    ("runtime", lambda row, _: row.runtime),
    ("threads", lambda row, _: row.settings.threads),
    ("cores", lambda row, _: row.settings.cores),
    ("delegate", lambda row, _: row.settings.delegate),
    ("gpu_precision", lambda row, _: row.settings.gpu_precision),
    ("batch", lambda row, _: row.settings.batch),
    ("faces", lambda row, _: row.settings.faces),
    ("photo_width", lambda row, _: row.settings.photo and row.settings.photo[0]),
    ("photo_height", lambda row, _: row.settings.photo and row.settings.photo[1]),
    ("count", _column("count")),
    ("rounds", _column("rounds")),
    ("p50_ms", _column("p50")),
    ("p50_low_ms", lambda row, s: s and s.p50_interval.low),
    ("p50_high_ms", lambda row, s: s and s.p50_interval.high),
    ("p90_ms", _column("p90")),
    ("p95_ms", _column("p95")),
    ("p99_ms", _column("p99")),
    ("mean_ms", _column("mean")),
    ("standard_deviation_ms", _column("standard_deviation")),
    ("minimum_ms", _column("minimum")),
    ("creation_ms", lambda row, _: _median([one.creation_ms for one in row.rounds])),
    ("first_call_ms", lambda row, _: _median([one.first_call_ms for one in row.rounds])),
    ("memory_baseline_bytes", lambda row, _: row.memory and row.memory.baseline_bytes),
    ("memory_steady_bytes", lambda row, _: row.memory and row.memory.steady_bytes),
    ("memory_peak_bytes", lambda row, _: row.memory and row.memory.peak_bytes),
    ("delegated_operators", lambda row, _: row.coverage and row.coverage.delegated),
    ("operators", lambda row, _: row.coverage and row.coverage.operators),
    ("throttled", lambda row, _: row.throttled),
    ("result", lambda row, _: _result(row)),
    ("error", lambda row, _: row.error),
]
