"""The TFLite and TFLite-metadata flatbuffer classes, found without importing MediaPipe.

`import mediapipe` costs seconds, and the generated classes need nothing of it: they are loaded from
their files.
"""

import functools
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from task_bundle.errors import BundleError, MissingDependencyError
from task_bundle.tflite.verifier import verify

MODEL_IDENTIFIER = b"TFL3"
METADATA_IDENTIFIER = b"M001"
METADATA_NAME = "TFLITE_METADATA"

# What TFLite's own schema forces for the data of a buffer; kernels may load weights by such blocks.
_BUFFER_ALIGNMENT = 16


def mediapipe_folder() -> Path | None:
    """Returns the folder of the installed mediapipe package, or None, without importing it."""
    spec = importlib.util.find_spec("mediapipe")
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None


@functools.cache
def model_schema() -> ModuleType:
    """Returns the generated classes of the TFLite model schema.

    Raises:
      MissingDependencyError: neither ai-edge-litert nor mediapipe is installed.
    """
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError:
        return _load_from_mediapipe("schema_py_generated")


@functools.cache
def metadata_schema() -> ModuleType:
    """Returns the generated classes of the TFLite metadata schema.

    Raises:
      MissingDependencyError: mediapipe is not installed.
    """
    return _load_from_mediapipe("metadata_schema_py_generated")


def _load_from_mediapipe(name: str) -> ModuleType:
    folder = mediapipe_folder()
    file = folder / "tasks" / "metadata" / f"{name}.py" if folder else None
    if file is None or not file.is_file():
        raise MissingDependencyError(f"mediapipe, which carries {name}.py, is not installed")
    spec = importlib.util.spec_from_file_location(f"task_bundle._{name}", file)
    if spec is None or spec.loader is None:
        raise MissingDependencyError(f"cannot load {file}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_model(model: bytes, name: str = "the model") -> Any:
    """Opens a TFLite flatbuffer for reading, without taking it apart.

    Args:
      model: the flatbuffer.
      name: what to call it in messages.

    Returns:
      A `Model` whose offsets have all been checked. What it says may still make no sense.

    Raises:
      BundleError: not a TFLite flatbuffer, or a damaged one.
    """
    if len(model) < 8 or model[4:8] != MODEL_IDENTIFIER:
        raise BundleError(f"{name} is not a TFLite model: no TFL3 identifier")
    schema = model_schema()
    verify(model, schema, "Model", f"{name} is a damaged TFLite model")
    return schema.Model.GetRootAs(model, 0)


def unpack_model(model: bytes, name: str = "the model") -> Any:
    """Reads a TFLite flatbuffer into the schema's mutable objects.

    Args:
      model: the flatbuffer.
      name: what to call it in messages.

    Returns:
      A `ModelT` with at least one subgraph.

    Raises:
      BundleError: not a TFLite flatbuffer, or a damaged one.
    """
    root = read_model(model, name)
    try:
        unpacked = model_schema().ModelT.InitFromObj(root)
    except Exception as error:  # Values that make no sense surface as whatever they hit.
        raise BundleError(f"{name} is a damaged TFLite model: {error}") from error
    if not unpacked.subgraphs or unpacked.buffers is None:
        raise BundleError(f"{name} is a TFLite model without a graph")
    return unpacked


def pack_model(model: Any) -> bytes:
    """Writes a `ModelT` as a flatbuffer whose buffers are aligned as TFLite's schema demands.

    Args:
      model: the object that `unpack_model` gives.

    Returns:
      The flatbuffer, identifier included.
    """
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Aligns byte vectors, which the generated Python code forgets to do."""

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
            if elemSize == 1:
                alignment = _BUFFER_ALIGNMENT
            return super().StartVector(elemSize, numElems, alignment)

    builder = AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def buffer_bytes(buffer: Any) -> bytes:
    """Returns the content of a `BufferT`; empty where it has none."""
    return b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()


def metadata_entry(model: Any) -> Any:
    """Returns the `MetadataT` entry of a `ModelT` that points to its TFLite metadata, or None.

    Raises:
      BundleError: it points to a buffer that does not exist.
    """
    entry = next((m for m in model.metadata or [] if text(m.name) == METADATA_NAME), None)
    if entry is not None and entry.buffer >= len(model.buffers):
        raise BundleError("the model's metadata are damaged: no such buffer")
    return entry


def text(value: bytes | str | None) -> str:
    """Returns a flatbuffer string as text."""
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def enum_name(enum: type, value: int) -> str:
    """Returns the name that a generated enum class gives a value, or the number as text."""
    for key, number in vars(enum).items():
        if number == value and not key.startswith("_"):
            return key
    return str(value)
