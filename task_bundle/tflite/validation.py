"""Checks that the models of a bundle are safe to load.

`check_model` parses a model and finds contradictions between its parts, which takes milliseconds.
`check_loads` also loads and runs models in another process, which takes a third of a second. That
happens once for each model: that a model has passed is recorded, by its SHA-256, in memory and in
the cache folder.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from task_bundle.archive import FACE_DETECTOR, FACE_LANDMARKS_DETECTOR, FACE_STYLIZER
from task_bundle.cache import cache_folder
from task_bundle.errors import BundleError
from task_bundle.files import atomic_write
from task_bundle.tflite import probe, schema
from task_bundle.tflite.metadata import check_metadata
from task_bundle.tflite.model import (
    check_face_detector,
    check_face_landmarks,
    check_stylizer_images,
)

# 1024 x 1024 pixels with 128 float32 channels.
MAX_TENSOR_BYTES = 512 * 2**20

# Increase this number when a check becomes stricter, so that recorded results become invalid.
_CHECKS = 2
_FOLDER = "checked-models"
# Part of LiteRT's error message about an unknown custom operator.
_UNRESOLVED = "unresolved custom op"
_BITS = {
    "FLOAT64": 64,
    "INT64": 64,
    "UINT64": 64,
    "COMPLEX64": 64,
    "COMPLEX128": 128,
    "FLOAT32": 32,
    "INT32": 32,
    "UINT32": 32,
    "FLOAT16": 16,
    "BFLOAT16": 16,
    "INT16": 16,
    "UINT16": 16,
    "INT8": 8,
    "UINT8": 8,
    "BOOL": 8,
    "INT4": 4,
    "INT2": 2,
}
_FLOATS = {"FLOAT16": "<f2", "FLOAT32": "<f4", "FLOAT64": "<f8"}

_ROLES = {
    FACE_DETECTOR: check_face_detector,
    FACE_LANDMARKS_DETECTOR: check_face_landmarks,
    FACE_STYLIZER: check_stylizer_images,
}

# SHA-256 of the models that have passed `check_model` and `check_loads`.
_parsed: set[str] = set()
_loadable: set[str] = set()


def check_models(models: Mapping[str, bytes], name: str) -> None:
    """Checks models by parsing them, without loading them.

    Args:
      models: TFLite flatbuffers by entry name.
      name: how error messages call the bundle.

    Raises:
      BundleError: see `check_model`.
    """
    for entry, model in models.items():
        digest = hashlib.sha256(model).hexdigest()
        if digest in _parsed or _has_passed(digest):
            continue
        check_model(model, f"{entry} in {name}")
        _parsed.add(digest)


def check_loads(models: Mapping[str, bytes], name: str, cpu_seconds: float | None = None) -> None:
    """Checks models by parsing them, then by loading and running them in another process.

    Entries with the name of a face detector, landmark model or stylizer must also have the inputs
    and outputs that MediaPipe's graphs take for granted.

    Custom operators are accepted, because Google's own stylizers have them and LiteRT refuses them
    without harm. How MediaPipe's graph runs such a model cannot be checked here.

    Args:
      models: TFLite flatbuffers by entry name.
      name: how error messages call the bundle.
      cpu_seconds: the CPU time that loading and running all models once may take, as for
        `probe.run_models`. Heavy models on slow machines need more than the default.

    Raises:
      BundleError: see `check_model`, `probe.run_models`, and in `task_bundle.tflite.model`
        `check_face_detector`, `check_face_landmarks` and `check_stylizer_images`.
      OSError: the other process cannot be started.
    """
    check_models(models, name)
    for entry, check in _ROLES.items():
        if entry in models:
            check(models[entry], f"{entry} in {name}")
    unknown = {}
    for entry, model in models.items():
        digest = hashlib.sha256(model).hexdigest()
        if digest in _loadable or _has_passed(digest):
            continue
        if _has_custom_operators(model):
            _check_custom(model, f"{entry} in {name}", cpu_seconds)
            _record([digest])
        else:
            unknown[digest] = (entry, model)
    if not unknown:
        return
    probe.run_models(
        [model for _, model in unknown.values()],
        [f"{entry} in {name}" for entry, _ in unknown.values()],
        cpu_seconds,
    )
    _record(unknown)


def _has_custom_operators(model: bytes) -> bool:
    root = schema.read_model(model)
    codes = [root.OperatorCodes(i) for i in range(root.OperatorCodesLength())]
    custom = schema.model_schema().BuiltinOperator.CUSTOM
    # Old converters write one of the fields, new ones both.
    return any(custom in (code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes)


def _check_custom(model: bytes, name: str, cpu_seconds: float | None) -> None:
    # LiteRT can run the model if nothing uses the custom operator.
    try:
        probe.run_models([model], [name], cpu_seconds)
    except BundleError as error:
        if _UNRESOLVED not in str(error):
            raise


def _has_passed(digest: str) -> bool:
    """Returns whether the model has passed all checks with the installed LiteRT before."""
    if digest in _loadable:
        return True
    with contextlib.suppress(OSError):
        if _record_file(digest).is_file():
            _loadable.add(digest)
            return True
    return False


def _record(digests: Iterable[str]) -> None:
    _loadable.update(digests)
    # If the cache is not writable, the checks are repeated, which only costs time.
    with contextlib.suppress(OSError):
        for digest in digests:
            file = _record_file(digest)
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(file, b"", overwrite=True)


def _record_file(digest: str) -> Path:
    return cache_folder() / _FOLDER / f"{_CHECKS}-{_litert_version()}" / digest


@functools.cache
def _litert_version() -> str:
    return importlib.metadata.version("ai-edge-litert")


def check_model(model: bytes, name: str = "the model") -> None:
    """Checks that the parts of a TFLite model are consistent, without running it.

    Args:
      model: the flatbuffer.
      name: how error messages call the model.

    Raises:
      BundleError: the model is not a TFLite model; an offset is out of bounds; a tensor, buffer or
        operator that is referred to does not exist; an operator reads a tensor that has not been
        written yet, or writes one that is constant or already written; a tensor has negative sizes
        or more than `MAX_TENSOR_BYTES`; the content of a constant does not fill its shape, or has
        NaN or, among others, infinite values; weights are outside the flatbuffer; or the metadata
        are damaged.
      MissingDependencyError: mediapipe, which has the schema of the metadata, is not installed.
    """
    unpacked = schema.unpack_model(model, name)
    check_metadata(model, name)
    try:
        _Checker(unpacked).run()
    except _Defect as defect:
        raise BundleError(f"{name} is damaged: {defect}") from None


class _Defect(Exception):
    """A contradiction in a model. The message does not have the model's name."""


