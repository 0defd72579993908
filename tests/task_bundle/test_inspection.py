"""Tests of task_bundle.inspection."""

import hashlib

import pytest

from task_bundle.archive import FACE_DETECTOR, TaskArchive, models_of, write_archive
from task_bundle.errors import BundleError
from task_bundle.inspection import inspect_archive
from task_bundle.tflite.metadata import stylizer_metadata
from task_bundle.tflite.model import describe


def test_any_task_can_be_looked_into(face_models, make_stylizer) -> None:
    """An archive like Google's face_landmarker.task, with other models and other files."""
    contents = {
        FACE_DETECTOR: face_models.detector,
        "geometry.binarypb": b"no model",
        "other.tflite": make_stylizer(16),
    }
    archive = TaskArchive.open(write_archive(contents))
    detector, geometry, other = inspect_archive(archive)
    assert (detector.name, detector.size) == (FACE_DETECTOR, len(face_models.detector))
    assert detector.sha256 == hashlib.sha256(face_models.detector).hexdigest()
    assert detector.alignment >= 4
    assert detector.model == describe(face_models.detector)
    assert detector.metadata is not None and "Face Detection" in detector.metadata["name"]
    assert (geometry.model, geometry.metadata) == (None, None)
    assert other.model is not None and other.metadata is None
    assert list(models_of(archive)) == [FACE_DETECTOR, "other.tflite"]


def test_damaged_models_are_named(make_stylizer) -> None:
    archive = TaskArchive.open(write_archive({"a.tflite": make_stylizer(16)[:-50]}))
    with pytest.raises(BundleError, match="a.tflite in the bundle is a damaged"):
        inspect_archive(archive)


def test_damaged_metadata_are_refused(make_stylizer) -> None:
    model = stylizer_metadata(make_stylizer(16)).replace(b"M001", b"M002")
    with pytest.raises(BundleError, match="metadata are damaged"):
        inspect_archive(TaskArchive.open(write_archive({"a.tflite": model})))
