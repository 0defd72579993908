"""Stand-in for TensorFlow's benchmark_model on the simulated phone.

It runs the model through LiteRT, on the machine's own cores, and prints what the tool of LiteRT
1.0 to 2.0 prints: tflite/tools/benchmark/{benchmark_model,benchmark_tflite_model,
profiling_listener}.cc, tflite/tools/logging.h, benchmark_result.proto and
tensorflow/core/util/stats_calculator.cc. README.md lists what it makes up.

It runs as a program of its own: python -I benchmark_model.py PROGRAM --graph=...
"""

import dataclasses
import json
import math
import os
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# With -I, Python does not add the folder of the program to sys.path.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tool_client

_WRONG_ABI: Final = 126

# The flags of the tool by type, including those that have no effect here.
_BOOLS: Final = {
    "use_caching": "Use caching",
    "verbose": "",
    "dry_run": "Run w/o invoking kernels",
    "report_peak_memory_footprint": "Report the peak memory footprint",
    "allow_fp16": "Allow fp16",
    "require_full_delegation": "Require full delegation",
    "enable_op_profiling": "Enable op profiling",
    "print_preinvoke_state": "Print pre-invoke interpreter state",
    "print_postinvoke_state": "Print post-invoke interpreter state",
    "use_gpu": "Use gpu",
    "gpu_precision_loss_allowed": "Allow lower precision in gpu",
    "gpu_experimental_enable_quant": "Enable running quant models in gpu",
    "gpu_inference_for_sustained_speed": "Prefer maximizing the throughput in gpu",
    "use_nnapi": "Use NNAPI",
    "disable_nnapi_cpu": "Disable NNAPI cpu",
    "nnapi_allow_fp16": "Allow fp16 in NNAPI",
    "use_xnnpack": "Use xnnpack",
    "xnnpack_force_fp16": "xnnpack_force_fp16",
    "help": "",
}
_INTS: Final = {
    "num_runs": "Min num runs",
    "num_threads": "Num threads",
    "warmup_runs": "Min warmup runs",
    "memory_footprint_check_interval_ms": "Memory footprint check interval (ms)",
    "max_profiling_buffer_entries": "Max initial profiling buffer entries",
    "max_delegated_partitions": "Max number of delegated partitions",
}
_FLOATS: Final = {
    "min_secs": "Min runs duration (seconds)",
    "max_secs": "Max runs duration (seconds)",
    "run_delay": "Inter-run delay (seconds)",
    "warmup_min_secs": "Min warmup runs duration (seconds)",
}
_STRINGS: Final = {
    "benchmark_name": "Benchmark name",
    "output_prefix": "Output prefix",
    "graph": "Graph",
    "signature_to_run_for": "Signature to run",
    "input_layer": "Input layers",
    "input_layer_shape": "Input shapes",
    "input_layer_value_range": "Input value ranges",
    "input_layer_value_files": "Input value files",
    "op_profiling_output_mode": "Op profiling output mode.",
    "op_profiling_output_file": "Op profiling output file.",
    "profiling_output_csv_file": "CSV File to export profiling data to",
    "output_filepath": "File path to export outputs layer to",
    "result_file_path": "File path to save the benchmark result in binary proto format",
    "gpu_backend": "GPU backend",
    "nnapi_accelerator_name": "NNAPI accelerator name",
    "nnapi_execution_preference": "NNAPI execution preference",
}
# The flags in the order of LogParams.
_LOGGED: Final = (
    "num_runs min_secs max_secs run_delay num_threads use_caching benchmark_name output_prefix "
    "warmup_runs warmup_min_secs dry_run report_peak_memory_footprint "
    "memory_footprint_check_interval_ms graph signature_to_run_for input_layer input_layer_shape "
    "input_layer_value_range input_layer_value_files allow_fp16 require_full_delegation "
    "enable_op_profiling op_profiling_output_mode op_profiling_output_file "
    "max_profiling_buffer_entries profiling_output_csv_file print_preinvoke_state "
    "print_postinvoke_state output_filepath result_file_path max_delegated_partitions num_threads "
    "use_gpu gpu_precision_loss_allowed gpu_experimental_enable_quant "
    "gpu_inference_for_sustained_speed gpu_backend use_nnapi nnapi_execution_preference "
    "nnapi_accelerator_name disable_nnapi_cpu nnapi_allow_fp16 use_xnnpack xnnpack_force_fp16"
)
_ALWAYS_LOGGED: Final = ("graph", "signature_to_run_for")
_DEFAULTS: Final = {
    "num_runs": 50,
    "min_secs": 1.0,
    "max_secs": 150.0,
    "run_delay": -1.0,
    "num_threads": -1,
    "warmup_runs": 1,
    "warmup_min_secs": 0.5,
    "memory_footprint_check_interval_ms": 50,
    "op_profiling_output_mode": "stdout",
}


