"""Tests of task_bundle.faces.person."""

import numpy as np
import pytest

from task_bundle.errors import BundleError
from task_bundle.faces.person import PersonSegmenter, find_person_segmenter
from task_bundle.tflite import schema


@pytest.fixture
def segmenter() -> PersonSegmenter:
    found = find_person_segmenter()
    if found is None:
        pytest.skip("this mediapipe has no selfie segmentation")
    return found


def test_it_finds_the_person_of_a_portrait(segmenter, grace_hopper: np.ndarray) -> None:
    person = segmenter.run(grace_hopper)
    assert person.dtype == np.float32 and person.min() >= 0 and person.max() <= 1
    height, width = person.shape
    # Her face is hers; the upper corners are flag and sky.
    assert person[int(0.35 * height), width // 2] > 0.9
    assert person[: height // 10, : width // 10].max() < 0.2
    assert person[: height // 10, -width // 10 :].max() < 0.2
    assert segmenter.run(grace_hopper[::2, ::2]).shape == person.shape
    assert find_person_segmenter() is segmenter


def test_mediapipe_without_the_network(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "mediapipe_folder", lambda: tmp_path)
    assert find_person_segmenter() is None
    monkeypatch.setattr(schema, "mediapipe_folder", lambda: None)
    assert find_person_segmenter() is None


def test_files_that_are_no_network_are_refused() -> None:
    with pytest.raises(BundleError, match="LiteRT cannot run mine"):
        PersonSegmenter(b"no model", "mine")