class _Checker:
    """Checks an unpacked model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._types = schema.model_schema().TensorType
        self._finite: set[tuple[int, str]] = set()

    def run(self) -> None:
        model = self._model
        for buffer in model.buffers:
            # The converter writes 1 as a placeholder.
            if getattr(buffer, "offset", 0) > 1:
                raise _Defect("it keeps weights behind the flatbuffer, as only huge models need to")
        if getattr(model, "externalBuffers", None):
            raise _Defect("it keeps weights in other files")
        for graph in model.subgraphs:
            self._graph(graph)
        if not _numbers(model.subgraphs[0].inputs) or not _numbers(model.subgraphs[0].outputs):
            raise _Defect("it has no input or no output")
        for entry in model.metadata or []:
            if entry.name is None or entry.buffer >= len(model.buffers):
                raise _Defect("its metadata have no name or no buffer")
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex >= len(model.subgraphs):
                raise _Defect(f"a signature is of graph {signature.subgraphIndex}")
            tensors = model.subgraphs[signature.subgraphIndex].tensors
            for item in [*(signature.inputs or []), *(signature.outputs or [])]:
                if item.name is None or item.tensorIndex >= len(tensors):
                    raise _Defect(f"a signature has no tensor {item.tensorIndex}")

    def _graph(self, graph: Any) -> None:
        tensors = graph.tensors or []
        count = len(tensors)
        inputs, outputs = _numbers(graph.inputs), _numbers(graph.outputs)
        _check_indices([*inputs, *outputs], count, "the graph")
        # The tensors that have content before any operator runs.
        constant = {i for i, tensor in enumerate(tensors) if self._tensor(tensor)}
        if constant.intersection(inputs):
            raise _Defect("an input of the graph is constant")
        known = constant.union(inputs)
        known.update(i for i, tensor in enumerate(tensors) if tensor.isVariable)
        for number, operator in enumerate(graph.operators or []):
            self._operator(operator, f"operator {number}", count, known)
        missing = [i for i in outputs if i not in known]
        if missing:
            raise _Defect(f"nothing computes its output {missing[0]}")

    def _operator(self, operator: Any, what: str, count: int, known: set[int]) -> None:
        if operator.opcodeIndex >= len(self._model.operatorCodes or []):
            raise _Defect(f"{what} has no code {operator.opcodeIndex}")
        if getattr(operator, "largeCustomOptionsOffset", 0) > 1:
            raise _Defect(f"{what} keeps options behind the flatbuffer")
        # -1 stands for an optional input that is missing.
        read = [i for i in _numbers(operator.inputs) if i != -1]
        written = _numbers(operator.outputs)
        _check_indices([*read, *written, *_numbers(operator.intermediates)], count, what)
        unknown = [i for i in read if i not in known]
        if unknown:
            raise _Defect(f"{what} reads tensor {unknown[0]}, which nothing has written")
        if len(set(written)) < len(written) or known.intersection(written):
            raise _Defect(f"{what} writes a tensor that has its value already")
        known.update(written)

    def _tensor(self, tensor: Any) -> bool:
        """Checks a tensor; returns whether it is constant, which empty tensors also count as."""
        name = schema.text(tensor.name)[:80]
        kind = schema.enum_name(self._types, tensor.type)
        shape = _numbers(tensor.shape)
        elements = math.prod(shape)
        if any(size < 0 for size in shape):
            raise _Defect(f"tensor {name!r} has the shape {shape}")
        # Types that are not in the table have at least one bit.
        size = -(-elements * _BITS.get(kind, 1) // 8)
        if size > MAX_TENSOR_BYTES:
            raise _Defect(
                f"tensor {name!r} of shape {shape} has more than {MAX_TENSOR_BYTES // 2**20} MiB"
            )
        signature = _numbers(tensor.shapeSignature)
        if signature and not (
            len(signature) == len(shape)
            and all(fixed in (-1, size) for fixed, size in zip(signature, shape, strict=True))
        ):
            raise _Defect(f"tensor {name!r} has the shape {shape} and the signature {signature}")
        self._quantization(tensor.quantization, shape, name)
        if tensor.buffer >= len(self._model.buffers):
            raise _Defect(f"tensor {name!r} has no buffer {tensor.buffer}")
        data = self._model.buffers[tensor.buffer].data
        # For TFLite buffer 0 means "no buffer", whatever its content.
        if tensor.buffer == 0 or data is None or len(data) == 0:
            return elements == 0
        if kind in _BITS and tensor.sparsity is None and len(data) != size:
            raise _Defect(
                f"tensor {name!r} of shape {shape} and type {kind} has {len(data)} bytes instead"
                f" of {size}"
            )
        if (tensor.buffer, kind) not in self._finite:
            _check_finite(np.asarray(data, np.uint8), kind, name)
            self._finite.add((tensor.buffer, kind))
        return True

    def _quantization(self, quantization: Any, shape: list[int], name: str) -> None:
        if quantization is None:
            return
        scales = np.asarray([] if quantization.scale is None else quantization.scale, np.float32)
        points = _numbers(quantization.zeroPoint)
        if not np.isfinite(scales).all() or (scales < 0).any():
            raise _Defect(f"tensor {name!r} has quantization scales that are no positive numbers")
        if points and len(points) not in (1, len(scales)):
            raise _Defect(f"tensor {name!r} has {len(scales)} scales and {len(points)} zero points")
        if len(scales) > 1:
            axis = quantization.quantizedDimension
            if not 0 <= axis < len(shape) or shape[axis] != len(scales):
                raise _Defect(f"tensor {name!r} has {len(scales)} scales for the shape {shape}")


def _check_indices(indices: list[int], count: int, what: str) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise _Defect(f"{what} has no tensor {index}")


def _check_finite(data: npt.NDArray[np.uint8], kind: str, name: str) -> None:
    if kind == "BFLOAT16":
        # bfloat16 is the upper half of a float32.
        values = (data.view("<u2").astype("<u4") << 16).view("<f4")
    elif kind in _FLOATS:
        values = data.view(_FLOATS[kind])
    else:
        return
    if np.isfinite(values).all():
        return
    # A single infinite number is allowed: it can be a limit, or the value of padding.
    if np.isnan(values).any() or values.size > 1:
        raise _Defect(f"the weights {name!r} have values that are not finite")


def _numbers(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]
