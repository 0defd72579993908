"""Tests of task_bundle.tflite.probe, with models that crash or block a process."""

import time

import numpy as np
import pytest

from task_bundle.errors import BundleError
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


def test_a_model_without_end(make_stylizer) -> None:
    model = _endless(make_stylizer(64))
    check_model(model)
    # The second on machines so busy that 1.5 s of CPU time take longer than the wall time limit.
    unusable = r"^b is unusable: .* (takes more than 1\.5 s|does not end)"
    with pytest.raises(BundleError, match=unusable):
        run_models([make_stylizer(32), model], ["a", "b"])


def test_a_model_without_end_where_nothing_counts_the_time(
    make_stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = "probe.find_defect = lambda model: time.sleep(60); probe.child()"
    start = "import sys, time; sys.path[:] = sys.argv[1:]; from task_bundle.tflite import probe;"
    monkeypatch.setattr(probe, "_CHILD", start + waiting)
    monkeypatch.setattr(probe, "_WALL_SECONDS", 5.0)
    with pytest.raises(BundleError, match="a is unusable: .* does not end"):
        run_models([make_stylizer(64)], ["a"])


def test_a_model_that_needs_gigabytes(make_stylizer) -> None:
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


def test_a_model_that_crashes(make_stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    # The process kills itself, because known crashes of LiteRT may be fixed.
    killing = (
        "import os; from task_bundle.tflite import probe;"
        "probe.find_defect = lambda model: os.kill(os.getpid(), 11); probe.child()"
    )
    monkeypatch.setattr(probe, "_CHILD", f"import sys; sys.path[:] = sys.argv[1:]; {killing}")
    with pytest.raises(BundleError, match="^a is unusable: .* crashes LiteRT .SIGSEGV"):
        run_models([make_stylizer(64)], ["a"])


def test_a_model_that_litert_refuses(make_stylizer) -> None:
    with pytest.raises(BundleError, match="a is unusable: LiteRT says: .*[Uu]nresolved custom op"):
        run_models([make_stylizer(custom_op="Magic")], ["a"])


def test_a_model_that_gives_no_numbers(make_stylizer) -> None:
    with pytest.raises(BundleError, match="'stylized' is not finite"):
        run_models([make_stylizer(64, gain=float("nan"))], ["a"])


@pytest.mark.parametrize("child", ["raise SystemExit(3)", "import time; time.sleep(60)"])
def test_a_process_that_does_not_work(
    make_stylizer, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    monkeypatch.setattr(probe, "_CHILD", child)
    monkeypatch.setattr(probe, "_WALL_SECONDS", 2.0)
    began = time.monotonic()
    with pytest.raises(OSError, match="cannot check models in another process"):
        run_models([make_stylizer(64)], ["a"])
    assert time.monotonic() - began < 30
