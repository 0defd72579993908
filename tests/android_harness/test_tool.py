"""Parsing of the output of LiteRT's benchmark_model (tflite/tools/benchmark, tflite/profiling)."""

import struct

import pytest

from android_harness.errors import DeviceRefusedError, ToolError
from android_harness.tool import parse_output, parse_profile

START = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [/data/local/tmp/0.tflite]
INFO: Loaded model /data/local/tmp/0.tflite
"""
APPLIED = """\
INFO: Created TensorFlow Lite delegate for GPU.
VERBOSE: Replacing 49 out of 58 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 2 \
partitions for subgraph 0.
VERBOSE: Replacing 9 out of 11 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 \
partitions for subgraph 0.
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the \
delegate w/ 2 delegate kernels.
"""
RUN = """\
INFO: The input model file size (MB): 4.2761
INFO: Initialized session in 87.639ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=5 first=106436 curr=105929 min=105929 max=106436 avg=106065 std=193 p5=105929 \
median=105948 p95=106436

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
INFO: count=50 first=106022 curr=105780 min=105416 max=106528 avg=105784 std=260 p5=105485 \
median=105718 p95=106281

INFO: Inference timings in us: Init: 87639, First inference: 106436, Warmup (avg): 106065, \
Inference (avg): 105784
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only \
APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your \
discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164
"""
PEAK = """\
INFO: Overall peak memory footprint (MB) via periodic monitoring: 93.2383
INFO: Memory status at the end of exeution:
INFO: - VmRSS              : 55 MB
INFO: + RssAnnon           : 40 MB
INFO: + RssFile + RssShmem : 15 MB
"""
HEADINGS = (
    "\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]"
    "\t[times called]\t[Name]\n"
)
PROFILE = (
    "INFO: Profiling Info for Benchmark Initialization:\n"
    "============================== Run Order ==============================\n"
    + HEADINGS
    + "\t         AllocateTensors\t    2.204\t    2.204\t100.000%\t100.000%\t   124.000\t        1"
    "\tAllocateTensors/0\n"
    "\n"
    "INFO: Operator-wise Profiling Info for Regular Benchmark Runs:\n"
    "============================== Run Order ==============================\n"
    + HEADINGS
    + "\t                 CONV_2D\t    4.269\t    4.108\t 40.107%\t 40.107%\t     0.000\t        1"
    "\t[a/b]:0\n"
    "\t               CONV_2D/x\t    5.269\t    6.108\t 59.893%\t100.000%\t     0.000\t        2"
    "\t[c\td]:1\n"
    "\n"
    "============================== Top by Computation Time ==============================\n"
    + HEADINGS
    + "\t               CONV_2D/x\t    5.269\t    6.108\t 59.893%\t100.000%\t     0.000\t        2"
    "\t[c\td]:1\n"
    "\n"
    "Number of nodes executed: 2\n"
)


def result_file(mean: float = 105.784, runs: int = 50) -> bytes:
    """BenchmarkResult: latency_metrics is field 2, misc_metrics field 4."""

    def floats(**values: float) -> bytes:
        numbers = {"avg": 1, "min": 2, "max": 3, "stddev": 4, "median": 5, "init": 8, "first": 9}
        return b"".join(
            bytes([numbers[name] << 3 | 5]) + struct.pack("<f", v) for name, v in values.items()
        )

    latency = floats(
        avg=mean, min=105.416, max=106.528, stddev=0.26, median=105.7184, init=87.639, first=106.436
    )
    misc = bytes([2 << 3 | 0, runs])
    return bytes([2 << 3 | 2, len(latency)]) + latency + bytes([4 << 3 | 2, len(misc)]) + misc


def test_counted_calls_are_told_from_warm_up() -> None:
    result = parse_output(START + RUN, 0)
    assert (result.calls.count, result.calls.mean, result.calls.p50) == (50, 105.784, 105.718)
    assert (result.calls.minimum, result.calls.maximum) == (105.416, 106.528)
    assert result.calls.standard_deviation == 0.26
    assert (result.init_ms, result.first_ms) == (87.639, 106.436)
    assert result.coverage is None and result.memory is None and result.profile == ()


def test_the_result_file_has_more_digits() -> None:
    result = parse_output(START + RUN, 0, result=result_file())
    assert result.calls.p50 == pytest.approx(105.7184, abs=1e-4)
    assert result.calls.count == 50


def test_a_result_file_that_contradicts_the_text_is_refused() -> None:
    with pytest.raises(ToolError, match="contradicts what it printed"):
        parse_output(START + RUN, 0, result=result_file(mean=90.0))
    with pytest.raises(ToolError, match="contradicts what it printed"):
        parse_output(START + RUN, 0, result=result_file(runs=49))
    with pytest.raises(ToolError, match="damaged"):
        parse_output(START + RUN, 0, result=b"\xff\xff\xff")


def test_numbers_may_have_exponents_or_be_all_the_same() -> None:
    text = RUN.replace("avg=105784 std", "avg=1.05784e+05 std").replace(
        "Inference (avg): 105784", "Inference (avg): 1.05784e+05"
    )
    assert parse_output(text, 0).calls.mean == 105.784
    same = RUN.replace(
        "count=50 first=106022 curr=105780 min=105416 max=106528 avg=105784 std=260 p5=105485"
        " median=105718 p95=106281",
        "count=50 curr=105784(all same) p5=105784 median=105784 p95=105784",
    )
    calls = parse_output(same, 0).calls
    assert (calls.mean, calls.minimum, calls.p50, calls.standard_deviation) == (
        105.784,
        105.784,
        105.784,
        0.0,
    )
    # Tools before 2024 have no percentiles.
    assert parse_output(RUN.replace(" p5=105485 median=105718 p95=106281", ""), 0).calls.p50 is None


def test_coverage_is_that_of_the_delegate_that_was_asked_for() -> None:
    coverage = parse_output(START + APPLIED + RUN, 0, "gpu").coverage
    assert coverage is not None
    assert (coverage.delegated, coverage.operators, coverage.partitions) == (49, 58, 2)


def test_a_delegate_that_was_not_used_is_no_measurement_of_it() -> None:
    # The tool continues without it, on the CPU, and ends with status 0.
    text = START + "WARN: GPU acceleration is unsupported on this platform.\n" + RUN
    with pytest.raises(ToolError, match="GPU delegate was not used: GPU acceleration is unsupp"):
        parse_output(text, 0, "gpu")
    refused = (
        "INFO: Though NNAPI delegate is explicitly applied, the model graph will not be executed"
    )
    with pytest.raises(ToolError, match="NNAPI delegate was not used"):
        parse_output(START + refused + " by the delegate.\n" + RUN, 0, "nnapi")


def test_memory_needs_all_three_figures() -> None:
    memory = parse_output(START + RUN + PEAK, 0).memory
    assert memory is not None
    assert (memory.growth, memory.resident, memory.peak) == (14.8164, 55.0, 93.2383)


def test_the_profile_is_that_of_the_counted_calls() -> None:
    slow, fast = parse_output(START + RUN + PROFILE, 0).profile
    assert (slow.operator, slow.name, slow.mean_ms, slow.calls) == (
        "CONV_2D/x",
        "[c\td]:1",
        6.108,
        2,
    )
    assert (fast.operator, fast.mean_ms) == ("CONV_2D", 4.108)


def test_columns_of_older_tools_are_found_by_their_headings() -> None:
    # Before 2022 there was a column [start].
    older = PROFILE.replace("[node type]\t", "[node type]\t  [start]\t").replace(
        "CONV_2D\t    4.269", "CONV_2D\t    0.000\t    4.269"
    )
    older = older.replace("CONV_2D/x\t    5.269", "CONV_2D/x\t    4.270\t    5.269")
    assert [o.mean_ms for o in parse_profile(older)] == [6.108, 4.108]


def test_a_damaged_profile_is_refused() -> None:
    with pytest.raises(ToolError, match="an unreadable line"):
        parse_profile(PROFILE.replace("4.108", "?.???"))


def test_kinds_of_failure_are_told_apart() -> None:
    with pytest.raises(ToolError, match=r"killed by signal 11 \(SIGSEGV\)"):
        parse_output(START, 139)
    with pytest.raises(ToolError, match="failed with status 1: Failed to apply GPU delegate"):
        parse_output(
            START + "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.\n", 1
        )
    with pytest.raises(DeviceRefusedError, match="cannot be executed"):
        parse_output("/system/bin/sh: x: not executable: 64-bit ELF file\n", 126)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00\ufffd\x1b[2J",
        START,
        RUN.replace("count=50", "count=x"),
        RUN.replace("(avg)", "(x)"),
    ],
)
def test_garbage_is_no_result(text: str) -> None:
    with pytest.raises(ToolError):
        parse_output(text, 0)


def test_two_different_means_are_refused() -> None:
    with pytest.raises(ToolError, match="two different means"):
        parse_output(RUN.replace("Inference (avg): 105784", "Inference (avg): 99999"), 0)
