"""The stand-in for benchmark_model on the simulated phone."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from adb_device import AdbDevice, AdbEnvironment, Phone, write_benchmark_model
from adb_device.op_profile import report
from conv_model import make_stylizer

from android_harness.binary import open_binary
from android_harness.tool import parse_output, parse_profile

MakePhone = Callable[..., AdbDevice]
Run = Callable[..., tuple[int, str, str]]

TMP = "/data/local/tmp"
GRAPH = f"--graph={TMP}/model.tflite"
QUICK = ("--num_runs=4", "--min_secs=0", "--warmup_min_secs=0", "--num_threads=1")


def load(adb: AdbEnvironment, phone: AdbDevice, folder: Path) -> None:
    """Pushes the tool and a model that doubles its input."""
    (folder / "model.tflite").write_bytes(make_stylizer(16, gain=2.0))
    files = [write_benchmark_model(folder / "benchmark_model"), folder / "model.tflite"]
    assert adb.run("push", *files, f"{TMP}/", serial=phone.address).returncode == 0


@pytest.fixture
def run(adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path) -> Run:
    """Runs the tool with flags; returns its status, stdout and stderr."""
    load(adb, phone, tmp_path)

    def run(*flags: str, before: str = "", graph: str = GRAPH) -> tuple[int, str, str]:
        command = " ".join([before, f"{TMP}/benchmark_model", graph, *flags])
        result = adb.shell(phone.address, command)
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    return run


# The file.


@pytest.mark.parametrize("abi", ["arm64-v8a", "armeabi-v7a", "x86_64", "x86"])
def test_it_looks_like_a_program_for_its_abi(tmp_path: Path, abi: str) -> None:
    assert open_binary(write_benchmark_model(tmp_path / "tool", abi)).abi == abi


@pytest.mark.parametrize("abi", ["arm64-v8a", "armeabi-v7a", "x86_64", "x86"])
def test_it_comes_back_as_it_went_and_runs(
    adb: AdbEnvironment, make_phone: MakePhone, tmp_path: Path, abi: str
) -> None:
    phone = make_phone(phone=Phone(abis=(abi,)))
    tool = write_benchmark_model(tmp_path / "tool", abi)
    adb.run("push", tool, f"{TMP}/tool", serial=phone.address)
    digest = hashlib.sha256(tool.read_bytes()).hexdigest()
    assert adb.shell(phone.address, f"cd {TMP}; sha256sum tool").stdout.decode() == (
        f"{digest}  tool\n"
    )
    adb.run("pull", f"{TMP}/tool", tmp_path / "back", serial=phone.address)
    assert (tmp_path / "back").read_bytes() == tool.read_bytes()
    result = adb.shell(phone.address, f"{TMP}/tool")
    assert result.returncode == 1
    assert result.stdout == b"INFO: STARTING!\n"


@pytest.mark.parametrize("before", ["taskset c0", "nohup", "timeout 60", "sh -c"])
def test_it_can_be_started_by_other_tools(run: Run, before: str) -> None:
    status, output, errors = run(before=before, graph="")
    assert (status, output) == (1, "INFO: STARTING!\n")
    assert "Please specify the name of your TF Lite input file with --graph" in errors


# Output.


def test_the_output_is_worded_like_the_tools(run: Run) -> None:
    status, output, _ = run(*QUICK, "--use_xnnpack=true", "--warmup_runs=2")
    assert status == 0
    expected = rf"""INFO: STARTING!
INFO: Log parameter values verbosely: \[0\]
INFO: Min num runs: \[4\]
INFO: Min runs duration \(seconds\): \[0\]
INFO: Num threads: \[1\]
INFO: Min warmup runs: \[2\]
INFO: Min warmup runs duration \(seconds\): \[0\]
INFO: Graph: \[{TMP}/model.tflite\]
INFO: Signature to run: \[\]
INFO: Num threads: \[1\]
INFO: Use xnnpack: \[1\]
INFO: Loaded model {TMP}/model.tflite
VERBOSE: Replacing 1 out of 1 node\(s\) with delegate \(TfLiteXNNPackDelegate\) node, yielding 1 \
partitions for the whole graph.
INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the \
delegate.
INFO: The input model file size \(MB\): 0.\d+
INFO: Initialized session in \d+\.?\d*ms.
INFO: Running benchmark for at least 2 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=2 .+

