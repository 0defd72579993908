"""Reads and writes TFLite metadata, for stylizers the same as MediaPipe's own writer."""

import io
import json
import zipfile
from typing import Any

import numpy as np

from task_bundle.archive import FACE_STYLIZER
from task_bundle.errors import BundleError, MissingDependencyError
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.tflite import schema
from task_bundle.tflite.verifier import verify

# MediaPipe computes (pixel - mean) / std, so the network's input is in [0, 1].
NORM_MEAN = 0.0
NORM_STD = 255.0

_MODEL_NAME = "FaceStylizer"
_MODEL_DESCRIPTION = "Performs face stylization on images."
_INPUT_NAME = "image"
_INPUT_DESCRIPTION = "Input image to be processed."
# The lowest version of the metadata parser that supports these fields, as MediaPipe computes it.
_MIN_PARSER_VERSION = "1.0.0"


def stylizer_metadata(model: bytes, description: str | None = None) -> bytes:
    """Adds the metadata that MediaPipe's FaceStylizer needs to a stylizer.

    MediaPipe 0.10 has the writer that made the metadata of Google's bundles, and it is used if it
    is installed. MediaPipe 1.x only has the flatbuffer classes, with which the same tables are
    built here.

    Args:
      model: a TFLite flatbuffer that passes `task_bundle.check_stylizer`. Existing metadata are
        replaced.
      description: what the stylizer is for; the text of MediaPipe's writer if None.

    Returns:
      The flatbuffer with metadata: RGB input, mean 0, standard deviation 255. Weights are
      aligned to 16 bytes. The same model always gives the same bytes.

    Raises:
      BundleError: the model is not a TFLite model, or MediaPipe's writer fails.
      MissingDependencyError: mediapipe is not installed.
    """
    original = schema.unpack_model(model)
    if _has_writer():
        described = schema.unpack_model(_write_with_mediapipe(model))
    else:
        described = original
        _add(described, _tables(described))
    if description is not None:
        _describe(described, description)
    return schema.pack_model(described)


def read_metadata(model: bytes) -> dict[str, Any] | None:
    """Reads a model's TFLite metadata.

    Args:
      model: a TFLite flatbuffer.

    Returns:
      The metadata as the parsed JSON of MediaPipe's displayer; None if the model has none. With
      MediaPipe 1.x, whose displayer cannot be imported, the fields that stylizers do not use are
      missing.

    Raises:
      BundleError: the model is not a TFLite model, or its metadata are damaged.
      MissingDependencyError: mediapipe is not installed.
    """
    data = _metadata_buffer(model)
    if data is None:
        return None
    if _has_writer():
        displayer = import_mediapipe("mediapipe.tasks.python.metadata.metadata")
        try:
            result: dict[str, Any] = json.loads(displayer.convert_to_json(data))
        except (
            ValueError
        ) as error:  # The displayer returns an empty string for text that is not UTF-8.
            raise BundleError("the model's metadata are damaged: no readable text") from error
        return result
    return _model_json(_unpack(data))


def normalization(model: bytes) -> tuple[list[float], list[float]] | None:
    """Reads the normalization of a model's first input: (pixel - mean) / std, pixels in [0, 255].

    Args:
      model: a TFLite flatbuffer.

    Returns:
      Means and standard deviations, either one for all channels or one for each channel; None if
      the model has no metadata, or these have no normalization.

    Raises:
      BundleError: the model is not a TFLite model, its metadata are damaged, a number is not
        finite, or a standard deviation is zero.
      MissingDependencyError: mediapipe is not installed.
    """
    data = _metadata_buffer(model)
    graphs = _unpack(data).subgraphMetadata if data is not None else None
    tensors = graphs[0].inputTensorMetadata if graphs else None
    kinds = schema.metadata_schema().ProcessUnitOptions
    for unit in (tensors[0].processUnits if tensors else None) or []:
        if unit.optionsType == kinds.NormalizationOptions and unit.options is not None:
            return _check_normalization(unit.options, "the model")
    return None


