"""Stand-in for TensorFlow's benchmark_model on the simulated phone.

It runs the model through LiteRT, on the machine's own cores, and prints what the tool of LiteRT
1.0 to 2.0 prints: tflite/tools/benchmark/{benchmark_model,benchmark_tflite_model,
profiling_listener}.cc, tflite/tools/logging.h, benchmark_result.proto and
tensorflow/core/util/stats_calculator.cc. README.md lists what it makes up.

It runs as a program of its own: python -I benchmark_model.py PROGRAM --graph=...
"""

import json
import os
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Final

# With -I, Python does not add the folder of the program to sys.path.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import op_profile
import tool_client
from benchmark_flags import FlagError, Flags
from benchmark_result import Statistics, encode_result
from model_operators import operators_of

_WRONG_ABI: Final = 126
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


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
        except (FlagError, _Failed) as failure:
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
        flags = self._flags = Flags.parse(self._words, output)
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
                encode_result(
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
        self._operators = operators_of(self._interpreter, delegated_by=accelerator)
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

    def _series(self, runs: int, seconds: float, counted: bool) -> Statistics:
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
        times = Statistics()
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

    def _report_operators(self, counted: Statistics) -> None:
        mode, path = (
            self._flags["op_profiling_output_mode"],
            self._flags["op_profiling_output_file"],
        )
        if self._flags["profiling_output_csv_file"]:
            mode, path = "csv", self._flags["profiling_output_csv_file"]
        if mode not in ("stdout", "csv"):
            raise _Failed(f"Output mode{mode} is not supported by the stand-in.")
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


if __name__ == "__main__":
    sys.exit(_Tool(sys.argv[1], sys.argv[2:]).run())