INFO: Running benchmark for at least 4 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=4 .+ p5=\d+ median=\d+ p95=\d+

INFO: Inference timings in us: Init: \d+, First inference: \d+, Warmup \(avg\): [\d.e+]+, \
Inference \(avg\): [\d.e+]+
INFO: Note: as the benchmark tool itself affects memory footprint, .+
INFO: Memory footprint delta from the start of the tool \(MB\): init=[\d.]+ overall=[\d.]+
"""
    assert re.fullmatch(expected.replace("\\\n", ""), output), output


def test_its_result_file_says_what_it_prints(run: Run, phone: AdbDevice) -> None:
    status, output, _ = run(*QUICK, f"--result_file_path={TMP}/result.pb")
    content = phone.disk.host_path(f"{TMP}/result.pb").read_bytes()
    assert f"INFO: Saved benchmark result to: {TMP}/result.pb\n" in output
    # This raises an error if file and text disagree.
    result = parse_output(output, status, result=content)
    assert result.calls.count == 4
    medians = re.findall(r"median=(\d+)", output)
    assert result.calls.p50 == pytest.approx(int(medians[-1]) / 1000)


def test_it_really_runs_the_model(run: Run, phone: AdbDevice) -> None:
    values = np.random.default_rng(1).random((1, 16, 16, 3), np.float32)
    phone.disk.host_path(f"{TMP}/input").write_bytes(values.tobytes())
    status, _, _ = run(
        *QUICK,
        "--input_layer=photo",
        "--input_layer_shape=1,16,16,3",
        f"--input_layer_value_files=photo:{TMP}/input",
        f"--output_filepath={TMP}/output",
    )
    assert status == 0
    output = np.frombuffer(phone.disk.host_path(f"{TMP}/output").read_bytes(), np.float32)
    np.testing.assert_allclose(output.reshape(values.shape), 2 * values, rtol=1e-6)


def test_an_input_of_another_size_aborts_it(run: Run, phone: AdbDevice) -> None:
    phone.disk.host_path(f"{TMP}/input").write_bytes(b"123")
    status, _, errors = run(
        *QUICK,
        "--input_layer=photo",
        "--input_layer_shape=1,16,16,3",
        f"--input_layer_value_files=photo:{TMP}/input",
    )
    assert status == 134
    assert f"FATAL: The size of {TMP}/input is 3 bytes. It should be 3072 bytes." in errors


def test_time_limits_are_kept(run: Run) -> None:
    _, output, _ = run("--num_runs=1000000000", "--max_secs=0.2", "--warmup_min_secs=0")
    counts = [int(count) for count in re.findall(r"count=(\d+)", output)]
    assert counts[0] == 1 and 1 <= counts[1] < 1_000_000_000


def test_a_dry_run_runs_nothing(run: Run) -> None:
    status, output, _ = run("--dry_run=true")
    assert status == 0
    assert output.count("INFO: count=0\n") == 2


def test_memory_is_reported_when_it_is_asked_for(run: Run) -> None:
    status, output, _ = run(*QUICK, "--report_peak_memory_footprint=true")
    memory = parse_output(output, status).memory
    assert memory is not None and memory.peak > 1 and memory.resident > 1
    status, output, _ = run(*QUICK)
    assert parse_output(output, status).memory is None


def test_operators_are_reported_when_it_is_asked_for(run: Run, phone: AdbDevice) -> None:
    _, output, _ = run(*QUICK, "--enable_op_profiling=true", "--use_xnnpack=false")
    (operator,) = parse_profile(output)
    assert (operator.operator, operator.name, operator.calls) == ("CONV_2D", "[stylized]:0", 1)
    _, output, _ = run(*QUICK, "--enable_op_profiling=true", "--use_xnnpack=true")
    (operator,) = parse_profile(output)
    assert operator.name.startswith("Delegate/")
    run(
        *QUICK,
        "--enable_op_profiling=true",
        "--op_profiling_output_mode=csv",
        f"--op_profiling_output_file={TMP}/ops.csv",
    )
    table = phone.disk.host_path(f"{TMP}/ops.csv").read_text().splitlines()
    assert table[2] == "node type, first, avg_ms, %, cdf%, mem KB, times called, name"


def test_the_tables_of_operators() -> None:
    operators = [("CONV_2D", "[a]:0", 0.75), ("ADD", "[b]:1", 0.25)]
    assert report(operators, [4000, 8000], csv=False).splitlines()[:4] == [
        "============================== Run Order ==============================",
        "\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]"
        "\t[times called]\t[Name]",
        "\t                 CONV_2D\t    3.000\t    4.500\t 75.000%\t 75.000%\t     0.000"
        "\t        1\t[a]:0",
        "\t                     ADD\t    1.000\t    1.500\t 25.000%\t100.000%\t     0.000"
        "\t        1\t[b]:1",
    ]
    assert "Timings (microseconds): count=2 first=4000 curr=8000 min=4000 max=8000 avg=6000 " in (
        report(operators, [4000, 8000], csv=True)
    )


# Delegates.


def test_without_xnnpack_no_delegate_is_announced(run: Run) -> None:
    _, output, errors = run(*QUICK, "--use_xnnpack=false")
    assert "delegate" not in output and "XNNPACK" not in errors


def test_a_default_delegate_is_not_announced_as_explicit(run: Run) -> None:
    _, output, errors = run(*QUICK)
    assert "Replacing 1 out of 1 node(s)" in output and "Explicitly" not in output
    assert "Created TensorFlow Lite XNNPACK delegate for CPU." in errors


@pytest.mark.parametrize(
    ("flag", "name", "kernel"),
    [
        ("--use_gpu=true", "GPU", "TfLiteGpuDelegateV2"),
        ("--use_nnapi=true", "NNAPI", "TfLiteNnapiDelegate"),
    ],
)
def test_accelerators_are_announced_or_unsupported(
    adb: AdbEnvironment,
    make_phone: MakePhone,
    tmp_path: Path,
    flag: str,
    name: str,
    kernel: str,
) -> None:
    command = " ".join([f"{TMP}/benchmark_model", GRAPH, *QUICK, flag])
    good = make_phone()
    load(adb, good, tmp_path)
    output = adb.shell(good.address, command).stdout.decode()
    assert f"Replacing 1 out of 1 node(s) with delegate ({kernel}) node" in output
    assert f"INFO: Explicitly applied {name} delegate" in output
    poor = make_phone(phone=Phone(has_gpu=False, has_nnapi=False))
    load(adb, poor, tmp_path)
    result = adb.shell(poor.address, command)
    # The tool continues on the CPU.
    assert result.returncode == 0
    output = result.stdout.decode()
    assert f"WARN: {name} acceleration is unsupported on this platform.\n" in output
    assert "Explicitly applied" not in output and "Inference timings" in output


# Failures.


def test_a_missing_model_is_named(run: Run) -> None:
    status, _, errors = run(graph=f"--graph={TMP}/none.tflite")
    assert status == 1
    assert errors == (
        f"ERROR: Could not open '{TMP}/none.tflite'.\n"
        f"ERROR: Failed to load model {TMP}/none.tflite\nERROR: Benchmarking failed.\n"
    )


def test_a_file_that_is_no_model_is_refused(run: Run, phone: AdbDevice) -> None:
    phone.disk.host_path(f"{TMP}/text").write_text("no model")
    status, _, errors = run(graph=f"--graph={TMP}/text")
    assert status == 1
    assert f"ERROR: Failed to load model {TMP}/text\nERROR: Benchmarking failed.\n" in errors


def test_unknown_flags_are_a_warning(run: Run) -> None:
    status, output, _ = run("--dry_run=true", "--nonsense=1", "word")
    assert status == 0
    assert "WARN: Unconsumed cmdline flags: --nonsense=1 word\n" in output
    status, _, errors = run("--num_runs=many")
    assert status == 1
    assert errors.endswith("ERROR: Benchmarking failed.\n")
