"""Tests of task_bundle.tflite.probe, with models that crash or block a process."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from task_bundle.errors import BundleError, InvalidArgumentError
from task_bundle.interpreter import INTERPRETER_VARIABLE, find_interpreter
from task_bundle.tflite import probe, schema
from task_bundle.tflite.probe import run_models
from task_bundle.tflite.validation import check_model


def _endless(model: bytes) -> bytes:
    """Makes the one operator of a model the body of a loop whose condition is the constant true."""
    tfl = schema.model_schema()
    made = schema.unpack_model(model)
    body = made.subgraphs[0]
    true = tfl.BufferT()
    true.data = np.ones(1, np.uint8)
    made.buffers.append(true)

    def tensor(name: str, like: object | None = None) -> object:
        new = tfl.TensorT()
        new.name = name
        new.type = tfl.TensorType.BOOL if like is None else like.type
        new.shape = np.array([], np.int32) if like is None else like.shape
        new.buffer = len(made.buffers) - 1 if like is None else 0
        return new

    condition = tfl.SubGraphT()
    condition.tensors = [tensor("loop", body.tensors[0]), tensor("true")]
    condition.inputs, condition.outputs = np.array([0], np.int32), np.array([1], np.int32)
    code = tfl.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.WHILE
    code.version = 1
    made.operatorCodes.append(code)
    loop = tfl.OperatorT()
    loop.opcodeIndex = 1
    loop.builtinOptionsType = tfl.BuiltinOptions.WhileOptions
    loop.builtinOptions = tfl.WhileOptionsT()
    loop.builtinOptions.condSubgraphIndex, loop.builtinOptions.bodySubgraphIndex = 1, 2
    loop.inputs, loop.outputs = np.array([0], np.int32), np.array([1], np.int32)
    main = tfl.SubGraphT()
    main.tensors = [tensor("in", body.tensors[0]), tensor("out", body.tensors[0])]
    main.inputs, main.outputs = np.array([0], np.int32), np.array([1], np.int32)
    main.operators = [loop]
    made.subgraphs = [main, condition, body]
    return schema.pack_model(made)


def test_good_models_pass(face_models, make_stylizer) -> None:
    run_models([face_models.detector, face_models.landmarks, make_stylizer(64)], ["a", "b", "c"])


def test_an_endless_model_is_stopped_by_its_cpu_time(make_stylizer) -> None:
    model = _endless(make_stylizer(64))
    check_model(model)
    # The second on machines so busy that 1.5 s of CPU time take longer than the wall time limit.
    unusable = r"^b is unusable: .* (takes more than 1\.5 s|does not end)"
    with pytest.raises(BundleError, match=unusable):
        run_models([make_stylizer(32), model], ["a", "b"])


def test_an_idle_endless_model_is_stopped_by_the_clock(
    make_stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = "probe.find_defect = lambda model: time.sleep(60); probe.child()"
    start = "import sys, time; sys.path[:] = sys.argv[1:]; from task_bundle.tflite import probe;"
    monkeypatch.setattr(probe, "_CHILD", start + waiting)
    monkeypatch.setattr(probe, "_WALL_SECONDS", 5.0)
    with pytest.raises(BundleError, match="a is unusable: .* does not end"):
        run_models([make_stylizer(64)], ["a"])


def test_a_model_that_needs_gigabytes_is_refused(make_stylizer) -> None:
    model = make_stylizer(shape=[1, 8192, 5000, 3])
    check_model(model)
    # Without the memory limit it would exceed the time limit instead.
    with pytest.raises(BundleError, match="a is unusable: it needs more than 1024 MiB"):
        run_models([model], ["a"])


def test_a_model_whose_shapes_are_not_its_operators(make_stylizer) -> None:
    model = schema.unpack_model(make_stylizer(64))
    model.subgraphs[0].tensors[3].shape = np.array([1, 64, 65, 3], np.int32)
    lying = schema.pack_model(model)
    check_model(lying)
    with pytest.raises(BundleError, match=r"'stylized' has the shape .1, 64, 64, 3., not"):
        run_models([lying], ["a"])


def test_a_model_that_crashes_is_refused(make_stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    # The process kills itself, because known crashes of LiteRT may be fixed.
    killing = (
        "import os; from task_bundle.tflite import probe;"
        "probe.find_defect = lambda model: os.kill(os.getpid(), 11); probe.child()"
    )
    monkeypatch.setattr(probe, "_CHILD", f"import sys; sys.path[:] = sys.argv[1:]; {killing}")
    with pytest.raises(BundleError, match="^a is unusable: .* crashes LiteRT .SIGSEGV"):
        run_models([make_stylizer(64)], ["a"])


def test_a_model_that_litert_refuses_is_refused_with_its_reason(make_stylizer) -> None:
    with pytest.raises(BundleError, match="a is unusable: LiteRT says: .*[Uu]nresolved custom op"):
        run_models([make_stylizer(custom_op="Magic")], ["a"])


def test_a_model_that_gives_nan_is_refused(make_stylizer) -> None:
    with pytest.raises(BundleError, match="'stylized' is not finite"):
        run_models([make_stylizer(64, gain=float("nan"))], ["a"])


@pytest.mark.parametrize("child", ["raise SystemExit(3)", "import time; time.sleep(600)"])
def test_a_broken_interpreter_is_named(
    make_stylizer, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    monkeypatch.setattr(probe, "_CHILD", child)
    monkeypatch.setattr(probe, "_WALL_SECONDS", 2.0)
    began = time.monotonic()
    with pytest.raises(OSError, match="cannot check models in another process"):
        run_models([make_stylizer(64)], ["a"])
    assert time.monotonic() - began < 300


# Programs whose sys.executable is no interpreter.


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A program that is no interpreter and counts how often it is started."""
    path = tmp_path / "my-app"
    path.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("executable", ["app", "", None])