def check_metadata(model: bytes, name: str = "the model") -> None:
    """Checks that MediaPipe can read a model's metadata, if there are any.

    MediaPipe does not check them, and crashes on invalid offsets and on empty lists.

    Args:
      model: a TFLite flatbuffer.
      name: how error messages call the model.

    Raises:
      BundleError: the model is not a TFLite model, or its metadata are damaged.
      MissingDependencyError: mediapipe is not installed.
    """
    data = _metadata_buffer(model, name)
    if data is None:
        return
    metadata = _unpack(data, name)
    graphs = metadata.subgraphMetadata
    if graphs is not None and len(graphs) != 1:
        raise BundleError(f"{name}'s metadata are damaged: they describe {len(graphs)} graphs")
    kinds = schema.metadata_schema().ProcessUnitOptions
    for graph in graphs or []:
        for tensor in [*(graph.inputTensorMetadata or []), *(graph.outputTensorMetadata or [])]:
            for unit in tensor.processUnits or []:
                if unit.options is None:
                    raise BundleError(f"{name}'s metadata are damaged: a step without options")
                if unit.optionsType == kinds.NormalizationOptions:
                    _check_normalization(unit.options, name)


def _check_normalization(options: Any, name: str) -> tuple[list[float], list[float]]:
    mean, std = _floats(options.mean), _floats(options.std)
    if (
        len(mean) not in (1, 3)
        or len(std) != len(mean)
        or not np.isfinite([*mean, *std]).all()
        or not all(std)
    ):
        raise BundleError(f"{name}'s metadata normalize by mean {mean} and std {std}")
    return mean, std


def _metadata_buffer(model: bytes, name: str = "the model") -> bytes | None:
    """Returns a model's metadata flatbuffer, after a check of its offsets, or None."""
    root = schema.read_model(model, name)
    entries = [root.Metadata(i) for i in range(root.MetadataLength())]
    entry = next((e for e in entries if schema.text(e.Name()) == schema.METADATA_NAME), None)
    if entry is None:
        return None
    if entry.Buffer() >= root.BuffersLength():
        raise BundleError(f"{name}'s metadata are damaged: no such buffer")
    buffer = root.Buffers(entry.Buffer())
    data = b"" if buffer.DataIsNone() else buffer.DataAsNumpy().tobytes()
    if data[4:8] != schema.METADATA_IDENTIFIER:
        raise BundleError(f"{name}'s metadata are damaged: no M001 identifier")
    verify(data, schema.metadata_schema(), "ModelMetadata", f"{name}'s metadata are damaged")
    return data


def _unpack(metadata: bytes, name: str = "the model") -> Any:
    tables = schema.metadata_schema()
    try:
        return tables.ModelMetadataT.InitFromObj(tables.ModelMetadata.GetRootAs(metadata, 0))
    except Exception as error:  # Inconsistent values raise errors of any type.
        raise BundleError(f"{name}'s metadata are damaged: {error}") from error


def _has_writer() -> bool:
    """Returns whether MediaPipe has its metadata writer and displayer: 0.10 does, 1.x does not."""
    folder = schema.mediapipe_folder()
    if folder is None:
        raise MissingDependencyError("mediapipe is not installed")
    tasks = folder / "tasks"
    return (tasks / "python" / "metadata" / "metadata_writers" / "face_stylizer.py").is_file() and (
        tasks / "cc" / "metadata" / "python"
    ).is_dir()


def _write_with_mediapipe(model: bytes) -> bytes:
    writers = import_mediapipe("mediapipe.tasks.python.metadata.metadata_writers.face_stylizer")
    try:
        writer = writers.MetadataWriter.create(
            bytearray(model),
            # The writer packs a whole bundle, of which only the stylizer is used.
            bytearray(),
            bytearray(),
            input_norm_mean=[NORM_MEAN],
            input_norm_std=[NORM_STD],
        )
        bundle, _ = writer.populate()
    except Exception as error:  # Of any type, for example for names that are not UTF-8.
        raise BundleError(f"MediaPipe's metadata writer cannot take the model: {error}") from error
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return archive.read(FACE_STYLIZER)