class _Output:
    """Prints as TFLITE_LOG does. A file on a full disk silently loses what does not fit."""

    def __init__(self) -> None:
        self._is_file = stat.S_ISREG(os.fstat(1).st_mode)

    def info(self, text: str) -> None:
        self._print(f"INFO: {text}\n")

    def warn(self, text: str) -> None:
        self._print(f"WARN: {text}\n")

    def error(self, text: str) -> None:
        os.write(2, f"ERROR: {text}\n".encode())

    def raw(self, data: bytes) -> None:
        self._write(data)

    def _print(self, text: str) -> None:
        self._write(text.encode())

    def _write(self, data: bytes) -> None:
        if not self._is_file or has_room(len(data)):
            while data:
                data = data[os.write(1, data) :]


def has_room(size: int) -> bool:
    """Returns whether the phone's disk accepts `size` more bytes."""
    return tool_client.ask("run-writes", [str(size)])[0] == "0"


class _Failed(Exception):
    """Ends the tool with status 1, after the message on stderr."""


@dataclasses.dataclass
class _Flags:
    """The flags of the command line, with defaults for the others."""

    given: dict[str, Any]

    @classmethod
    def parse(cls, words: list[str], output: _Output) -> "_Flags":
        given: dict[str, Any] = {}
        unknown = []
        for word in words:
            name, equals, text = word.removeprefix("--").partition("=")
            try:
                if not word.startswith("--"):
                    unknown.append(word)
                elif name in _BOOLS:
                    if equals and text not in ("true", "1", "false", "0"):
                        raise ValueError(text)
                    given[name] = not equals or text in ("true", "1")
                elif name in _INTS:
                    given[name] = int(text)
                elif name in _FLOATS:
                    given[name] = float(text)
                elif name in _STRINGS:
                    given[name] = text
                else:
                    unknown.append(word)
            except ValueError as error:
                raise _Failed(f"Failed to parse flag: {word}") from error
        if unknown:
            output.warn(f"Unconsumed cmdline flags: {' '.join(unknown)}")
        return cls(given)

    def __getitem__(self, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        return _DEFAULTS.get(name, "" if name in _STRINGS else False)

    def log(self, output: _Output, device_path: Callable[[str], str]) -> None:
        """Prints the flags that were set, as LogParams does."""
        descriptions = _BOOLS | _INTS | _FLOATS | _STRINGS
        output.info(f"Log parameter values verbosely: [{int(self['verbose'])}]")
        for name in _LOGGED.split():
            if name in self.given or name in _ALWAYS_LOGGED or self["verbose"]:
                value = self[name]
                text = (
                    str(int(value))
                    if isinstance(value, bool)
                    else f"{value:.6g}"
                    if isinstance(value, float)
                    else device_path(str(value))
                )
                output.info(f"{descriptions[name]}: [{text}]")


class _Statistics:
    """tensorflow::StatWithPercentiles of microseconds."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def add(self, value: int) -> None:
        self.values.append(value)

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values) if self.values else math.nan

    @property
    def deviation(self) -> int:
        squares = sum(value**2 for value in self.values) / len(self.values)
        return int(math.sqrt(max(0.0, squares - self.mean**2)))

    def percentile(self, percent: int) -> int:
        return sorted(self.values)[len(self.values) * percent // 100]

    def line(self) -> str:
        """Returns the statistics as the tool prints them."""
        values = self.values
        if not values:
            return "count=0"
        if min(values) == max(values):
            text = f"count={len(values)} curr={values[-1]}"
            text += "(all same)" if len(values) > 1 else ""
        else:
            text = (
                f"count={len(values)} first={values[0]} curr={values[-1]} min={min(values)} "
                f"max={max(values)} avg={self.mean:.6g} std={self.deviation}"
            )
        return (
            f"{text} p5={self.percentile(5)} median={self.percentile(50)} p95={self.percentile(95)}"
        )


class _MemoryMonitor(threading.Thread):
    """Records the peak of memory by polling."""

    def __init__(self, interval_ms: int) -> None:
        super().__init__(daemon=True)
        self._interval = interval_ms / 1000
        self._stop_requested = threading.Event()
        self.peak_mb = 0.0

    def run(self) -> None:
        while not self._stop_requested.wait(self._interval):
            self.peak_mb = max(self.peak_mb, _resident_pages()[0] * _PAGE / 2**20)

    def stop(self) -> float:
        self._stop_requested.set()
        self.join()
        return max(self.peak_mb, _resident_pages()[0] * _PAGE / 2**20)


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def _resident_pages() -> tuple[int, int]:
    """Returns the number of resident pages, and of those that are shared."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]), int(fields[2])


def _footprint_kb() -> int:
    # The tool uses ru_maxrss, which in a child of pytest would start with the memory of pytest.
    return _resident_pages()[0] * _PAGE // 1024


class _Tool:
    """One run of the tool."""

    def __init__(self, program: str, words: list[str]) -> None:
        self._root = os.environ["ADB_DEVICE_ROOT"]
        self._program = program
        self._output = _Output()
        self._words = words

    def run(self) -> int:
        """Runs the tool; returns its exit status."""
        status, *answer = tool_client.ask("run-begins", [self._program, *self._words])
        if int(status) == _WRONG_ABI:
            # The message of mksh for a program that the kernel refuses.
            os.write(
                2, f"/system/bin/sh: {self._device_path(self._program)}: {answer[0]}\n".encode()
            )
            return _WRONG_ABI
        self._situation = json.loads(answer[0])
        try:
            self._output.info("STARTING!")
            self._benchmark()
        except _Failed as failure:
            self._output.error(str(failure))
            self._output.error("Benchmarking failed.")
            return 1
        finally:
            tool_client.ask("run-ends", [])
        return 0

    def _device_path(self, text: str) -> str:
        return text.replace(self._root + "/", "/")

    def _benchmark(self) -> None:
        output = self._output
        flags = self._flags = _Flags.parse(self._words, output)
        if flags["help"]:
            raise _Failed("usage: benchmark_model\nFlags: ...")
        if not flags["graph"]:
            raise _Failed("Please specify the name of your TF Lite input file with --graph")
        flags.log(output, self._device_path)
        monitor = None
        if flags["report_peak_memory_footprint"]:
            monitor = _MemoryMonitor(flags["memory_footprint_check_interval_ms"])
            monitor.start()
        memory_before = _footprint_kb()
        begin = time.perf_counter()
        self._load()
        init_us = round((time.perf_counter() - begin) * 1e6)
        memory_init = _footprint_kb() - memory_before
        model_mb = os.path.getsize(flags["graph"]) / 1e6
        output.info(f"The input model file size (MB): {model_mb:.6g}")
        output.info(f"Initialized session in {init_us / 1e3:.6g}ms.")
        self._fill_inputs()
        dry = flags["dry_run"]
        warm_up = self._series(
            0 if dry else flags["warmup_runs"], -1.0 if dry else flags["warmup_min_secs"], False
        )
        if self._situation["garbage"] is not None:
            output.raw(self._situation["garbage"].encode("latin-1"))
            return
        counted = self._series(
            0 if dry else flags["num_runs"], -1.0 if dry else flags["min_secs"], True
        )
        memory_all = _footprint_kb() - memory_before
        peak_mb = monitor.stop() if monitor else 0.0
        first = warm_up.values[0] if warm_up.values else 0
        output.info(
            f"Inference timings in us: Init: {init_us}, First inference: {first}, "
            f"Warmup (avg): {warm_up.mean:.6g}, Inference (avg): {counted.mean:.6g}"
        )
        self._report_memory(memory_init, memory_all, peak_mb)
        if flags["enable_op_profiling"]:
            self._report_operators(counted)
        if flags["result_file_path"]:
            path = flags["result_file_path"]
            output.info(f"Saving benchmark result to: {self._device_path(path)}")
            throughput = model_mb / (counted.mean / 1e6) if counted.values else 0.0
            self._save(
                path,
                _encode_result(
                    counted,
                    warm_up,
                    init_us,
                    memory_init,
                    memory_all,
                    peak_mb,
                    model_mb,
                    throughput,
                ),
            )
            output.info(f"Saved benchmark result to: {self._device_path(path)}")
        if flags["output_filepath"]:
            details = self._interpreter.get_output_details()
            tensors = [self._interpreter.get_tensor(detail["index"]) for detail in details]
            self._save(flags["output_filepath"], b"".join(t.tobytes() for t in tensors))

    # The model.

    def _load(self) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        flags, output = self._flags, self._output
        graph = flags["graph"]
        if not os.path.isfile(graph):
            output.error(f"Could not open '{self._device_path(graph)}'.")
            raise _Failed(f"Failed to load model {self._device_path(graph)}")
        accelerator = ""
        for flag, kind, name in (("use_gpu", "gpu", "GPU"), ("use_nnapi", "nnapi", "NNAPI")):
            if flags[flag] and self._situation[kind]:
                accelerator = name
        plain = accelerator or flags.given.get("use_xnnpack") is False
        resolver = (
            OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
        )
        threads = flags["num_threads"]
        try:
            self._interpreter = Interpreter(
                model_path=graph,
                num_threads=threads if threads > 0 else None,
                experimental_op_resolver_type=resolver,
            )
        except ValueError as error:
            output.error(" ".join(str(error).split()))
            raise _Failed(f"Failed to load model {self._device_path(graph)}") from error
        output.info(f"Loaded model {self._device_path(graph)}")
        for flag, kind, name in (("use_gpu", "gpu", "GPU"), ("use_nnapi", "nnapi", "NNAPI")):
            if flags[flag] and not self._situation[kind]:
                output.warn(f"{name} acceleration is unsupported on this platform.")
        try:
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            output.error(" ".join(str(error).split()))
            raise _Failed("Failed to allocate tensors!") from error
        self._operators = _operators(self._interpreter, delegated_by=accelerator)
        self._announce(accelerator)

    def _announce(self, accelerator: str) -> None:
        """Prints which delegate runs how many operators, as the delegates and the tool do."""
        output, taken = self._output, self._operators.taken
        everything = len(self._operators.rows)
        partitions = self._operators.partitions
        names = {"GPU": "TfLiteGpuDelegateV2", "NNAPI": "TfLiteNnapiDelegate"}
        if accelerator == "GPU":
            output.info("Created TensorFlow Lite delegate for GPU.")
            output.info("Initialized OpenCL-based API.")
            output.info("Created 1 GPU delegate kernels.")
        elif accelerator == "NNAPI":
            output.info("Created TensorFlow Lite delegate for NNAPI.")
        if taken:
            kernel = names.get(accelerator, "TfLiteXNNPackDelegate")
            output.raw(
                f"VERBOSE: Replacing {taken} out of {everything} node(s) with delegate ({kernel}) "
                f"node, yielding {partitions} partitions for the whole graph.\n".encode()
            )
        name = accelerator or ("XNNPACK" if self._flags["use_xnnpack"] else "")
        if not name:
            return  # The tool reports only delegates that were requested.
        if taken == everything:
            output.info(
                f"Explicitly applied {name} delegate, and the model graph will be completely "
                "executed by the delegate."
            )
        elif taken:
            output.info(
                f"Explicitly applied {name} delegate, and the model graph will be partially "
                f"executed by the delegate w/ {partitions} delegate kernels."
            )
        else:
            output.info(
                f"Though {name} delegate is explicitly applied, the model graph will not be "
                "executed by the delegate."
            )
        if self._flags["require_full_delegation"] and taken != everything:
            raise _Failed("Disallowed CPU fallback detected.")

    def _fill_inputs(self) -> None:
        import numpy as np

        names = [name for name in self._flags["input_layer"].split(",") if name]
        files = dict(
            entry.rsplit(":", 1)
            for entry in self._flags["input_layer_value_files"].split(",")
            if entry
        )
        generator = np.random.default_rng()
        for index, detail in enumerate(self._interpreter.get_input_details()):
            shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
            path = files.get(names[index]) if index < len(names) else None
            if path is not None:
                data = Path(path).read_bytes()
                size = int(np.prod(shape)) * dtype.itemsize
                if len(data) != size:
                    os.write(
                        2,
                        f"FATAL: The size of {self._device_path(path)} is {len(data)} bytes. It "
                        f"should be {size} bytes.\n".encode(),
                    )
                    os.abort()
                values = np.frombuffer(data, dtype).reshape(shape)
            elif dtype.kind == "f":
                values = generator.uniform(-0.5, 0.5, shape).astype(dtype)
            else:
                values = generator.integers(0, 100, shape).astype(dtype)
            self._interpreter.set_tensor(detail["index"], values)

    def _series(self, runs: int, seconds: float, counted: bool) -> _Statistics:
        """Runs the model repeatedly, as BenchmarkModel::Run does."""
        limit = self._flags["max_secs"]
        self._output.info(
            f"Running benchmark for at least {runs} iterations and at least {seconds:.6g} seconds "
            f"but terminate if exceeding {limit:.6g} seconds."
        )
        slowdown = 1.0
        kill = self._situation["kill"] if counted else None
        if counted:
            slowdown = float(tool_client.ask("run-measures", [])[1])
        times = _Statistics()
        now = start = time.perf_counter()
        while (len(times.values) < runs or now < start + seconds) and now <= start + limit:
            if kill and len(times.values) >= kill["after"]:
                os.kill(os.getpid(), kill["signal"])
            begin = time.perf_counter()
            self._interpreter.invoke()
            time.sleep((slowdown - 1.0) * (time.perf_counter() - begin))
            times.add(round((time.perf_counter() - begin) * 1e6))
            if self._flags["run_delay"] > 0:
                time.sleep(self._flags["run_delay"])
            now = time.perf_counter()
        self._output.info(times.line() + "\n")
        return times

    # Reports.

    def _report_memory(self, init_kb: int, all_kb: int, peak_mb: float) -> None:
        output = self._output
        output.info(
            "Note: as the benchmark tool itself affects memory footprint, the following is only "
            "APPROXIMATE to the actual memory footprint of the model at runtime. Take the "
            "information at your discretion."
        )
        output.info(
            "Memory footprint delta from the start of the tool (MB): "
            f"init={init_kb / 1024:.6g} overall={all_kb / 1024:.6g}"
        )
        if peak_mb <= 0:
            return
        output.info(f"Overall peak memory footprint (MB) via periodic monitoring: {peak_mb:.6g}")
        resident, shared = (pages * _PAGE >> 20 for pages in _resident_pages())
        output.info("Memory status at the end of exeution:")
        output.info(f"- VmRSS              : {resident} MB")
        output.info(f"+ RssAnnon           : {resident - shared} MB")
        output.info(f"+ RssFile + RssShmem : {shared} MB")

    def _report_operators(self, counted: _Statistics) -> None:
        mode, path = (
            self._flags["op_profiling_output_mode"],
            self._flags["op_profiling_output_file"],
        )
        if self._flags["profiling_output_csv_file"]:
            mode, path = "csv", self._flags["profiling_output_csv_file"]
        if mode not in ("stdout", "csv"):
            raise _Failed(f"Output mode{mode} is not supported by the stand-in.")
        import op_profile

        profile = op_profile.report(self._operators.profiled(), counted.values, mode == "csv")
        text = f"Operator-wise Profiling Info for Regular Benchmark Runs:\n{profile}\n"
        if path:
            self._save(path, text.encode())
        else:
            self._output.info(text)

    def _save(self, path: str, data: bytes) -> None:
        """Writes a file. On a full disk it stays empty, and like the tool this reports no error."""
        try:
            with open(path, "wb") as file:
                if has_room(len(data)):
                    file.write(data)
        except OSError:
            if path == self._flags["result_file_path"]:
                self._output.error(f"Failed to save benchmark result to: {self._device_path(path)}")


@dataclasses.dataclass
class _Operators:
    """The model's operators, and which of them a delegate runs.

    Attributes:
      rows: For each operator its type, the name of its output, its share of the work, and whether a
        delegate runs it.
      partitions: Number of parts of the graph that the delegate runs.
    """

    rows: list[tuple[str, str, float, bool]]
    partitions: int

    @property
    def taken(self) -> int:
        return sum(row[3] for row in self.rows)

    def profiled(self) -> list[tuple[str, str, float]]:
        """Returns type, name and share of each row of the tool's profile."""
        named = []
        count = 0
        for index, (kind, name, share, delegated) in enumerate(self.rows):
            if delegated:
                kind = kind.replace("_", " ").title()
                named.append((kind, f"Delegate/{kind}:{count}", share))
                count += 1
            else:
                named.append((kind, f"[{name}]:{index}", share))
        return named


def _operators(interpreter: Any, delegated_by: str) -> _Operators:
    """Returns the operators of the main graph, of which the delegate's kernels are the last."""
    details = interpreter._get_ops_details()
    names = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    plain = [op for op in details if op["op_name"] != "DELEGATE"]
    kernels = [op for op in details if op["op_name"] == "DELEGATE"]
    maker = {int(tensor): op["index"] for op in plain for tensor in op["outputs"]}
    by_index = {op["index"]: op for op in plain}
    taken: set[int] = set()
    for kernel in kernels:
        stop = {int(tensor) for tensor in kernel["inputs"]}
        todo = [int(tensor) for tensor in kernel["outputs"]]
        while todo:
            op = maker.get(todo.pop())
            if op is not None and op not in taken:
                taken.add(op)
                todo += [int(t) for t in by_index[op]["inputs"] if int(t) not in stop]
    partitions = len(kernels)
    if delegated_by:
        taken, partitions = set(by_index), 1

    def size(op: dict[str, Any]) -> float:
        shapes = [names[int(t)]["shape"] for t in op["outputs"] if int(t) in names]
        return 1.0 + sum(math.prod(int(side) for side in shape) for shape in shapes)

    total = sum(size(op) for op in plain) or 1.0
    rows = [
        (
            op["op_name"],
            ", ".join(names[int(t)]["name"] for t in op["outputs"] if int(t) in names),
            size(op) / total,
            op["index"] in taken,
        )
        for op in plain
    ]
    return _Operators(rows, partitions)


def _encode_result(
    counted: _Statistics,
    warm_up: _Statistics,
    init_us: int,
    init_kb: int,
    all_kb: int,
    peak_mb: float,
    model_mb: float,
    throughput: float,
) -> bytes:
    """Returns tflite.tools.benchmark.BenchmarkResult in protobuf's wire format."""
    latency = [counted.mean, min(counted.values), max(counted.values), counted.deviation]
    latency += [counted.percentile(percent) for percent in (50, 5, 95)]
    latency += [init_us, warm_up.values[0] if warm_up.values else 0, warm_up.mean]
    latencies = b"".join(_float(n, value / 1000) for n, value in enumerate(latency, start=1))
    memory = _integer(1, init_kb) + _integer(2, all_kb)
    if peak_mb > 0:
        memory += _float(3, peak_mb)
    others = _float(1, model_mb) + _integer(2, len(counted.values))
    others += _integer(3, len(warm_up.values)) + _float(4, throughput)
    return _message(2, latencies) + _message(3, memory) + _message(4, others)


def _varint(value: int) -> bytes:
    data = bytearray()
    value &= 2**64 - 1
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


if __name__ == "__main__":
    sys.exit(_Tool(sys.argv[1], sys.argv[2:]).run())
