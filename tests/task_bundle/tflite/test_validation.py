"""Tests of task_bundle.tflite.validation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from task_bundle.archive import FACE_DETECTOR, FACE_LANDMARKS_DETECTOR, FACE_STYLIZER
from task_bundle.cache import CACHE_VARIABLE
from task_bundle.errors import BundleError
from task_bundle.tflite import probe, schema, validation
from task_bundle.tflite.metadata import stylizer_metadata
from task_bundle.tflite.validation import check_loads, check_model, check_models

Change = Callable[[Any], None]


@pytest.fixture(autouse=True)
def _no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the records of passed checks."""
    monkeypatch.setattr(validation, "_parsed", set())
    monkeypatch.setattr(validation, "_loadable", set())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the models in each call of `run_models`, which starts no process."""
    made: list[list[str]] = []
    monkeypatch.setattr(
        probe, "run_models", lambda models, names, seconds: made.append(list(names))
    )
    return made


def _tensor(index: int, **values: Any) -> Change:
    def change(model: Any) -> None:
        for field, value in values.items():
            setattr(model.subgraphs[0].tensors[index], field, value)

    return change


def _shape(index: int, *sizes: int) -> Change:
    return _tensor(index, shape=np.array(sizes, np.int32))


def _operator(**values: Any) -> Change:
    def change(model: Any) -> None:
        for field, value in values.items():
            value = np.array(value, np.int32) if isinstance(value, list) else value
            setattr(model.subgraphs[0].operators[0], field, value)

    return change


def _graph(**values: list[int]) -> Change:
    def change(model: Any) -> None:
        for field, value in values.items():
            setattr(model.subgraphs[0], field, np.array(value, np.int32))

    return change


def _weights(*values: float) -> Change:
    def change(model: Any) -> None:
        content = np.array(values, "<f4")
        model.buffers[1].data = np.frombuffer(content.tobytes(), np.uint8)

    return change


def _quantized(**values: Any) -> Change:
    def change(model: Any) -> None:
        made = schema.model_schema().QuantizationParametersT()
        for field, value in values.items():
            setattr(made, field, value)
        model.subgraphs[0].tensors[1].quantization = made

    return change


def _metadata(**values: Any) -> Change:
    def change(model: Any) -> None:
        made = schema.model_schema().MetadataT()
        for field, value in values.items():
            setattr(made, field, value)
        model.metadata = [made]

    return change


def _signature(graph: int, tensor: int) -> Change:
    def change(model: Any) -> None:
        tfl = schema.model_schema()
        signature, item = tfl.SignatureDefT(), tfl.TensorMapT()
        signature.subgraphIndex, item.tensorIndex, item.name = graph, tensor, "x"
        signature.inputs = [item]
        model.signatureDefs = [signature]

    return change


def _twice(model: Any) -> None:
    model.subgraphs[0].operators *= 2


def _buffer_behind_the_end(model: Any) -> None:
    model.buffers[1].offset, model.buffers[1].size = 2**40, 100


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_shape(3, 1, 64, -64, 3), "has the shape .1, 64, -64, 3"),
        (_shape(3, 1, 2**16, 2**16, 2**16), "more than 512 MiB"),
        (_shape(3, 1, 2**31 - 1, 2**31 - 1, 2**31 - 1), "more than 512 MiB"),
        (_shape(1, 3, 1, 1, 4), "has 36 bytes instead of 48"),
        (_tensor(0, shapeSignature=np.array([-1, 64, 64, 4], np.int32)), "and the signature"),
        (_tensor(0, shapeSignature=np.array([-1], np.int32)), "and the signature"),
        (_tensor(1, type=1), "type FLOAT16 has 36 bytes instead of 18"),
        (_tensor(1, buffer=7), "has no buffer 7"),
        (_tensor(1, buffer=0), "reads tensor 1, which nothing has written"),
        (_tensor(0, buffer=2, shape=np.array([3], np.int32)), "input of the graph is constant"),
        (_tensor(3, buffer=2, shape=np.array([3], np.int32)), "writes a tensor that has its value"),
        (_weights(*[1.0] * 8, float("nan")), "'weights' have values that are not finite"),
        (_weights(*[1.0] * 8, float("inf")), "'weights' have values that are not finite"),
        (_operator(inputs=[0, 1, 99]), "operator 0 has no tensor 99"),
        (_operator(inputs=[0, 1, -2]), "operator 0 has no tensor -2"),
        (_operator(outputs=[-1]), "operator 0 has no tensor -1"),
        (_operator(outputs=[3, 3]), "writes a tensor that has its value"),
        (_operator(intermediates=[9]), "operator 0 has no tensor 9"),
        (_operator(opcodeIndex=1), "operator 0 has no code 1"),
        (_operator(largeCustomOptionsOffset=2**40), "keeps options behind the flatbuffer"),
        (_graph(inputs=[4]), "the graph has no tensor 4"),
        (_graph(outputs=[-1]), "the graph has no tensor -1"),
        (_graph(inputs=[]), "reads tensor 0, which nothing has written"),
        (_graph(outputs=[]), "no input or no output"),
        (_twice, "operator 1 writes a tensor that has its value"),
        (_quantized(scale=np.array([np.nan], np.float32)), "no positive numbers"),
        (_quantized(scale=np.array([-1], np.float32)), "no positive numbers"),
        (_quantized(scale=np.ones(2, np.float32)), "2 scales for the shape"),
        (
            _quantized(scale=np.ones(3, np.float32), quantizedDimension=9),
            "3 scales for the shape",
        ),
        (
            _quantized(scale=np.ones(3, np.float32), zeroPoint=np.zeros(2, np.int64)),
            "3 scales and 2 zero points",
        ),
        (_metadata(name="x", buffer=9), "metadata have no name or no buffer"),
        (_metadata(buffer=1), "metadata have no name or no buffer"),
        (_signature(1, 0), "signature is of graph 1"),
        (_signature(0, 9), "signature has no tensor 9"),
        (_buffer_behind_the_end, "weights behind the flatbuffer"),
    ],
)
def test_contradictions_in_a_model_are_defects(make_stylizer, change: Change, reason: str) -> None:
    model = schema.unpack_model(make_stylizer(64))
    change(model)
    with pytest.raises(BundleError, match=f"^x is damaged: .*{reason}"):
        check_model(schema.pack_model(model), "x")


@pytest.mark.parametrize(
    "change",
    [
        _quantized(scale=np.ones(3, np.float32), zeroPoint=np.zeros(3, np.int64)),
        _operator(inputs=[0, 1, -1]),  # An optional input is missing.
        _tensor(2, shape=np.array([0], np.int32), buffer=0),  # The tensor is empty.
        _signature(0, 3),
        _tensor(0, shapeSignature=np.array([-1, 64, 64, 3], np.int32)),
        lambda model: None,
    ],
)
def test_unusual_but_sound_models_pass(make_stylizer, change: Change) -> None:
    model = schema.unpack_model(make_stylizer(64))
    change(model)
    check_model(schema.pack_model(model))


def test_damaged_metadata_are_a_defect(make_stylizer) -> None:
    model = stylizer_metadata(make_stylizer(64))
    start = model.index(b"M001") - 4
    check_model(model)
    for bad in (b"\xff\xff\xff\x7f", bytes(4)):
        with pytest.raises(BundleError, match="x's metadata are damaged: the offset"):
            check_model(model[:start] + bad + model[start + 4 :], "x")


def test_weights_may_be_infinite_but_not_nan(make_stylizer) -> None:
    model = schema.unpack_model(make_stylizer(shape=[1, 8, 8, 1]))
    _weights(float("-inf"))(model)
    check_model(schema.pack_model(model))
    _weights(float("nan"))(model)
    with pytest.raises(BundleError, match="not finite"):
        check_model(schema.pack_model(model))


@pytest.mark.parametrize(("kind", "bits"), [("FLOAT16", 0x7C01), ("BFLOAT16", 0x7F81)])
def test_weights_of_16_bits_are_checked(make_stylizer, kind: str, bits: int) -> None:
    tfl = schema.model_schema()
    for value, good in ((0x3C00, True), (bits, False)):
        model = schema.unpack_model(make_stylizer(64))
        model.subgraphs[0].tensors[1].type = getattr(tfl.TensorType, kind)
        content = np.full(9, value, "<u2").tobytes()
        model.buffers[1].data = np.frombuffer(content, np.uint8)
        if good:
            check_model(schema.pack_model(model))
        else:
            with pytest.raises(BundleError, match="not finite"):
                check_model(schema.pack_model(model))


def test_real_models_pass(face_models, make_stylizer) -> None:
    models = {"a": face_models.detector, "b": face_models.landmarks}
    check_loads({**models, "c": stylizer_metadata(make_stylizer(256))}, "it")


def test_damaged_models_never_reach_the_other_process(make_stylizer, calls) -> None:
    with pytest.raises(BundleError, match="a in it is a damaged TFLite model"):
        check_loads({"a": make_stylizer(64)[:-100]}, "it")
    assert not calls


def test_the_forms_that_mediapipe_takes_for_granted(face_models, make_stylizer, calls) -> None:
    detector, other = schema.unpack_model(face_models.detector), make_stylizer(64)
    outputs = detector.subgraphs[0].outputs
    detector.subgraphs[0].outputs = outputs[::-1].copy()
    swapped = schema.pack_model(detector)
    for models, reason in (
        ({FACE_DETECTOR: swapped}, "short range face detector: .*1, 896, 1., .1, 896, 16"),
        ({FACE_DETECTOR: other}, "short range face detector"),
        ({FACE_LANDMARKS_DETECTOR: other}, "468 or 478 points .*12288. values"),
        ({FACE_LANDMARKS_DETECTOR: make_stylizer(shape=[1, 8, 3])}, "it must be one picture"),
        ({FACE_DETECTOR: make_stylizer(dtype="UINT8")}, "photo is uint8; it must be float32"),
        ({FACE_STYLIZER: face_models.detector}, "has 2 outputs; it must have one"),
    ):
        (entry,) = models
        with pytest.raises(BundleError, match=f"^{entry} in it.*{reason}"):
            check_loads(models, "it")
        check_models(models, "it")
    assert not calls


def test_passed_checks_are_recorded(make_stylizer, calls, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    models = {"a": make_stylizer(64), "b": make_stylizer(32)}
    check_loads(models, "it")
    check_loads(models, "it")
    assert calls == [["a in it", "b in it"]]
    # As in another process, only the folder is left.
    monkeypatch.setattr(validation, "_loadable", set())
    monkeypatch.setattr(validation, "_parsed", set())
    monkeypatch.setattr(validation, "check_model", None)
    check_loads(models, "it")
    assert len(calls) == 1


def test_only_what_is_unknown_is_loaded(make_stylizer, calls) -> None:
    check_loads({"a": make_stylizer(64)}, "it")
    check_loads({"a": make_stylizer(64), "b": make_stylizer(16)}, "it")
    assert calls == [["a in it"], ["b in it"]]


def test_failed_checks_are_not_recorded(make_stylizer, monkeypatch, tmp_path: Path) -> None:
    def refuse(models: object, names: object, seconds: float) -> None:
        raise BundleError("no")

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(probe, "run_models", refuse)
    for _ in range(2):
        with pytest.raises(BundleError, match="no"):
            check_loads({"a": make_stylizer(64)}, "it")
    assert not list(tmp_path.iterdir())


def test_another_litert_version_checks_again(
    make_stylizer, calls, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    check_loads({"a": make_stylizer(64)}, "it")
    monkeypatch.setattr(validation, "_loadable", set())
    monkeypatch.setattr(validation, "_litert_version", lambda: "99")
    check_loads({"a": make_stylizer(64)}, "it")
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written(make_stylizer, calls, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    check_loads({"a": make_stylizer(64)}, "it")
    check_loads({"a": make_stylizer(64)}, "it")
    assert len(calls) == 1


def test_custom_operators_are_no_reason_to_refuse(make_stylizer) -> None:
    check_loads({"a": make_stylizer(custom_op="FusedBatchNormV3")}, "it")


def test_custom_operators_do_not_hide_other_defects(make_stylizer, monkeypatch) -> None:
    model = schema.unpack_model(make_stylizer(64))
    code = schema.model_schema().OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.model_schema().BuiltinOperator.CUSTOM
    code.customCode = "FusedBatchNormV3"
    model.operatorCodes.append(code)

    def crash(models: object, names: list[str], seconds: float) -> None:
        raise BundleError(f"{names[0]} is unusable: it crashes")

    monkeypatch.setattr(probe, "run_models", crash)
    for _ in range(2):
        with pytest.raises(BundleError, match="a in it is unusable: it crashes"):
            check_loads({"a": schema.pack_model(model)}, "it")


def test_check_models_does_not_load_models_and_check_loads_does(make_stylizer, calls) -> None:
    check_models({"a": make_stylizer(64)}, "it")
    assert not calls
    check_loads({"a": make_stylizer(64)}, "it")
    assert len(calls) == 1