def _tables(model: Any) -> bytes:
    """Returns the metadata flatbuffer of a stylizer, with the same fields as MediaPipe's writer."""
    import flatbuffers

    tables = schema.metadata_schema()
    graph = model.subgraphs[0]

    properties = tables.ImagePropertiesT()
    properties.colorSpace = tables.ColorSpaceType.RGB
    content = tables.ContentT()
    content.contentPropertiesType = tables.ContentProperties.ImageProperties
    content.contentProperties = properties
    normalization = tables.NormalizationOptionsT()
    normalization.mean = [NORM_MEAN]
    normalization.std = [NORM_STD]
    unit = tables.ProcessUnitT()
    unit.optionsType = tables.ProcessUnitOptions.NormalizationOptions
    unit.options = normalization
    stats = tables.StatsT()
    stats.min = [(0.0 - NORM_MEAN) / NORM_STD]
    stats.max = [(255.0 - NORM_MEAN) / NORM_STD]
    image = tables.TensorMetadataT()
    image.name = _INPUT_NAME
    image.description = _INPUT_DESCRIPTION
    image.content = content
    image.processUnits = [unit]
    image.stats = stats
    output = tables.TensorMetadataT()
    output.name = schema.text(graph.tensors[graph.outputs[0]].name)

    subgraph = tables.SubGraphMetadataT()
    subgraph.inputTensorMetadata = [image]
    subgraph.outputTensorMetadata = [output]
    metadata = tables.ModelMetadataT()
    metadata.name = _MODEL_NAME
    metadata.description = _MODEL_DESCRIPTION
    metadata.subgraphMetadata = [subgraph]
    metadata.minParserVersion = _MIN_PARSER_VERSION
    builder = flatbuffers.Builder(0)
    builder.Finish(metadata.Pack(builder), schema.METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _describe(model: Any, description: str) -> None:
    """Replaces the description in the metadata of a model that has some."""
    import flatbuffers

    buffer = model.buffers[schema.metadata_entry(model).buffer]
    metadata = _unpack(np.asarray(buffer.data, np.uint8).tobytes())
    metadata.description = description
    builder = flatbuffers.Builder(0)
    builder.Finish(metadata.Pack(builder), schema.METADATA_IDENTIFIER)
    _add(model, bytes(builder.Output()))


def _add(model: Any, metadata: bytes) -> None:
    tfl = schema.model_schema()
    buffer = tfl.BufferT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    entry = schema.metadata_entry(model)
    if entry is not None:
        model.buffers[entry.buffer] = buffer
        return
    model.buffers.append(buffer)
    entry = tfl.MetadataT()
    entry.name = schema.METADATA_NAME
    entry.buffer = len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]


def _model_json(metadata: Any) -> dict[str, Any]:
    result = _texts(metadata, {"name": "name", "description": "description", "version": "version"})
    result["subgraph_metadata"] = [
        {
            "input_tensor_metadata": [_tensor_json(t) for t in graph.inputTensorMetadata or []],
            "output_tensor_metadata": [_tensor_json(t) for t in graph.outputTensorMetadata or []],
        }
        for graph in metadata.subgraphMetadata or []
    ]
    result |= _texts(
        metadata,
        {"author": "author", "license": "license", "minParserVersion": "min_parser_version"},
    )
    return result


def _tensor_json(tensor: Any) -> dict[str, Any]:
    tables = schema.metadata_schema()
    result: dict[str, Any] = _texts(tensor, {"name": "name", "description": "description"})
    if tensor.content is not None:
        kind = tensor.content.contentPropertiesType
        properties = tensor.content.contentProperties
        values = {}
        if kind == tables.ContentProperties.ImageProperties:
            values["color_space"] = schema.enum_name(tables.ColorSpaceType, properties.colorSpace)
        result["content"] = {
            "content_properties_type": schema.enum_name(tables.ContentProperties, kind),
            "content_properties": values,
        }
    units = []
    for unit in tensor.processUnits or []:
        options: dict[str, Any] = {}
        if unit.optionsType == tables.ProcessUnitOptions.NormalizationOptions:
            options = {k: _floats(getattr(unit.options, k)) for k in ("mean", "std")}
        name = schema.enum_name(tables.ProcessUnitOptions, unit.optionsType)
        units.append({"options_type": name, "options": options})
    if units:
        result["process_units"] = units
    if tensor.stats is not None:
        limits = {k: getattr(tensor.stats, k) for k in ("max", "min")}
        result["stats"] = {k: _floats(v) for k, v in limits.items() if v is not None}
    return result


def _texts(table: Any, fields: dict[str, str]) -> dict[str, Any]:
    values = {key: getattr(table, field, None) for field, key in fields.items()}
    return {key: schema.text(value) for key, value in values.items() if value is not None}


def _floats(values: Any) -> list[float]:
    return [float(v) for v in values] if values is not None else []