def test_a_program_that_python_is_embedded_in_uses_the_installation_s_interpreter(
    make_stylizer, monkeypatch: pytest.MonkeyPatch, app: Path, executable: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", str(app) if executable == "app" else executable)
    monkeypatch.setattr(sys, "_base_executable", executable)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_models([make_stylizer(64)], ["a"])
    with pytest.raises(BundleError, match="LiteRT says"):
        run_models([make_stylizer(custom_op="Magic")], ["a"])
    assert not app.with_name("starts").exists()


@pytest.mark.parametrize("kind", ["frozen", "lost"])
def test_without_an_interpreter_models_are_checked_in_the_process(
    make_stylizer, monkeypatch: pytest.MonkeyPatch, app: Path, kind: str
) -> None:
    if kind == "frozen":
        # Frozen apps are often called after the interpreter that they contain.
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", str(app))
        monkeypatch.setattr(sys, "_base_executable", None)
        monkeypatch.setattr(sys, "exec_prefix", str(app.parent))
        monkeypatch.setattr("sysconfig.get_path", lambda name: str(app.parent))
    assert find_interpreter() is None
    with pytest.warns(RuntimeWarning, match="checked in this process, .* .MM_FACE_STYLIZER_PYTHON"):
        run_models([make_stylizer(64)], ["a"])
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(BundleError, match="a is unusable: its output"),
    ):
        run_models([make_stylizer(64, gain=float("nan"))], ["a"])
    assert not app.with_name("starts").exists()


def test_a_frozen_app_may_name_an_interpreter(
    make_stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INTERPRETER_VARIABLE, sys.executable)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_models([make_stylizer(64)], ["a"])
    monkeypatch.setenv(INTERPRETER_VARIABLE, "/no/such/python")
    with pytest.raises(OSError, match="/no/such/python: No such file .* .MM_FACE_STYLIZER_PYTHON"):
        run_models([make_stylizer(64)], ["a"])


def test_a_program_that_is_started_in_place_of_an_interpreter_starts_no_other(
    tmp_path: Path, make_stylizer
) -> None:
    # It is called as an interpreter is, but checks models whatever its arguments are.
    program, model = tmp_path / "python3", tmp_path / "model.tflite"
    model.write_bytes(make_stylizer(64))
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, sys\n"
        f"open({str(tmp_path / 'starts')!r}, 'a').write('started ')\n"
        f"sys.path[:] = {sys.path!r}\n"
        f"sys.executable = {str(program)!r}\n"
        "from task_bundle.tflite.probe import run_models\n"
        f"run_models([pathlib.Path({str(model)!r}).read_bytes()], ['a'])\n"
    )
    program.chmod(0o755)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "MM_FACE_STYLIZER_PYTHON can name another" in done.stderr
    assert (tmp_path / "starts").read_text() == "started started "


@pytest.mark.parametrize(
    ("name", "is_interpreter"),
    [
        ("python", True),
        ("python3.11", True),
        ("python3.13t", True),
        ("Python.exe", True),
        ("pythonw.exe", True),
        ("pypy3", True),
        ("python3-intel64", True),
        ("uwsgi", False),
        ("pythonservice.exe", False),
        ("blender", False),
        ("python_app", False),
    ],
)
def test_interpreters_are_known_by_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, is_interpreter: bool
) -> None:
    program = tmp_path / name
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert (find_interpreter() == str(program)) == is_interpreter


@pytest.mark.parametrize("said", ["hello\\n", "hello", "ready\\n", "\\x1e\\n{}"])
@pytest.mark.parametrize("flush", [True, False])
def test_what_a_sitecustomize_prints_is_no_answer(
    make_stylizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, flush: bool
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"print('{said}', end='', flush={flush})\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    run_models([make_stylizer(64)], ["a"])
    with pytest.raises(BundleError, match="LiteRT says"):
        run_models([make_stylizer(custom_op="Magic")], ["a"])


# Heavy models.


def test_a_heavy_model_may_be_given_more_time(make_stylizer) -> None:
    model = _endless(make_stylizer(64))
    with pytest.raises(BundleError, match=r"more than 0\.2 s; .* --check-seconds 4, or"):
        run_models([model], ["a"], 0.2)
    with pytest.raises(BundleError, match=r"than 1\.5 s; .* --check-seconds 30, .*SECONDS=30$"):
        run_models([model], ["a"])
    run_models([make_stylizer(512)], ["a"], 60.0)


def test_a_variable_gives_all_calls_more_time(
    make_stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(probe.SECONDS_VARIABLE, "0.001")
    with pytest.raises(BundleError, match=r"more than 0\.001 s"):
        run_models([make_stylizer(512)], ["a"])
    monkeypatch.setenv(probe.SECONDS_VARIABLE, "60")
    run_models([make_stylizer(512)], ["a"])
    for wrong in ("many", "0", "-1", "inf", "nan"):
        monkeypatch.setenv(probe.SECONDS_VARIABLE, wrong)
        with pytest.raises(InvalidArgumentError, match="MM_FACE_STYLIZER_CHECK_SECONDS is"):
            run_models([make_stylizer(64)], ["a"])
