"""The generated flatbuffer classes of TFLite models and TFLite metadata.

Those that only MediaPipe has are loaded from their files, because `import mediapipe` takes seconds
and the classes do not need it.
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

# The alignment of buffer data that TFLite's schema demands (`force_align`). Kernels may load
# weights in blocks of this size.
_BUFFER_ALIGNMENT = 16


def mediapipe_folder() -> Path | None:
    """Returns the folder of the installed mediapipe package without importing it, or None."""
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
    """Opens a TFLite flatbuffer for reading without unpacking it.

    Args:
      model: the flatbuffer.
      name: how error messages call the model.

    Returns:
      A `Model`. All of its offsets have been checked, but not whether its values are consistent.

    Raises:
      BundleError: the model is damaged or not a TFLite flatbuffer.
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
      name: how error messages call the model.

    Returns:
      A `ModelT` with at least one subgraph.

    Raises:
      BundleError: the model is damaged or not a TFLite flatbuffer.
    """
    root = read_model(model, name)
    try:
        unpacked = model_schema().ModelT.InitFromObj(root)
    except Exception as error:  # Inconsistent values raise errors of any type.
        raise BundleError(f"{name} is a damaged TFLite model: {error}") from error
    if not unpacked.subgraphs or unpacked.buffers is None:
        raise BundleError(f"{name} is a TFLite model without a graph")
    return unpacked


def pack_model(model: Any) -> bytes:
    """Writes a `ModelT` as a flatbuffer with the alignment that TFLite's schema demands.

    Args:
      model: an object from `unpack_model`.

    Returns:
      The flatbuffer, with the file identifier.
    """
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Aligns vectors of bytes, which the generated Python code does not."""

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
            if elemSize == 1:
                alignment = _BUFFER_ALIGNMENT
            return super().StartVector(elemSize, numElems, alignment)

    builder = AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def buffer_bytes(buffer: Any) -> bytes:
    """Returns the content of a `BufferT`; empty if it has none."""
    return b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()


def metadata_entry(model: Any) -> Any:
    """Returns the `MetadataT` entry of a `ModelT` that points to its TFLite metadata, or None.

    Raises:
      BundleError: the entry points to a buffer that does not exist.
    """
    entry = next((m for m in model.metadata or [] if text(m.name) == METADATA_NAME), None)
    if entry is not None and entry.buffer >= len(model.buffers):
        raise BundleError("the model's metadata are damaged: no such buffer")
    return entry


def text(value: bytes | str | None) -> str:
    """Decodes a flatbuffer string; None becomes an empty string."""
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def enum_name(enum: type, value: int) -> str:
    """Returns the name of a value of a generated enum class, or the number if it has none."""
    for key, number in vars(enum).items():
        if number == value and not key.startswith("_"):
            return key
    return str(value)
