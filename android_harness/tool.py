"""Parses the output of TensorFlow Lite's `benchmark_model`.

The formats are those of its source, tflite/tools/benchmark and tflite/profiling of LiteRT
(tensorflow/lite/... before 2024). Times are in microseconds unless the output says otherwise.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from android_harness.errors import DeviceRefusedError, ToolError
from benchmarks.report import Aggregate, Coverage, OperatorTime

# Names of the delegates in the tool, and in TFLite's message "Replacing N out of M node(s)".
_DELEGATES = {
    "xnnpack": ("XNNPACK", "TfLiteXNNPackDelegate"),
    "gpu": ("GPU", "TfLiteGpuDelegateV2"),
    "nnapi": ("NNAPI", "TfLiteNnapiDelegate"),
}

_NUMBER = r"[-+]?\d[\d.]*(?:e[-+]?\d+)?"
# Output of tsl::Stat and StatWithPercentiles, which leave out most values if all calls took the
# same time.
_STATISTICS = re.compile(
    rf"count=(?P<count>\d+)(?: first={_NUMBER})? curr=(?P<curr>{_NUMBER})(?:\(all same\))?"
    rf"(?: min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER})"
    rf" std=(?P<std>{_NUMBER}))?"
    rf"(?: p5={_NUMBER} median=(?P<median>{_NUMBER}) p95={_NUMBER})?\s*$",
    re.MULTILINE,
)
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}),"
    rf" Warmup \(avg\): {_NUMBER}, Inference \(avg\): (?P<avg>{_NUMBER})"
)
_FOOTPRINT = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER}"
    rf" overall=(?P<overall>{_NUMBER})"
)
_PEAK = re.compile(
    rf"Overall peak memory footprint \(MB\) via periodic monitoring: (?P<peak>{_NUMBER})"
)
_RESIDENT = re.compile(r"- VmRSS\s*: (?P<resident>\d+) MB")
_APPLIED = re.compile(
    r"Explicitly applied (?P<name>\w+) delegate, and the model graph will be"
    r" (?:completely|partially)"
)
_REPLACING = re.compile(
    r"Replacing (?P<taken>\d+) out of (?P<all>\d+) node\(s\) with delegate \((?P<name>\w+)\) node,"
    r" yielding (?P<parts>\d+) partitions"
)
_ERROR_LINE = re.compile(r"^(?:ERROR|FATAL|WARN(?:ING)?): (?P<text>.+)$", re.MULTILINE)
_PROFILE_BEGIN = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_RUN_ORDER = re.compile(r"^=+ Run Order =+$")
# Greatest relative difference of two values of the same mean, which are rounded differently.
_TOLERANCE = 1e-3

# Fields of the message tflite.tools.benchmark.LatencyMetrics, and their numbers.
_LATENCY_FIELDS = {
    "avg_ms": 1,
    "min_ms": 2,
    "max_ms": 3,
    "stddev_ms": 4,
    "median_ms": 5,
    "init_ms": 8,
    "first_inference_ms": 9,
}

_NOT_EXECUTED = {126: "cannot be executed", 127: "was not found"}
_SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}


@dataclass(frozen=True)
class ToolMemory:
    """Memory of the tool's process in MiB.

    Attributes:
      growth: Increase from the start of the process to its end.
      resident: Resident memory at the end.
      peak: Greatest resident memory.
    """

    growth: float
    resident: float
    peak: float


@dataclass(frozen=True)
class ToolResult:
    """Result of one run of the tool.

    Attributes:
      init_ms: Time from the model file to an allocated interpreter, in milliseconds.
      first_ms: Time of the first call in milliseconds.
      calls: Statistics of the counted calls.
      coverage: Operators that the delegate runs; None if it does not report them.
      memory: Memory of the process; None if it was not measured.
      profile: Times of the operators, slowest first; empty if they were not measured.
    """

    init_ms: float
    first_ms: float
    calls: Aggregate
    coverage: Coverage | None
    memory: ToolMemory | None
    profile: tuple[OperatorTime, ...]


def parse_output(
    text: str, status: int, delegate: str | None = None, result: bytes | None = None
) -> ToolResult:
    """Parses the output of a run of the tool.

    Args:
      text: Standard output and standard error.
      status: Exit status.
      delegate: The delegate that the tool was told to use: 'xnnpack', 'gpu' or 'nnapi'; None
        without one.
      result: Content of the file of `--result_file_path`, if the tool wrote it; its numbers have
        more digits than the printed ones.

    Returns:
      The result.

    Raises:
      DeviceRefusedError: the phone cannot execute the tool, in whatever case.
      ToolError: the tool failed or was killed, its output cannot be parsed or contradicts the file,
        or it did not use the delegate.
    """
    if status in _NOT_EXECUTED:
        raise DeviceRefusedError(
            f"the phone cannot run this benchmark_model: it {_NOT_EXECUTED[status]}"
            f"{_error_lines(text) or _last_output(text)}"
        )
    if status != 0:
        raise ToolError(
            f"benchmark_model {_describe_end(status)}{_error_lines(text) or _last_output(text)}"
        )
    timings = _TIMINGS.search(text)
    if timings is None:
        raise ToolError(
            "benchmark_model printed no 'Inference timings'"
            f"{_error_lines(text) or _last_output(text)}"
        )
    counted = list(_STATISTICS.finditer(text, 0, timings.start()))
    # The first line of statistics is that of the warm-up calls.
    if len(counted) < 2:
        raise ToolError(
            f"benchmark_model printed no statistics of its counted calls{_last_output(text)}"
        )
    if delegate is not None:
        _check_applied(text, delegate)
    calls = _aggregate(counted[-1])
    init_ms, first_ms = float(timings["init"]) / 1e3, float(timings["first"]) / 1e3
    if abs(calls.mean - float(timings["avg"]) / 1e3) > _TOLERANCE * calls.mean + 1e-3:
        raise ToolError("benchmark_model contradicts itself: it prints two different means")
    if result:
        init_ms, first_ms, calls = _from_file(result, calls)
    return ToolResult(
        init_ms=init_ms,
        first_ms=first_ms,
        calls=calls,
        coverage=_coverage(text, delegate),
        memory=_memory(text),
        profile=parse_profile(text),
    )


def parse_profile(text: str) -> tuple[OperatorTime, ...]:
    """Parses the tables 'Run Order' that follow the counted calls.

    Columns are found by their headings, because older tools have one more.

    Args:
      text: Output of the tool with `--enable_op_profiling=true`.

    Returns:
      The operators, slowest first; empty if there is no such table.

    Raises:
      ToolError: a line of a table cannot be parsed.
    """
    _, found, tables = text.partition(_PROFILE_BEGIN)
    operators: list[OperatorTime] = []
    lines = iter(tables.splitlines() if found else ())
    for line in lines:
        if not _RUN_ORDER.match(line.strip()):
            continue
        headings = [cell.strip() for cell in next(lines, "").split("\t")]
        for row in lines:
            if not row.strip():
                break
            operators.append(_operator(headings, row))
    return tuple(sorted(operators, key=lambda o: -o.mean_ms))


def _operator(headings: list[str], row: str) -> OperatorTime:
    cells = [cell.strip() for cell in row.split("\t", len(headings) - 1)]
    try:
        values = dict(zip(headings, cells, strict=True))
        return OperatorTime(
            operator=values["[node type]"],
            name=values["[Name]"],
            mean_ms=float(values["[avg ms]"]),
            calls=int(values["[times called]"]),
        )
    except (KeyError, ValueError) as error:
        raise ToolError(f"benchmark_model's profile has an unreadable line: {row[:120]!r}") from (
            error
        )


def _aggregate(match: re.Match[str]) -> Aggregate:
    same = match["curr"]

    def milliseconds(name: str, default: str) -> float:
        return float(match[name] or default) / 1e3

    try:
        return Aggregate(
            count=int(match["count"]),
            mean=milliseconds("avg", same),
            minimum=milliseconds("min", same),
            maximum=milliseconds("max", same),
            standard_deviation=milliseconds("std", "0"),
            p50=None if match["median"] is None else milliseconds("median", same),
        )
    except ValueError as error:
        raise ToolError(f"benchmark_model's statistics cannot be read: {match[0]}") from error


def _check_applied(text: str, delegate: str) -> None:
    """Checks that the delegate was used.

    Where a delegate is unavailable, the tool continues on the CPU, and its times are those of
    another case. It then prints 'unsupported on this platform', or 'Though X delegate is explicitly
    applied, the model graph will not be executed by the delegate'.
    """
    name = _DELEGATES[delegate][0]
    if not any(match["name"] == name for match in _APPLIED.finditer(text)):
        raise ToolError(f"the {name} delegate was not used{_error_lines(text)}")


def _coverage(text: str, delegate: str | None) -> Coverage | None:
    if delegate is None:
        return None
    for match in _REPLACING.finditer(text):
        if match["name"] == _DELEGATES[delegate][1]:
            return Coverage(int(match["taken"]), int(match["all"]), int(match["parts"]))
    return None


def _memory(text: str) -> ToolMemory | None:
    growth, peak, resident = (p.search(text) for p in (_FOOTPRINT, _PEAK, _RESIDENT))
    if growth is None or peak is None or resident is None:
        return None
    return ToolMemory(float(growth["overall"]), float(resident["resident"]), float(peak["peak"]))


def _from_file(content: bytes, printed: Aggregate) -> tuple[float, float, Aggregate]:
    from google.protobuf.message import DecodeError

    message = _result_class()()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise ToolError("benchmark_model's result file is damaged") from error
    latency, misc = message.latency_metrics, message.misc_metrics
    if misc.num_runs < 1:
        raise ToolError("benchmark_model's result file has no counted calls")
    if (
        misc.num_runs != printed.count
        or abs(latency.avg_ms - printed.mean) > _TOLERANCE * printed.mean + 1e-3
    ):
        raise ToolError(
            f"benchmark_model's result file ({misc.num_runs} calls, mean {latency.avg_ms:.3f} ms)"
            f" contradicts what it printed ({printed.count} calls, mean {printed.mean:.3f} ms)"
        )
    # The file has float32 values, of which further digits are noise.
    number = {name: round(getattr(latency, name), 5) for name in _LATENCY_FIELDS}
    calls = Aggregate(
        count=misc.num_runs,
        mean=number["avg_ms"],
        minimum=number["min_ms"],
        maximum=number["max_ms"],
        standard_deviation=number["stddev_ms"],
        p50=number["median_ms"],
    )
    return number["init_ms"], number["first_inference_ms"], calls


@functools.cache
def _result_class() -> Any:
    """Returns the class of tflite.tools.benchmark.BenchmarkResult, with the fields used here.

    Field numbers are those of tflite/tools/benchmark/proto/benchmark_result.proto. The class is
    made at run time, because generated code would tie the project to one version of protobuf.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    package = "tflite.tools.benchmark"
    file = descriptor_pb2.FileDescriptorProto(
        name="mm_face_stylizer/benchmark_result.proto", package=package, syntax="proto2"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    fields = {
        "LatencyMetrics": [(n, i, kinds.TYPE_FLOAT) for n, i in _LATENCY_FIELDS.items()],
        "MiscMetrics": [("num_runs", 2, kinds.TYPE_INT32)],
        "BenchmarkResult": [
            ("latency_metrics", 2, f".{package}.LatencyMetrics"),
            ("misc_metrics", 4, f".{package}.MiscMetrics"),
        ],
    }
    for name, members in fields.items():
        message = file.message_type.add(name=name)
        for member, number, kind in members:
            field = message.field.add(name=member, number=number, label=kinds.LABEL_OPTIONAL)
            if isinstance(kind, str):
                field.type, field.type_name = kinds.TYPE_MESSAGE, kind
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{package}.BenchmarkResult")
    return message_factory.GetMessageClass(descriptor)


def _describe_end(status: int) -> str:
    if status > 128:
        number = status - 128
        return f"was killed by signal {number} ({_SIGNALS.get(number, 'unknown')})"
    return f"failed with status {status}"


def _error_lines(text: str) -> str:
    found = list(dict.fromkeys(" ".join(m["text"].split()) for m in _ERROR_LINE.finditer(text)))
    return f": {'; '.join(found[:4])}"[:400] if found else ""


def _last_output(text: str) -> str:
    words = " ".join(text.split())
    return f"; its output ends with {words[-120:]!r}" if words else "; it printed nothing"
