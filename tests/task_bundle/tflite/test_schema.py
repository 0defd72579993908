"""Tests of task_bundle.tflite.schema."""

import numpy as np
import pytest

from task_bundle.errors import BundleError
from task_bundle.tflite import schema


def test_round_trip_keeps_the_model(make_stylizer) -> None:
    model = make_stylizer(64)
    assert schema.pack_model(schema.unpack_model(model)) == model
    assert model[4:8] == b"TFL3"


def test_buffers_are_aligned(make_stylizer) -> None:
    model = make_stylizer(64, gain=0.123)
    weights = np.float32(0.123).tobytes()
    assert model.index(weights) % 16 == 0


def test_damaged_models_are_refused(make_stylizer) -> None:
    model = make_stylizer(64)
    for bad in (b"", b"TFL3", b"\0" * 100, model[:200], model[:4] + b"TFL3" + b"\xff" * 64):
        with pytest.raises(BundleError, match="^it is"):
            schema.unpack_model(bad, "it")


def test_both_sources_of_the_schema_agree(make_stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_stylizer(64)
    other = schema._load_from_mediapipe("schema_py_generated")
    monkeypatch.setattr(schema, "model_schema", lambda: other)
    assert schema.pack_model(schema.unpack_model(model)) == model
