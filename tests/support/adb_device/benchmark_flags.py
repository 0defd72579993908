"""The command line of benchmark_model, and what it prints about it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Final, Protocol

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


class Output(Protocol):
    """Where the tool's lines go."""

    def info(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


class FlagError(Exception):
    """A flag's value cannot be read."""


@dataclasses.dataclass
class Flags:
    """The flags of the command line, with defaults for the others."""

    given: dict[str, Any]

    @classmethod
    def parse(cls, words: list[str], output: Output) -> "Flags":
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
                raise FlagError(f"Failed to parse flag: {word}") from error
        if unknown:
            output.warn(f"Unconsumed cmdline flags: {' '.join(unknown)}")
        return cls(given)

    def __getitem__(self, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        return _DEFAULTS.get(name, "" if name in _STRINGS else False)

    def log(self, output: Output, device_path: Callable[[str], str]) -> None:
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
