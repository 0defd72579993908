"""Tests of task_bundle.tflite.metadata."""

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest

from task_bundle.errors import BundleError
from task_bundle.tflite import metadata, schema
from task_bundle.tflite.metadata import (
    check_metadata,
    normalization,
    read_metadata,
    stylizer_metadata,
)

_needs_writer = pytest.mark.skipif(
    not metadata._has_writer(), reason="this mediapipe has no metadata writer"
)


def test_what_the_runtime_reads(make_stylizer) -> None:
    described = read_metadata(stylizer_metadata(make_stylizer(64)))
    assert described is not None
    assert described["name"] == "FaceStylizer"
    (image,) = described["subgraph_metadata"][0]["input_tensor_metadata"]
    assert image["content"]["content_properties"] == {"color_space": "RGB"}
    assert image["process_units"] == [
        {"options_type": "NormalizationOptions", "options": {"mean": [0.0], "std": [255.0]}}
    ]
    (output,) = described["subgraph_metadata"][0]["output_tensor_metadata"]
    assert output["name"] == "stylized"


@_needs_writer
def test_own_tables_are_the_writers(make_stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_stylizer(64)
    written = stylizer_metadata(model)
    shown = read_metadata(written)
    monkeypatch.setattr(metadata, "_has_writer", lambda: False)
    assert stylizer_metadata(model) == written
    assert read_metadata(written) == shown


@pytest.mark.parametrize("writer", [pytest.param(True, marks=_needs_writer), False])
def test_reproducible_idempotent_and_aligned(
    make_stylizer, monkeypatch: pytest.MonkeyPatch, writer: bool
) -> None:
    monkeypatch.setattr(metadata, "_has_writer", lambda: writer)
    model = make_stylizer(64, gain=0.123)
    once = stylizer_metadata(model)
    assert stylizer_metadata(model) == once
    assert stylizer_metadata(once) == once
    weights = schema.buffer_bytes(schema.unpack_model(model).buffers[1])
    assert once.index(weights) % 16 == 0


def test_a_model_without_metadata_has_none(make_stylizer) -> None:
    assert read_metadata(make_stylizer(64)) is None


def test_damaged_metadata_are_refused(make_stylizer) -> None:
    model = stylizer_metadata(make_stylizer(64))
    with pytest.raises(BundleError, match="M001"):
        read_metadata(model.replace(b"M001", b"M002"))
    with pytest.raises(BundleError):
        stylizer_metadata(b"nonsense")


def test_normalization_is_read(make_stylizer) -> None:
    assert normalization(stylizer_metadata(make_stylizer(64))) == ([0.0], [255.0])
    assert normalization(make_stylizer(64)) is None


@pytest.mark.parametrize("std", [0.0, float("nan"), float("inf")])
def test_an_unusable_deviation_is_refused(
    make_stylizer, monkeypatch: pytest.MonkeyPatch, std: float
) -> None:
    monkeypatch.setattr(metadata, "_has_writer", lambda: False)
    model = stylizer_metadata(make_stylizer(64))
    place = model.index(np.float32(255.0).tobytes())
    model = model[:place] + np.float32(std).tobytes() + model[place + 4 :]
    # The bytes found are those of the standard deviation; the statistics contain no 255.
    assert normalization(stylizer_metadata(make_stylizer(64))) is not None
    with pytest.raises(BundleError, match="normalize by mean"):
        normalization(model)


def test_every_damaged_word_of_the_metadata(make_stylizer) -> None:
    model = stylizer_metadata(make_stylizer(64))
    start = model.index(b"M001") - 4
    refused = 0
    for place in range(start, len(model) - 4, 4):
        for value in (0xFFFFFFFF, 0x7FFFFFF0, 2):
            changed = bytearray(model)
            changed[place : place + 4] = value.to_bytes(4, "little")
            try:
                read_metadata(bytes(changed))
                normalization(bytes(changed))
            except BundleError:
                refused += 1
    assert refused > 50


@_needs_writer
def test_names_that_the_writer_cannot_read(make_stylizer) -> None:
    model = stylizer_metadata(make_stylizer(64))
    with pytest.raises(BundleError, match="metadata writer cannot take the model"):
        stylizer_metadata(model.replace(b"TFLITE_METADATA", b"TFLITE_M\xff\xfeADATA"))


@_needs_writer
def test_text_that_the_displayer_cannot_show(make_stylizer) -> None:
    model = stylizer_metadata(make_stylizer(64))
    with pytest.raises(BundleError, match="no readable text"):
        read_metadata(model.replace(b"FaceStylizer", 12 * b"\xff"))


def _with_metadata(model: bytes, change: Callable[[Any], None]) -> bytes:
    tables = schema.metadata_schema()
    unpacked = schema.unpack_model(stylizer_metadata(model))
    buffer = unpacked.buffers[schema.metadata_entry(unpacked).buffer]
    data = schema.buffer_bytes(buffer)
    made = tables.ModelMetadataT.InitFromObj(tables.ModelMetadata.GetRootAs(data, 0))
    change(made)
    builder = flatbuffers.Builder(0)
    builder.Finish(made.Pack(builder), schema.METADATA_IDENTIFIER)
    buffer.data = np.frombuffer(bytes(builder.Output()), np.uint8)
    return schema.pack_model(unpacked)


def _no_graphs(made: Any) -> None:
    made.subgraphMetadata = []


def _no_mean(made: Any) -> None:
    made.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0].options.mean = None


def _two_channels(made: Any) -> None:
    options = made.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0].options
    options.mean, options.std = [0.0, 0.0], [1.0, 1.0]


def _no_options(made: Any) -> None:
    unit = made.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0]
    unit.options, unit.optionsType = None, 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_no_graphs, "they describe 0 graphs"),
        (_no_mean, "normalize by mean .. and std"),
        (_two_channels, "normalize by mean .0.0, 0.0."),
        (_no_options, "a step without options"),
    ],
)
def test_lists_that_mediapipe_takes_for_granted(
    make_stylizer, change: Callable[[Any], None], reason: str
) -> None:
    check_metadata(_with_metadata(make_stylizer(64), lambda made: None))
    with pytest.raises(BundleError, match=f"^x's metadata .*{reason}"):
        check_metadata(_with_metadata(make_stylizer(64), change), "x")
